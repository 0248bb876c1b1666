package sched

import (
	"fmt"
	"testing"
	"time"
)

// TestOrderOfWhatGoesBack has a site fail for which mail of two tenants waits, of several
// priorities.
func TestOrderOfWhatGoesBack(t *testing.T) {
	d := newDesk(t, Settings{Connections: 9, PerSite: 1, Ahead: 400})
	d.mails("A", "s")
	for _, m := range []Mail{
		{ID: 11, Tenant: "A", Due: origin.Add(5)}, {ID: 12, Tenant: "B", Due: origin.Add(1)}, {ID: 13, Tenant: "A", Due: origin.Add(1)},
		{ID: 14, Tenant: "B", Due: origin.Add(3)}, {ID: 15, Tenant: "A", Due: origin.Add(10 * time.Minute), Priority: 1}, {ID: 16, Tenant: "B", Due: origin.Add(3)},
	} {
		m.Message, m.Destination, m.Recipients = fmt.Sprint(m.ID), "d", 1
		d.s.Claimed(d.now, []Mail{m}, false, time.Time{})
		d.decide()
		d.s.Routed(d.now, m.ID, Route{Site: "s"})
	}
	d.decide()
	d.end(d.begun[0], Unreachable, time.Second)
	var order []ID
	for _, b := range d.back {
		order = append(order, b.ID)
	}
	d.want("order", order, []ID{15, 12, 13, 14, 16, 11})
}

// TestJoined has deliveries of a message come together in several shipments.
func TestJoined(t *testing.T) {
	begun := func(d *desk, want ...string) {
		d.t.Helper()
		d.end(d.begun[0], Works, time.Second)
		var got []string
		for len(d.begun) > 0 {
			got = append(got, fmt.Sprint(d.begun[0].Mail))
			d.end(d.begun[0], Works, time.Second)
		}
		d.want("begun", got, want)
	}
	t.Run("what goes alone does not keep others from going together", func(t *testing.T) {
		d := busy(t)
		ids := d.message(1, "a", "b", "c")
		d.arrive("s", "j", ids[0])
		d.arrive("s", "", ids[1])
		d.arrive("s", "j", ids[2])
		begun(d, "[2 4]", "[3]")
	})
	t.Run("what is full and begins does not keep others from joining the next", func(t *testing.T) {
		d := busy(t)
		ids := d.message(maxJoined/2, "a", "b", "c", "d")
		d.arrive("s", "j", ids[0], ids[1], ids[2])
		d.pass(gatherTime)
		d.end(d.begun[0], Works, time.Second) // so that the first begins
		d.arrive("s", "j", ids[3])
		begun(d, "[4 5]")
	})
	t.Run("nor does what has been withdrawn", func(t *testing.T) {
		d := busy(t)
		ids := d.message(maxJoined/2, "a", "b", "c", "d")
		d.arrive("s", "j", ids[0], ids[1], ids[2])
		d.pass(gatherTime)
		for _, id := range ids[:2] {
			d.want("withdrawn", d.s.Withdraw(d.now, id), true)
		}
		d.arrive("s", "j", ids[3])
		begun(d, "[4 5]")
	})
	t.Run("what was not claimed with it does not join what waits", func(t *testing.T) {
		d := busy(t)
		d.arrive("s", "j", d.message(1, "a", "b")...)
		d.arrive("s", "j", d.message(1, "c")...)
		begun(d, "[2 3]", "[4]")
	})
	t.Run("what waits is joined though other messages have come since", func(t *testing.T) {
		d := busy(t)
		ids := d.message(1, "a", "b", "c")
		d.arrive("s", "j", ids[0], ids[1])
		d.pass(gatherTime)
		d.last = 20
		d.s.Claimed(d.now, []Mail{
			{ID: 11, Message: "n", Destination: "a", Tenant: "A", Recipients: 1, Due: d.now}, {ID: 12, Message: "n", Destination: "b", Tenant: "A", Recipients: 1, Due: d.now},
		}, false, time.Time{})
		d.decide()
		d.arrive("s", "j", 11, 12)
		d.arrive("s", "j", ids[2])
		begun(d, "[2 3 4]", "[11 12]")
	})
	t.Run("a message whose routes are found goes on before one that came earlier", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
		d.message(1, "a", "b")
		ids := d.message(1, "c", "d")
		d.arrive("s", "j", ids...)
		d.want("in flight", d.at("s"), 1)
	})
	t.Run("it wakes for no message whose routes are found", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
		d.arrive("s", "j", d.message(1, "c", "d")...)
		d.want("wakes", d.out.Wake.IsZero(), true)
	})
	t.Run("what came first does not lose its place to what is due later", func(t *testing.T) {
		d := busy(t)
		d.last = 20
		d.s.Claimed(d.now, []Mail{
			{ID: 11, Message: "m", Destination: "a", Tenant: "A", Recipients: 1, Due: origin.Add(9)},
			{ID: 12, Message: "m", Destination: "b", Tenant: "A", Recipients: 1, Due: origin.Add(1)},
			{ID: 13, Message: "n", Destination: "c", Tenant: "A", Recipients: 1, Due: origin.Add(2)},
		}, false, time.Time{})
		d.decide()
		d.arrive("s", "j", 13, 12, 11)
		begun(d, "[12 11]", "[13]")
	})
}

// TestTurnGoesOn has an attempt end, whose turn goes on at its site with the next, and no
// further than that.
func TestTurnGoesOn(t *testing.T) {
	desks := func(t *testing.T) *desk {
		d := newDesk(t, Settings{Connections: 2, PerSite: 9, Ahead: 400})
		for _, site := range []string{"s", "o", "hold"} {
			d.known(site, time.Millisecond)
		}
		d.mails("A", "hold")
		return d
	}
	t.Run("not where something has been decided since", func(t *testing.T) {
		d := desks(t)
		d.mails("A", "s")
		d.end(d.lastBegun(), Works, time.Millisecond)
		o, s := d.claimed("A", "d.o", 1)[0], d.claimed("A", "d.s", 1)[0]
		d.s.Routed(d.now, o, Route{Site: "o"})
		d.s.Routed(d.now, s, Route{Site: "s"})
		d.decide()
		d.want("the next", d.lastBegun().Site, "o")
	})
	t.Run("only with one attempt", func(t *testing.T) {
		d := desks(t)
		d.mail("A", "d.s", 4, Route{Site: "s"})
		d.now = d.now.Add(time.Second)
		d.mails("A", "o")
		set := d.s.settings
		set.Connections = 3
		d.s.Configure(d.now, set)
		d.end(d.lastBegun(), Works, time.Millisecond)
		d.want("the next two", fmt.Sprint(d.begun[1].Site, d.begun[2].Site), "so")
	})
}

// TestEnded has room come of an attempt that ends.
func TestEnded(t *testing.T) {
	d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
	d.known("s", 100*time.Millisecond)
	d.mail("A", "d", 15, Route{Site: "s"})
	d.idle(0)
	d.s.MailCame(d.now)
	d.decide()
	d.want("left out", d.claimUntil(isGeneral).Except, []string{"d"})
	d.idle(0)
	b := d.begun[0]
	d.s.Gone(d.now, b.Mail[0])
	d.s.Learned(d.now, b.Ship, Lesson{Kind: Works, Began: d.now.Add(-100 * time.Millisecond)})
	d.decide()
	d.want("a claim before it has ended", d.claim == nil, true)
	d.s.Ended(d.now, b.Ship)
	d.decide()
	d.want("M1 a claim when it has", d.claim != nil, true)
}
