package sched

import (
	"testing"
	"time"
)

// TestTenantForgottenOnce has the last delivery of a tenant settled before its attempt has
// ended, which happens where it leaves the attempt before that is made.
func TestTenantForgottenOnce(t *testing.T) {
	d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
	d.known("s", time.Second) // of another tenant
	d.mails("A", "s", "o")
	d.mails("B", "o")
	for _, b := range d.begun {
		for _, id := range b.Mail {
			d.s.Gone(d.now, id)
			d.s.Settled(d.now, id, false, time.Time{})
		}
	}
	for _, b := range d.begun {
		d.s.Ended(d.now, b.Ship)
	}
	d.decide()
	d.mails("C", "s")
	list := map[string]bool{}
	for _, u := range d.s.tenantList {
		list[u.name] = true
	}
	d.want("tenants that are listed", len(list), len(d.s.tenants))
	for name := range d.s.tenants {
		d.want(name+" is listed", list[name], true)
	}
}
