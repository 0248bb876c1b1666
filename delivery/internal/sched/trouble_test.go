package sched

import (
	"fmt"
	"testing"
	"time"
)

// mails hands out one delivery of a tenant for each of the sites.
func (d *desk) mails(tenant string, sites ...string) {
	for _, site := range sites {
		d.mail(tenant, "d."+site, 1, Route{Site: site})
	}
}

// sleeps checks that the scheduler does not want to be called at once, again and again.
func (d *desk) sleeps(while string) {
	d.t.Helper()
	if wake := d.out.Wake; !wake.IsZero() && !wake.After(d.now) {
		d.t.Errorf("it wants to wake at %v, %v ago, while %s", wake, d.now.Sub(wake), while)
	}
}

func TestNoProbeMayBegin(t *testing.T) {
	t.Run("O1 while every connection is in flight", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 2, PerSite: 2, Ahead: 400})
		d.mails("A", "a", "b", "c")
		d.s.Troubled(d.now, NetworkFails)
		d.pass(firstProbe)
		d.want("in flight", len(d.begun), 2)
		d.sleeps("no connection is free")
		d.end(d.begun[0], Nothing, firstProbe)
		d.want("the probe", d.begun[len(d.begun)-1].Site, "c")
	})
	t.Run("O1 while what is left is kept for quick sites", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		for i := range 9 {
			d.mails("A", fmt.Sprint("n", i))
		}
		d.want("in flight: three quarters, and a trial", len(d.begun), 7)
		d.s.Troubled(d.now, NetworkFails)
		for range 10 {
			d.pass(firstProbe)
			d.sleeps("what is ready is not quick")
		}
		d.mails("A", "n9")
		d.want("in flight", len(d.begun), 7)
		d.end(d.begun[0], Nothing, firstProbe)
		d.want("the probe begins as soon as one may", len(d.begun), 7)
	})
	t.Run("O1 while there is no room for what an attempt makes", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 1, Ahead: 400})
		d.mail("A", "d", 2, Route{Site: "s"})
		d.mails("A", "other")
		d.end(d.begun[0], Ours, time.Second)
		d.s.Stop(d.now, true)
		d.pass(firstProbe)
		d.sleeps("it is stopped")
		d.s.Stop(d.now, false)
		d.decide()
		d.want("in flight with the probe", len(d.begun), 2)
	})
}
