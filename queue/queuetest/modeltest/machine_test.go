package modeltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/nexthop-mail/nexthop/queue"
)

// machine does the same to a queue and to a model. Its exported methods with
// rapid's signature are the operations.
type machine struct {
	model
	q      queue.Queue
	reopen func() (queue.Queue, error) // nil where it cannot be
	keeps  bool                        // leases across that
	leases []queue.Lease               // all that were ever given, lost ones too
	keyed  map[string]bool             // ids of messages that had a key
	count  int
	read   int       // how many outcomes were
	latest time.Time // before the clock was turned back
}

func newMachine(q queue.Queue, reopen func() (queue.Queue, error)) *machine {
	m := &machine{q: q, reopen: reopen, keyed: make(map[string]bool)}
	m.now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	m.postponed = make(map[string]time.Time)
	m.parked = make(map[string]map[string]time.Time)
	return m
}

func ctx() context.Context { return context.Background() }

// What messages are made of. Few of each, so that they meet.
func destination() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"a.test", "b.test", "c.test", "d.test"})
}

// owner is whose a postponement is, and who claims; nobody among them.
func owner() *rapid.Generator[string] { return rapid.SampledFrom([]string{"", "", "x", "y"}) }

func seconds(from, to int) *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.IntRange(from, to), func(n int) time.Duration { return time.Duration(n) * time.Second })
}

// later is a time, or none.
func (m *machine) later(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "at once") {
		return time.Time{}
	}
	return m.now.Add(seconds(-30, 300).Draw(t, "in"))
}

// draw makes a message and its content.
func (m *machine) draw(t *rapid.T) (queue.Message, string) {
	m.count++
	size := rapid.SampledFrom([]int{0, 10, 300, 3000, 6000}).Draw(t, "size")
	content := strings.Repeat(fmt.Sprintf("%d,", m.count), size/2)
	msg := queue.Message{
		From:      "sender@example.org",
		Content:   queue.String(content),
		Tenant:    rapid.SampledFrom([]string{"", "t"}).Draw(t, "tenant"),
		Priority:  rapid.SampledFrom([]int{0, 0, 0, -1, 9}).Draw(t, "priority"),
		Guarantee: rapid.SampledFrom([]queue.Guarantee{queue.AtLeastOnce, queue.AtLeastOnce, queue.AtMostOnce}).Draw(t, "guarantee"),
		NotBefore: m.later(t),
		Metadata:  map[string]string{"n": fmt.Sprint(m.count)},
	}
	if rapid.IntRange(0, 4).Draw(t, "keyed") == 0 {
		msg.Key = fmt.Sprint("k", rapid.IntRange(0, 20).Draw(t, "key"))
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "recipients") {
		msg.Recipients = append(msg.Recipients, queue.Recipient{
			Address: fmt.Sprintf("r%d@%s", i, destination().Draw(t, "destination")),
			Notify:  queue.NotifyFailure,
		})
	}
	return msg, content
}

// enter records a message the queue has put, and checks its id.
func (m *machine) enter(t *rapid.T, id string, msg queue.Message, content string) {
	for _, e := range m.messages {
		if e.ID >= id {
			t.Fatalf("Put gave the id %q after %q", id, e.ID)
		}
	}
	m.keyed[id] = msg.Key != ""
	m.put(id, msg, content)
}

// Put puts a message.
func (m *machine) Put(t *rapid.T) {
	msg, content := m.draw(t)
	id, err := m.q.Put(ctx(), m.now, &msg)
	known := m.known(msg.Tenant, msg.Key)
	switch {
	case known != nil:
		if !errors.Is(err, queue.ErrDuplicate) || id != known.ID {
			t.Fatalf("Put of a key that %s has = %q, %v", known.ID, id, err)
		}
	case errors.Is(err, queue.ErrDuplicate) && m.keyed[id]:
		// A queue may remember the key of a message that has left.
	case err != nil:
		t.Fatalf("Put = %v", err)
	default:
		m.enter(t, id, msg, content)
	}
}

// options draws what a claim asks for.
func options(t *rapid.T) queue.ClaimOptions {
	some := rapid.SliceOfNDistinct(destination(), 0, 3, rapid.ID)
	want := queue.ClaimOptions{
		Max:   rapid.SampledFrom([]int{0, 1, 2, 5}).Draw(t, "max"),
		Lease: seconds(1, 120).Draw(t, "lease"),
		Owner: owner().Draw(t, "owner"),
	}
	switch rapid.IntRange(0, 6).Draw(t, "options") {
	case 0:
		want.Destinations = some.Draw(t, "destinations")
	case 1:
		want.Except = some.Draw(t, "except")
	case 2:
		want.PerDestination = rapid.IntRange(1, 3).Draw(t, "per destination")
	case 3:
		want.PerTenant = rapid.IntRange(1, 3).Draw(t, "per tenant")
	case 4:
		want.ExceptTenants = []string{rapid.SampledFrom([]string{"", "t", "none"}).Draw(t, "except tenant")}
		want.Except = some.Draw(t, "except")
	case 5:
		want.Destinations, want.Except = some.Draw(t, "destinations"), some.Draw(t, "except")
		want.PerDestination, want.PerTenant = rapid.IntRange(1, 3).Draw(t, "per destination"), rapid.IntRange(1, 3).Draw(t, "per tenant")
	}
	return want
}

// Claim claims and compares everything about what was claimed.
func (m *machine) Claim(t *rapid.T) {
	asked := options(t)
	want, more, next := m.claim(asked)
	got, err := m.q.Claim(ctx(), m.now, asked)
	if err != nil || len(got.Unreadable) > 0 {
		t.Fatalf("Claim = %v, %d unreadable", err, len(got.Unreadable))
	}
	for i, d := range got.Deliveries {
		if i >= len(want) || d.Lease.Message != want[i].message.ID || d.Lease.Destination != want[i].destination {
			t.Fatalf("Claim of %+v: delivery %d is %s/%s, want %s", asked, i, d.Lease.Message, d.Lease.Destination, names(want))
		}
		if until := m.now.Add(asked.Lease); !d.Lease.Until.Equal(until) {
			t.Fatalf("the lease ends at %v, want %v", d.Lease.Until, until)
		}
		want[i].hand(d.Lease)
		m.leases = append(m.leases, d.Lease)
		m.compare(t, d, want[i])
		if next.IsZero() || d.Lease.Until.Before(next) {
			next = d.Lease.Until
		}
	}
	if len(got.Deliveries) < len(want) {
		t.Fatalf("Claim of %+v returned %d deliveries, want %s", asked, len(got.Deliveries), names(want))
	}
	m.compareNext(t, got.Next, more, next)
}

// compareNext checks when the queue says to come again.
func (m *machine) compareNext(t *rapid.T, got time.Time, more bool, next time.Time) {
	switch {
	case more:
		if got.IsZero() || got.After(m.now) {
			t.Fatalf("Next is %v at %v, want no later: something was left out", got, m.now)
		}
	case !next.IsZero():
		if !got.After(m.now) || got.After(next) {
			t.Fatalf("Next is %v at %v, want a time after that and not after %v", got, m.now, next)
		}
	case !got.IsZero() && !got.After(m.now):
		t.Fatalf("Next is %v at %v, want zero or a time after that", got, m.now)
	}
	if len(m.messages) == 0 && !got.IsZero() {
		t.Fatalf("Next of an empty queue is %v", got)
	}
}

func names(ds []*delivery) string {
	var all []string
	for _, d := range ds {
		all = append(all, d.message.ID+"/"+d.destination)
	}
	return fmt.Sprintf("%d: %s", len(all), strings.Join(all, " "))
}

// compare compares a claimed delivery with the model's.
func (m *machine) compare(t *rapid.T, got queue.Delivery, want *delivery) {
	e := want.message
	if !sameStates(got.States, want.states) {
		t.Fatalf("%s/%s has the states %+v, want %+v", e.ID, want.destination, got.States, want.states)
	}
	if got.Size != int64(len(e.content)) || !got.Due.Equal(want.due) || got.Warned != want.warned || got.Interrupted != want.marked {
		t.Fatalf("%s/%s is %+v, want size %d, due %v, warned %t, interrupted %t",
			e.ID, want.destination, got, len(e.content), want.due, want.warned, want.marked)
	}
	m.compareMessage(t, got.Message, e, want.states)
}

func (m *machine) compareMessage(t *rapid.T, got queue.Message, want *message, states []queue.State) {
	var recipients []queue.Recipient
	for _, s := range states {
		recipients = append(recipients, want.Recipients[s.Index])
	}
	same := got.ID == want.ID && got.From == want.From && got.Key == want.Key && got.Tenant == want.Tenant &&
		got.Priority == want.Priority && got.Guarantee == want.Guarantee && got.Content == nil &&
		got.Arrived.Equal(want.Arrived) && got.NotBefore.Equal(want.NotBefore) &&
		maps.Equal(got.Metadata, want.Metadata) && slices.Equal(got.Recipients, recipients)
	if !same {
		t.Fatalf("the message is %+v, want %+v with the recipients %+v", got, want.Message, recipients)
	}
}

func sameStates(a, b []queue.State) bool {
	return slices.EqualFunc(a, b, func(a, b queue.State) bool {
		tried := a.Tried.Equal(b.Tried)
		a.Tried = b.Tried
		return tried && a == b
	})
}

// lease draws a lease, lost or not.
func (m *machine) lease(t *rapid.T) queue.Lease {
	if len(m.leases) == 0 {
		t.Skip("no lease was given")
	}
	// Late ones more often than early ones.
	return m.leases[len(m.leases)-1-rapid.IntRange(0, len(m.leases)-1).Draw(t, "lease")]
}

// Extend extends some leases.
func (m *machine) Extend(t *rapid.T) {
	var leases []queue.Lease
	for range rapid.IntRange(1, 3).Draw(t, "leases") {
		leases = append(leases, m.lease(t))
	}
	d := seconds(0, 120).Draw(t, "for")
	got, err := m.q.Extend(ctx(), m.now, leases, d)
	if err != nil || len(got) != len(leases) {
		t.Fatalf("Extend = %d results, %v, want %d", len(got), err, len(leases))
	}
	for i, l := range leases {
		held := m.holds(l)
		if held == nil {
			if !errors.Is(got[i].Err, queue.ErrLeaseLost) {
				t.Fatalf("Extend of a lost lease = %v", got[i].Err)
			}
			continue
		}
		l.Until = m.now.Add(d)
		if got[i].Err != nil || got[i].Lease.Token != l.Token || !got[i].Lease.Until.Equal(l.Until) {
			t.Fatalf("Extend = %+v, want %+v", got[i], l)
		}
		held.lease = l
	}
}

// Mark marks some deliveries.
func (m *machine) Mark(t *rapid.T) {
	var leases []queue.Lease
	lost := false
	for range rapid.IntRange(0, 3).Draw(t, "leases") {
		l := m.lease(t)
		leases = append(leases, l)
		lost = lost || m.holds(l) == nil
	}
	err := m.q.Mark(ctx(), leases)
	if lost {
		if !errors.Is(err, queue.ErrLeaseLost) {
			t.Fatalf("Mark with a lost lease = %v", err)
		}
		return
	}
	m.check(t, "Mark", err)
	for _, l := range leases {
		if d := m.holds(l); d.message.Guarantee == queue.AtMostOnce {
			d.marked = true
		}
	}
}
