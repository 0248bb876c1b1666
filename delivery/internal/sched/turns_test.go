package sched

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// order is at which sites, for which tenants, attempts begin if each ends before the next.
func (d *desk) order(n int) string {
	var list []string
	for range n {
		if len(d.begun) == 0 {
			break
		}
		b := d.begun[0]
		list = append(list, d.s.items[b.Mail[0]].Tenant+b.Site)
		d.end(b, Works, time.Millisecond)
	}
	return strings.Join(list, " ")
}

// busy fills the only connection, so that what comes waits for its turn.
func busy(t *testing.T) *desk {
	d := newDesk(t, Settings{Connections: 1, PerSite: 1, Ahead: 2000})
	d.mails("Z", "z")
	return d
}

func TestTurns(t *testing.T) {
	t.Run("T1 tenants have turns, whoever has more", func(t *testing.T) {
		d := busy(t)
		for i := range 4 {
			d.mails("A", fmt.Sprint("a", i))
		}
		d.mails("B", "b0", "b1")
		d.mails("C", "c0")
		d.want("order", d.order(8), "Zz Aa0 Bb0 Cc0 Aa1 Bb1 Aa2 Aa3")
	})
	t.Run("T1 who has fewer in flight comes first, whoever was served longer ago", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 3, PerSite: 1, Ahead: 2000})
		d.mails("A", "a0", "a1", "a2", "a3", "a4")
		d.mails("B", "b0", "b1")
		d.want("in flight of A", d.at("a"), 3)
		d.end(d.begun[0], Works, time.Millisecond)
		d.want("the next", d.begun[len(d.begun)-1].Site, "b0")
		d.end(d.begun[0], Works, time.Millisecond)
		d.want("in flight when each had one, and one of who was served longer ago was next", fmt.Sprint(d.at("a"), d.at("b")), "2 1")
	})
	t.Run("T2 the site comes first whose mail waits longest", func(t *testing.T) {
		d := busy(t)
		for _, site := range []string{"c", "a", "b"} {
			d.now = d.now.Add(time.Second)
			d.mails("A", site)
		}
		d.want("order", d.order(4), "Zz Ac Aa Ab")
	})
	t.Run("T2 a step of priority counts as so much waiting", func(t *testing.T) {
		for later, want := range map[time.Duration]string{10*time.Minute - 1: "Zz Ab Aa", 10*time.Minute + 1: "Zz Aa Ab"} {
			d := busy(t)
			d.mails("A", "a")
			d.now = d.now.Add(later)
			d.prior("A", "b", 1)
			d.want(fmt.Sprint("order with the other ", later, " later"), d.order(3), want)
		}
		d := busy(t)
		d.prior("A", "a", -1)
		d.mails("A", "b")
		d.want("order after mail of less priority", d.order(3), "Zz Ab Aa")
	})
	t.Run("T2 waiting counts from when the tenant was served at a site", func(t *testing.T) {
		d := busy(t)
		d.mail("A", "d.a", 3, Route{Site: "a"})
		d.now = d.now.Add(time.Second)
		d.mails("A", "b")
		d.now = d.now.Add(time.Second)
		d.want("the first", d.order(1), "Zz")
		d.want("the next", d.order(1), "Aa")
		d.want("then the one where it has not been served since", d.order(2), "Ab Aa")
	})
	t.Run("T3 at a site each tenant has turns", func(t *testing.T) {
		d := busy(t)
		d.mail("A", "d.s", 3, Route{Site: "s"})
		d.mail("B", "d.s", 2, Route{Site: "s"})
		d.mail("C", "d.s", 1, Route{Site: "s"})
		d.want("order", d.order(7), "Zz As Bs Cs As Bs As")
	})
	t.Run("T3 a tenant that has waited at the site since before lends no turn away", func(t *testing.T) {
		d := busy(t)
		d.mails("B", "s", "b")
		d.now = d.now.Add(time.Second)
		d.mails("A", "s", "a")
		d.want("order", d.order(5), "Zz Bs As Bb Aa")
	})
	t.Run("a turn goes on at its site while nobody else has nothing in flight", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 2, PerSite: 1, Ahead: 2000})
		d.known("s", time.Millisecond)
		d.known("o", time.Millisecond)
		d.known("hold", time.Millisecond)
		d.mails("A", "hold")
		d.mail("A", "d.s", 40, Route{Site: "s"})
		d.now = d.now.Add(time.Second)
		d.mail("A", "d.o", 40, Route{Site: "o"})
		sites := ""
		for range 34 {
			b := d.begun[1]
			sites += b.Site
			d.end(b, Works, time.Millisecond)
		}
		d.want("where attempts are made", sites, strings.Repeat("s", maxTurns)+strings.Repeat("o", maxTurns)+"ss")
	})
	t.Run("a turn ends where a tenant waits with nothing in flight", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 2, PerSite: 1, Ahead: 2000})
		for _, site := range []string{"s", "o", "hold"} {
			d.known(site, time.Millisecond)
		}
		d.mails("A", "hold")
		d.mail("A", "d.s", 4, Route{Site: "s"})
		d.mails("B", "o")
		d.end(d.begun[1], Works, time.Millisecond)
		d.want("where the next is made", d.begun[1].Site, "o")
	})
	t.Run("a turn ends where a tenant waits at a site of which nothing is known", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 2, PerSite: 1, Ahead: 2000})
		for _, site := range []string{"s", "hold"} {
			d.known(site, time.Millisecond)
		}
		d.mails("A", "hold")
		d.mail("A", "d.s", 4, Route{Site: "s"})
		d.mails("B", "new")
		d.end(d.begun[1], Works, time.Millisecond)
		d.want("where the next is made", d.begun[1].Site, "new")
	})
	t.Run("T6 what is due first begins first, where a step of priority counts as so much", func(t *testing.T) {
		d := busy(t)
		due := func(id ID, priority int, after time.Duration) {
			d.s.Claimed(d.now, []Mail{{ID: id, Message: fmt.Sprint(id), Destination: "d", Tenant: "A", Priority: priority, Recipients: 1, Due: origin.Add(after)}}, false, time.Time{})
			d.decide()
			d.s.Routed(d.now, id, Route{Site: "s"})
		}
		due(104, 0, 0)
		due(103, 0, 0)
		due(102, 1, 10*time.Minute-1)
		due(101, 0, -1)
		due(105, 1, 10*time.Minute+1)
		d.decide()
		var order []ID
		d.end(d.begun[0], Works, time.Millisecond)
		for len(d.begun) > 0 {
			order = append(order, d.begun[0].Mail[0])
			d.end(d.begun[0], Works, time.Millisecond)
		}
		d.want("order, and of equals as they came", order, []ID{101, 102, 103, 104, 105})
	})
}

// prior hands out one delivery of a priority.
func (d *desk) prior(tenant, site string, priority int) {
	d.last++
	d.s.Claimed(d.now, []Mail{{ID: d.last, Message: fmt.Sprint(d.last), Destination: "d." + site, Tenant: tenant, Priority: priority, Recipients: 1, Due: d.now}}, false, time.Time{})
	d.decide()
	d.s.Routed(d.now, d.last, Route{Site: site})
	d.decide()
}

func TestTrials(t *testing.T) {
	three := func(t *testing.T) *desk {
		d := newDesk(t, Settings{Connections: 32, PerSite: 9, Ahead: 2000})
		for i := range 24 {
			d.mails("T", fmt.Sprint("n", i))
		}
		d.want("in flight at sites of which nothing is known", d.at("n"), 24)
		return d
	}
	t.Run("L6 the more are in flight the more rarely, and half of what is kept", func(t *testing.T) {
		d := three(t)
		for i := range 9 {
			d.mails("T", fmt.Sprint("m", i))
		}
		var at []time.Duration
		seen := d.at("m")
		for range 40 {
			d.now = d.now.Add(250 * time.Millisecond)
			if d.decide(); d.at("m") > seen {
				at, seen = append(at, d.now.Sub(origin)), d.at("m")
			}
		}
		d.want("when", at, []time.Duration{time.Second, 3250 * time.Millisecond, 7250 * time.Millisecond})
		d.want("in flight", d.at("m"), 4)
		d.want("it wakes for another", d.out.Wake.IsZero(), true)
		d.end(d.begun[len(d.begun)-1], Nothing, time.Second)
		d.pass(3500*time.Millisecond - 1)
		d.want("when one has ended", d.at("m"), 3)
		d.pass(1)
		d.want("and its time has come", d.at("m"), 4)
	})
	t.Run("L6 it wakes for the next", func(t *testing.T) {
		d := three(t)
		d.mails("T", "m0", "m1")
		d.want("in flight", d.at("m"), 1)
		d.want("wakes", d.out.Wake.Sub(d.now), time.Second)
		d.s.Stop(d.now, true)
		d.decide()
		d.want("wakes where nothing may begin", d.out.Wake.IsZero(), true)
	})
	t.Run("L6 the newest is tried first, one that is known never", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 9, Ahead: 2000})
		d.known("k", 6*time.Second)
		for i := range 24 {
			d.mails("T", fmt.Sprint("n", i))
		}
		d.mails("T", "k")
		d.pass(time.Minute)
		d.want("in flight at one that was slow", d.at("k"), 0)
		d.mails("T", "m0")
		d.mails("T", "m1", "k", "m2")
		d.pass(time.Minute)
		d.want("the next trial", d.begun[len(d.begun)-1].Site, "m2")
		d.pass(time.Minute)
		d.want("and the next", d.begun[len(d.begun)-1].Site, "m1")
		d.pass(time.Minute)
		d.want("and no more", len(d.begun), 27)
		d.want("in flight at one that was slow", d.at("k"), 0)
	})
	t.Run("L6 what a trial showed to be quick may begin beside the others", func(t *testing.T) {
		d := three(t)
		d.mail("T", "d.m", 3, Route{Site: "m"})
		d.want("a trial", d.at("m"), 1)
		d.end(d.begun[len(d.begun)-1], Works, quickTime-1)
		d.want("of those that wait", d.at("m"), 2)
	})
	t.Run("L6 what took longer is not quick", func(t *testing.T) {
		d := three(t)
		d.mail("T", "d.m", 3, Route{Site: "m"})
		d.end(d.begun[len(d.begun)-1], Works, quickTime)
		d.pass(time.Hour)
		d.want("of those that wait", d.at("m"), 0)
	})
	t.Run("L6 a site that was quick is not where nothing ends any more", func(t *testing.T) {
		d := three(t)
		d.mail("T", "d.m", 9, Route{Site: "m"})
		d.end(d.begun[len(d.begun)-1], Works, time.Second)
		d.want("in flight while it is quick", d.at("m"), 3)
		d.pass(quickTime - 1)
		d.end(d.begun[len(d.begun)-1], Works, time.Second)
		d.want("in flight while something ends", d.at("m"), 4)
	})
}
