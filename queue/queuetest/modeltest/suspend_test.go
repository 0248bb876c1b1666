package modeltest

import (
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/nexthop-mail/nexthop/queue"
)

// subject is what is suspended: few, of each kind, some of the same name, and seldom one
// that can name no mail.
func subject() *rapid.Generator[queue.Subject] {
	return rapid.Custom(func(t *rapid.T) queue.Subject {
		s := queue.Subject{Kind: rapid.SampledFrom([]queue.SubjectKind{
			queue.OfDestination, queue.OfSite, queue.OfTenant,
		}).Draw(t, "kind")}
		switch s.Kind {
		case queue.OfTenant:
			s.Name = rapid.SampledFrom([]string{"", "t", "a.test"}).Draw(t, "tenant")
		case queue.OfSite:
			s.Name = rapid.SampledFrom([]string{"a.test", "mx.test:25,mx2.test:25;"}).Draw(t, "site")
		default:
			s.Name = destination().Draw(t, "destination")
		}
		if rapid.IntRange(0, 20).Draw(t, "senseless") == 0 {
			s = rapid.SampledFrom([]queue.Subject{
				{Kind: queue.OfDestination, Name: "A.test"}, {Kind: queue.OfDestination}, {Kind: queue.OfSite}, {Kind: 9, Name: "a.test"},
			}).Draw(t, "subject")
		}
		return s
	})
}

// sensibleSubject is whether mail can be named so.
func sensibleSubject(s queue.Subject) bool {
	switch s.Kind {
	case queue.OfTenant:
		return true
	case queue.OfSite:
		return s.Name != ""
	case queue.OfDestination:
		return s.Name != "" && s.Name == strings.ToLower(s.Name)
	}
	return false
}

// Suspend suspends something.
func (m *machine) Suspend(t *rapid.T) {
	var list []queue.Suspension
	sensible := true
	for range rapid.IntRange(0, 3).Draw(t, "suspensions") {
		one := queue.Suspension{Subject: subject().Draw(t, "subject")}
		one.Until = m.later(t)
		one.Reason = rapid.SampledFrom([]string{"", "they asked", strings.Repeat("x", queue.MaxReason+9)}).Draw(t, "reason")
		one.Since = m.now.Add(-time.Hour) // which the queue knows better
		list = append(list, one)
		sensible = sensible && sensibleSubject(one.Subject)
	}
	err := queue.Suspend(ctx(), m.q, m.now, list...)
	if !sensible {
		if err == nil {
			t.Fatalf("Suspend of %+v is no error", list)
		}
		return
	}
	m.check(t, "Suspend", err)
	m.suspend(list)
}

// Resume ends suspensions.
func (m *machine) Resume(t *rapid.T) {
	list := rapid.SliceOfN(subject(), 0, 3).Draw(t, "subjects")
	n, err := queue.Resume(ctx(), m.q, m.now, list...)
	if want := m.resume(list); err != nil || n != want {
		t.Fatalf("Resume of %v = %d, %v, want %d", list, n, err, want)
	}
}

// checkSuspended compares what is suspended.
func (m *machine) checkSuspended(t *rapid.T) {
	got, err := queue.Suspensions(ctx(), m.q, m.now)
	m.check(t, "Suspensions", err)
	m.endSuspensions()
	if !slices.EqualFunc(got, m.suspended, func(a, b queue.Suspension) bool {
		return a.Subject == b.Subject && a.Reason == b.Reason && a.Since.Equal(b.Since) && a.Until.Equal(b.Until)
	}) {
		t.Fatalf("Suspensions = %+v, want %+v", got, m.suspended)
	}
}

// Take takes the deliveries of a message, or some of them.
func (m *machine) Take(t *rapid.T) {
	id, e := m.some(t)
	length := seconds(1, 120).Draw(t, "lease")
	var only []string
	if rapid.Bool().Draw(t, "some") {
		only = rapid.SliceOfNDistinct(destination(), 0, 3, rapid.ID).Draw(t, "destinations")
	}
	got, err := queue.Take(ctx(), m.q, m.now, id, length, only...)
	if !wantFound(t, "Take", e, err) {
		return
	}
	want, leased := m.take(e, only)
	if len(got.Unreadable) > 0 || got.Leased != leased || len(got.Deliveries) != len(want) {
		t.Fatalf("Take of %s %v = %d deliveries, %d unreadable, %d leased; want %s and %d leased",
			id, only, len(got.Deliveries), len(got.Unreadable), got.Leased, names(want), leased)
	}
	for i, d := range got.Deliveries {
		if d.Lease.Message != id || d.Lease.Destination != want[i].destination || !d.Lease.Until.Equal(m.now.Add(length)) {
			t.Fatalf("delivery %d taken of %s is %+v, want that to %s until %v", i, id, d.Lease, want[i].destination, m.now.Add(length))
		}
		want[i].hand(d.Lease)
		m.leases = append(m.leases, d.Lease)
		m.compare(t, d, want[i])
	}
}
