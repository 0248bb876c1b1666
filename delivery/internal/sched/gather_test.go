package sched

import (
	"fmt"
	"testing"
	"time"
)

// message hands out the deliveries of one message, with so many recipients each, that are
// claimed together. What comes of them is routed by arrive.
func (d *desk) message(rcpts int, destinations ...string) []ID {
	list := make([]Mail, len(destinations))
	ids := make([]ID, len(destinations))
	for i, to := range destinations {
		d.last++
		ids[i] = d.last
		list[i] = Mail{ID: d.last, Message: "m", Destination: to, Tenant: "A", Recipients: rcpts, Due: d.now}
	}
	d.claim = nil
	d.s.Claimed(d.now, list, false, time.Time{})
	d.decide()
	return ids
}

func (d *desk) arrive(site, join string, ids ...ID) {
	for _, id := range ids {
		d.s.Routed(d.now, id, Route{Site: site, Join: join})
	}
	d.decide()
}

func TestTogether(t *testing.T) {
	room := func(t *testing.T) *desk { return newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400}) }
	begun := func(d *desk, want ...string) {
		d.t.Helper()
		var got []string
		for _, b := range d.begun {
			got = append(got, fmt.Sprint(b.Site, b.Mail))
		}
		d.want("begun", got, want)
	}
	t.Run("deliveries of one message to one site go together", func(t *testing.T) {
		d := room(t)
		ids := d.message(1, "a", "b", "c")
		d.arrive("s", "j", ids[0])
		begun(d)
		at, ok := d.s.Holds(d.now, ids[0])
		d.want("it is at its site meanwhile", fmt.Sprintf("%s %t %t", at.Site, ok, d.s.Idle(ids[0])), "s true true")
		d.arrive("o", "j", ids[1])
		begun(d)
		d.arrive("s", "j", ids[2])
		begun(d, "s[1 3]", "o[2]")
	})
	t.Run("a route is waited for so long, and what comes later goes alone", func(t *testing.T) {
		d := room(t)
		ids := d.message(1, "a", "b", "c")
		d.arrive("s", "j", ids[:2]...)
		d.want("it wakes", d.out.Wake.Sub(d.now), gatherTime)
		d.pass(gatherTime - 1)
		begun(d)
		d.pass(1)
		begun(d, "s[1 2]")
		d.arrive("s", "j", ids[2])
		begun(d, "s[1 2]", "s[3]")
	})
	t.Run("one that is waiting is joined by what comes late", func(t *testing.T) {
		d := busy(t)
		ids := d.message(1, "a", "b", "c")
		d.arrive("s", "j", ids[0])
		d.pass(gatherTime)
		d.arrive("s", "j", ids[2])
		d.arrive("s", "j", ids[1])
		d.end(d.begun[0], Works, time.Second)
		begun(d, "s[2 4 3]")
	})
	t.Run("what may share no attempt goes alone", func(t *testing.T) {
		d := room(t)
		ids := d.message(1, "a", "b", "c", "d", "e")
		d.arrive("s", "", ids[0], ids[1])
		d.arrive("s", "j", ids[2])
		d.arrive("s", "k", ids[3], ids[4])
		d.want("attempts at a site of which nothing is known", len(d.begun), 2)
		for range 3 {
			d.end(d.begun[0], Works, time.Second)
		}
		begun(d, "s[4 5]")
	})
	t.Run("messages that come in one claim go apart", func(t *testing.T) {
		d := room(t)
		list := []Mail{
			{ID: 1, Message: "m", Destination: "a", Tenant: "A", Recipients: 1}, {ID: 2, Message: "m", Destination: "b", Tenant: "A", Recipients: 1},
			{ID: 3, Message: "n", Destination: "a", Tenant: "A", Recipients: 1},
			{ID: 4, Message: "o", Destination: "a", Tenant: "A", Recipients: 1}, {ID: 5, Message: "o", Destination: "b", Tenant: "A", Recipients: 1},
		}
		d.s.Claimed(d.now, list, false, time.Time{})
		d.decide()
		d.arrive("x", "j", 3)
		begun(d, "x[3]")
		d.arrive("y", "j", 5, 1, 2)
		begun(d, "x[3]", "y[1 2]")
		d.arrive("y", "j", 4)
		begun(d, "x[3]", "y[1 2]", "y[5 4]")
	})
	t.Run("a message that is claimed again does not join what is left of it", func(t *testing.T) {
		d := busy(t)
		first := d.message(1, "a")
		d.arrive("s", "j", first...)
		d.arrive("s", "j", d.message(1, "b")...)
		d.end(d.begun[0], Works, time.Second)
		begun(d, "s[2]")
	})
	t.Run("so many recipients go together and no more", func(t *testing.T) {
		d := room(t)
		d.arrive("s", "j", d.message(maxJoined/2, "a", "b")...)
		begun(d, "s[1 2]")
		d.arrive("o", "j", d.message(maxJoined/2+1, "a", "b")...)
		begun(d, "s[1 2]", "o[3]", "o[4]")
	})
	t.Run("what was joined and has gone makes room for others", func(t *testing.T) {
		d := busy(t)
		ids := d.message(maxJoined/2, "a", "b", "c")
		d.arrive("s", "j", ids[0], ids[1])
		d.pass(gatherTime)
		d.s.Withdraw(d.now, ids[0])
		d.arrive("s", "j", ids[2])
		d.end(d.begun[0], Works, time.Second)
		begun(d, "s[3 4]")
	})
	for name, away := range map[string]func(d *desk, id ID){
		"settled by the caller": func(d *desk, id ID) { d.s.Gone(d.now, id) },
		"without a route":       func(d *desk, id ID) { d.s.Unroutable(d.now, id, time.Minute, "no") },
		"lost":                  func(d *desk, id ID) { d.s.Settled(d.now, id, false, time.Time{}) },
	} {
		t.Run("a route is not waited for that does not come: "+name, func(t *testing.T) {
			d := room(t)
			ids := d.message(1, "a", "b", "c")
			d.arrive("s", "j", ids[0])
			away(d, ids[1])
			d.decide()
			begun(d)
			away(d, ids[2])
			d.decide()
			begun(d, "s[1]")
		})
		t.Run("those that have a route are waited with when one of them is "+name, func(t *testing.T) {
			d := room(t)
			ids := d.message(1, "a", "b", "c")
			d.arrive("s", "j", ids[0], ids[1])
			away(d, ids[0])
			d.decide()
			begun(d)
			d.arrive("s", "j", ids[2])
			begun(d, "s[2 3]")
		})
	}
	t.Run("what is known to have no route is not waited for", func(t *testing.T) {
		d := room(t)
		ids := d.claimed("A", "no", 1)
		d.s.Unroutable(d.now, ids[0], time.Minute, "no")
		ids = d.message(1, "a", "no", "b")
		d.arrive("s", "j", ids[0], ids[2])
		begun(d, "s[2 4]")
	})
	t.Run("those that waited go together when others have gone", func(t *testing.T) {
		d := room(t)
		ids := d.message(1, "a", "b", "c")
		d.s.Stalled(d.now, ids[2], DNSFails)
		d.arrive("s", "j", ids[0])
		d.want("trouble is over when a route is found", d.s.trouble.cause, NoTrouble)
		d.arrive("s", "j", ids[1], ids[2])
		begun(d, "s[1 2 3]")
	})
	t.Run("the rank of what goes together is that of the first", func(t *testing.T) {
		d := busy(t)
		d.last = 20
		d.s.Claimed(d.now, []Mail{
			{ID: 11, Message: "m", Destination: "a", Tenant: "A", Recipients: 1, Due: origin.Add(3)},
			{ID: 12, Message: "m", Destination: "b", Tenant: "A", Recipients: 1, Due: origin.Add(1)},
			{ID: 13, Message: "n", Destination: "c", Tenant: "A", Recipients: 1, Due: origin.Add(2)},
			{ID: 14, Message: "o", Destination: "c", Tenant: "A", Recipients: 1, Due: origin.Add(1)},
		}, false, time.Time{})
		d.decide()
		d.arrive("s", "j", 14, 13, 11, 12)
		var order []string
		d.end(d.begun[0], Works, time.Second)
		for len(d.begun) > 0 {
			order = append(order, fmt.Sprint(d.begun[0].Mail))
			d.end(d.begun[0], Works, time.Second)
		}
		d.want("order", order, []string{"[11 12]", "[14]", "[13]"})
	})
	t.Run("what is left has its own rank when the first has gone", func(t *testing.T) {
		d := busy(t)
		d.last = 20
		d.s.Claimed(d.now, []Mail{
			{ID: 11, Message: "m", Destination: "a", Tenant: "A", Recipients: 1, Due: origin.Add(1)},
			{ID: 12, Message: "m", Destination: "b", Tenant: "A", Recipients: 1, Due: origin.Add(4)},
			{ID: 15, Message: "m", Destination: "c", Tenant: "A", Recipients: 1, Due: origin.Add(3)},
			{ID: 13, Message: "n", Destination: "c", Tenant: "A", Recipients: 1, Due: origin.Add(2)},
			{ID: 14, Message: "o", Destination: "c", Tenant: "A", Recipients: 1, Due: origin.Add(3)},
		}, false, time.Time{})
		d.decide()
		d.arrive("s", "j", 11, 12, 13, 14, 15)
		d.want("it is taken away", d.s.Withdraw(d.now, 11), true)
		d.want("and no more", d.s.Withdraw(d.now, 11), false)
		var order []string
		d.end(d.begun[0], Works, time.Second)
		for len(d.begun) > 0 {
			order = append(order, fmt.Sprint(d.begun[0].Mail))
			d.end(d.begun[0], Works, time.Second)
		}
		d.want("order", order, []string{"[13]", "[14]", "[12 15]"})
	})
}

func TestLateNews(t *testing.T) {
	// What is said of deliveries and attempts that are in no state for it changes nothing.
	d := newDesk(t, Settings{Connections: 9, PerSite: 1, Ahead: 400})
	r := Route{Site: "o"}
	ids := d.claimed("A", "d", 4)
	d.s.Routed(d.now, ids[0], Route{Site: "s"})
	d.s.Routed(d.now, ids[1], Route{Site: "s"})
	d.decide()
	d.s.Gone(d.now, ids[3])
	for _, id := range []ID{ids[0], ids[1], ids[3], 99} {
		d.s.Routed(d.now, id, r)
	}
	for _, id := range []ID{ids[1], ids[3], 99} {
		d.s.Stalled(d.now, id, DNSFails)
	}
	for _, id := range []ID{ids[1], ids[2], ids[3], 99} {
		d.s.Moved(d.now, id, r)
		d.s.KeptBack(d.now, id)
	}
	d.s.Gone(d.now, 99)
	d.s.Gone(d.now, ids[3])
	d.s.Unroutable(d.now, 99, time.Minute, "no")
	d.s.Settled(d.now, 99, false, time.Time{})
	d.s.Ended(d.now, 99)
	d.want("notice", d.s.Learned(d.now, 99, Lesson{Kind: LoginRefused}), NoNotice)
	d.want("idle", fmt.Sprint(d.s.Idle(99), d.s.Withdraw(d.now, 99)), "false false")
	d.decide()
	d.want("gone back", len(d.back), 0)
	d.want("in flight", len(d.begun), 1)
	d.want("held", d.s.Stats(d.now), Stats{InFlight: 1, Held: 4, Sites: 1})
	d.s.Settled(d.now, ids[3], false, time.Time{})
	d.s.Settled(d.now, ids[3], false, time.Time{})
	d.want("held after it was settled", d.s.Stats(d.now), Stats{InFlight: 1, Held: 3, Sites: 1})
}
