package sched

import (
	"fmt"
	"testing"
	"time"
)

func TestLanes(t *testing.T) {
	t.Run("T3 who has fewer in flight at a site comes first, whoever was served longer ago there", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 4, Ahead: 400})
		d.known("s", time.Second)
		d.s.sites["s"].size = 4
		d.mail("Z", "z", 2, Route{Site: "s"})
		d.mail("A", "a", 4, Route{Site: "s"})
		d.mail("B", "b", 3, Route{Site: "s"})
		d.want("in flight", d.at("s"), 4)
		for range 2 {
			d.end(d.begun[0], Nothing, time.Second)
			d.want("the next", d.s.items[d.lastBegun().Mail[0]].Tenant, "B")
		}
	})
	t.Run("T3 a tenant with something in flight lends its turn to mail that came before its own", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 5, PerSite: 4, Ahead: 400})
		d.mails("A", "x")
		d.mails("B", "y1", "y2")
		d.mails("Z", "z")
		d.mails("B", "s")
		d.mails("A", "s")
		d.end(d.lastBegun(), Nothing, time.Second)
		d.want("the next", fmt.Sprint(d.lastBegun().Site, d.s.items[d.lastBegun().Mail[0]].Tenant), "sB")
	})
	t.Run("T2 a lane goes by the priority of what it still has", func(t *testing.T) {
		d := busy(t)
		d.mails("A", "b")
		d.now = d.now.Add(time.Second)
		d.mails("A", "a")
		d.prior("A", "a", 1)
		d.want("withdrawn", d.s.Withdraw(d.now, d.last), true)
		d.s.Settled(d.now, d.last, false, time.Time{})
		d.want("order", d.order(3), "Zz Ab Aa")
	})
	t.Run("T3 what is in flight counts until it has ended, though nothing of it is left", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		d.mails("B", "s")
		d.mails("A", "s")
		first := d.lastBegun()
		d.s.Gone(d.now, first.Mail[0])
		d.mail("A", "a", 2, Route{Site: "s"})
		d.mail("C", "c", 1, Route{Site: "s"})
		d.end(d.begun[0], Nothing, time.Second)
		d.want("the next", d.s.items[d.lastBegun().Mail[0]].Tenant, "C")
	})
	t.Run("a tenant is known as long as its site has no other's mail", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		d.mails("A", "s")
		d.end(d.begun[0], Works, time.Second)
		d.want("A is known", d.s.tenants["A"] != nil, true)
		d.mails("B", "s")
		d.end(d.begun[0], Works, time.Second)
		d.want("B is known", d.s.tenants["B"] != nil, false)
	})
}

// TestForgottenTenants has more sites than are remembered, each with a tenant of its own.
func TestForgottenTenants(t *testing.T) {
	d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 4000})
	unroutable := func(destination string) {
		id := d.claimed("N", destination, 1)[0]
		d.s.Unroutable(d.now, id, time.Minute, "no")
		d.s.Settled(d.now, id, false, time.Time{})
	}
	unroutable("early")
	unroutable("again")
	for i := range maxSites - 2 {
		d.mails(fmt.Sprint("T", i), fmt.Sprint(i))
		d.end(d.begun[0], Works, time.Second)
	}
	unroutable("again")
	d.want("sites", d.s.Stats(d.now).Sites, maxSites)
	d.mails("last", "last")
	d.end(d.begun[0], Works, time.Second)
	d.want("sites after one more", d.s.Stats(d.now).Sites, maxSites-forgetMost+1)
	d.want("tenants", len(d.s.tenants), maxSites-forgetMost)
	d.want("failures of one that was used lately", d.s.Misses("again"), 1)
	d.want("and of one that was not", d.s.Misses("early"), 0)
}
