package modeltest

import (
	"errors"
	"io"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/nexthop-mail/nexthop/queue"
)

// Advance lets time pass.
func (m *machine) Advance(t *rapid.T) { m.now = m.now.Add(seconds(0, 200).Draw(t, "by")) }

// Back turns the clock back. A postponement whose time had passed may be
// forgotten or not, so it is lifted first.
func (m *machine) Back(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "seldom") > 0 {
		t.Skip("not now")
	}
	for name, until := range m.postponed {
		if !until.After(m.now) {
			m.check(t, "Postpone", queue.Postpone(ctx(), m.q, m.now, queue.Postponement{Destination: name}))
			delete(m.postponed, name)
		}
	}
	for _, e := range m.messages {
		if !e.held { // its hold may have ended, and be found once more by who reads what is stored
			m.check(t, "Release", queue.Release(ctx(), m.q, e.ID))
		}
	}
	if m.now.After(m.latest) {
		m.latest = m.now
	}
	m.now = m.now.Add(-seconds(0, 300).Draw(t, "by"))
}

func (m *machine) check(t *rapid.T, what string, err error) {
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// some draws a message that is there, or sometimes the id of none.
func (m *machine) some(t *rapid.T) (string, *message) {
	n := rapid.IntRange(0, len(m.messages)).Draw(t, "message")
	if n == len(m.messages) {
		return "nosuchmessage", nil
	}
	return m.messages[n].ID, m.messages[n]
}

// wantFound checks the error of an operation on a message.
func wantFound(t *rapid.T, what string, e *message, err error) bool {
	if e == nil && !errors.Is(err, queue.ErrNotFound) || e != nil && err != nil {
		t.Fatalf("%s of a message that is there (%t) = %v", what, e != nil, err)
	}
	return e != nil
}

// Hold holds a message.
func (m *machine) Hold(t *rapid.T) {
	if id, e := m.some(t); wantFound(t, "Hold", e, queue.Hold(ctx(), m.q, id)) {
		e.held, e.until = true, time.Time{}
	}
}

// HoldUntil holds a message, mostly until a time.
func (m *machine) HoldUntil(t *rapid.T) {
	until := m.later(t)
	id, e := m.some(t)
	if wantFound(t, "HoldUntil", e, queue.HoldUntil(ctx(), m.q, m.now, id, queue.Terms{Until: until, Reason: "why"})) {
		e.held, e.until = true, until
	}
}

// Release releases a message.
func (m *machine) Release(t *rapid.T) {
	if id, e := m.some(t); wantFound(t, "Release", e, queue.Release(ctx(), m.q, id)) {
		e.held, e.until = false, time.Time{}
	}
}

// Drop drops a message, seldom.
func (m *machine) Drop(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "seldom") > 0 {
		t.Skip("not now")
	}
	if id, e := m.some(t); wantFound(t, "Drop", e, queue.Drop(ctx(), m.q, id)) {
		m.drop(e)
	}
}

// Flush flushes something. Two cases are avoided. Whether the flush reaches a delivery
// that is claimed and not due, if its lease dies with the process, is not said. Nor is it
// said whether a lease has ended whose end has passed if the clock went back since.
func (m *machine) Flush(t *rapid.T) {
	if slices.ContainsFunc(m.all(), func(d *delivery) bool {
		return d.leaseEnd().After(m.now) && (d.notBefore.After(m.now) || !d.leaseEnd().After(m.latest))
	}) {
		t.Skip("not now")
	}
	var list []queue.Selection
	found := true
	for range rapid.SampledFrom([]int{1, 1, 1, 0, 2, 3}).Draw(t, "selections") {
		var what queue.Selection
		if rapid.Bool().Draw(t, "by message") {
			var e *message
			what.Message, e = m.some(t)
			found = found && e != nil
		}
		if rapid.Bool().Draw(t, "by destination") {
			what.Destination = destination().Draw(t, "destination")
		}
		list = append(list, what)
	}
	n, err := queue.Flush(ctx(), m.q, m.now, list...)
	if !found {
		if !errors.Is(err, queue.ErrNotFound) {
			t.Fatalf("Flush of a message that is not there = %v", err)
		}
		return
	}
	if want := m.flush(list); err != nil || n != want {
		t.Fatalf("Flush of %+v = %d, %v, want %d", list, n, err, want)
	}
}

// Postpone postpones destinations, for everybody or for an owner.
func (m *machine) Postpone(t *rapid.T) {
	var list []queue.Postponement
	for range rapid.IntRange(0, 3).Draw(t, "postponements") {
		p := queue.Postponement{Destination: destination().Draw(t, "destination"), Until: m.later(t), Owner: owner().Draw(t, "owner")}
		if p.Owner != "" && rapid.IntRange(0, 5).Draw(t, "all") == 0 {
			p.Destination, p.Until = "", time.Time{}
		}
		list = append(list, p)
	}
	m.check(t, "Postpone", queue.Postpone(ctx(), m.q, m.now, list...))
	for _, p := range list {
		switch {
		case p.Owner == "" && p.Until.IsZero():
			delete(m.postponed, p.Destination)
		case p.Owner == "":
			m.postponed[p.Destination] = p.Until
		case p.Destination == "":
			delete(m.parked, p.Owner)
		case p.Until.IsZero():
			delete(m.parked[p.Owner], p.Destination)
		default:
			if m.parked[p.Owner] == nil {
				m.parked[p.Owner] = make(map[string]time.Time)
			}
			m.parked[p.Owner][p.Destination] = p.Until
		}
	}
}

// Reopen closes the queue and opens it again. Leases end with it, unless others may have
// the queue open too.
func (m *machine) Reopen(t *rapid.T) {
	if m.reopen == nil {
		t.Skip("it would forget")
	}
	m.check(t, "Close", queue.Close(m.q))
	q, err := m.reopen()
	m.check(t, "opening again", err)
	m.q = q
	for _, d := range m.all() {
		d.claimed = d.claimed && m.keeps
	}
	_, err = m.q.Claim(ctx(), m.now, queue.ClaimOptions{Destinations: []string{"none.example"}})
	m.check(t, "Claim", err) // which ends holds that were over before
	m.endHolds()
	clear(m.parked)
}

// Read reads the content of a message.
func (m *machine) Read(t *rapid.T) {
	id, e := m.some(t)
	c, err := m.q.Open(ctx(), id)
	if !wantFound(t, "Open", e, err) {
		return
	}
	rd, err := c.Open()
	m.check(t, "Open of the content", err)
	text, err := io.ReadAll(rd)
	m.check(t, "reading the content", errors.Join(err, rd.Close()))
	if string(text) != e.content || c.Size() != int64(len(e.content)) {
		t.Fatalf("the content of %s has %d bytes, said to be %d, want %d", id, len(text), c.Size(), len(e.content))
	}
}

// Check compares all that the queue tells of itself, after every operation.
func (m *machine) Check(t *rapid.T) {
	total, err := queue.Total(ctx(), m.q)
	if want := m.total(); err != nil || total != want {
		t.Fatalf("Total = %+v, %v, want %+v", total, err, want)
	}
	survey, err := queue.Survey(ctx(), m.q, "", 0)
	if want := m.survey(); err != nil || !slices.EqualFunc(survey, want, m.sameDestination) {
		t.Fatalf("Survey = %+v, %v, want %+v", survey, err, want)
	}
	m.checkSuspended(t)
	at := 0
	for want := (queue.ListOptions{Max: 7}); ; {
		page, err := queue.List(ctx(), m.q, want)
		m.check(t, "List", err)
		for _, e := range page.Entries {
			if at == len(m.messages) {
				t.Fatalf("List has %s, which is not there", e.Message.ID)
			}
			m.compareEntry(t, e, m.messages[at])
			at++
		}
		if want.After = page.Next; page.Next == "" {
			break
		}
	}
	if at < len(m.messages) {
		t.Fatalf("List has %d messages, want %d", at, len(m.messages))
	}
}

// sameDestination compares what a survey says. A postponement whose time has
// passed may be forgotten.
func (m *machine) sameDestination(got, want queue.Destination) bool {
	if !got.Oldest.Equal(want.Oldest) || !m.sameUntil(got.Postponed, want.Postponed) {
		return false
	}
	got.Oldest, got.Postponed = want.Oldest, want.Postponed
	return got == want
}

func (m *machine) sameUntil(got, want time.Time) bool {
	return got.Equal(want) || got.IsZero() && !want.After(m.now)
}

func (m *machine) compareEntry(t *rapid.T, got queue.Entry, want *message) {
	if got.Message.ID != want.ID || got.Held != want.held || got.Size != int64(len(want.content)) {
		t.Fatalf("List has %s, held %t, of %d bytes, want %s, %t, %d",
			got.Message.ID, got.Held, got.Size, want.ID, want.held, len(want.content))
	}
	if !got.Hold.Until.Equal(want.until) {
		t.Fatalf("the hold of %s ends at %v, want %v", want.ID, got.Hold.Until, want.until)
	}
	waiting := m.waiting(want)
	if len(got.Waiting) != len(waiting) {
		t.Fatalf("%s has %+v, want %+v", want.ID, got.Waiting, waiting)
	}
	var states []queue.State
	for i, w := range waiting {
		g := got.Waiting[i]
		passed := !w.Next.After(m.now) && !g.Next.After(m.now) // where a postponement may be forgotten
		if !sameStates([]queue.State{g.State}, []queue.State{w.State}) || g.Destination != w.Destination ||
			!m.sameUntil(g.Postponed, w.Postponed) || g.Leased != w.Leased || !g.Next.Equal(w.Next) && !passed {
			t.Fatalf("%s: recipient %d is %+v, want %+v", want.ID, i, g, w)
		}
		states = append(states, w.State)
	}
	m.compareMessage(t, got.Message, want, states)
}
