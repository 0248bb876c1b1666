package sched

import (
	"fmt"
	"testing"
	"time"
)

// crowdedGroup is a group that holds more than it should, each of its sites so much as is said.
func crowdedGroup(t *testing.T, sites ...int) *desk {
	d := grouped(t, GroupLimits{Connections: 2})
	for i, n := range sites {
		d.mail("A", fmt.Sprint("d.g", i), n, Route{Site: fmt.Sprint("g", i)})
	}
	return d
}

// withdraw takes away what waits for a destination until so much of it is left.
func (d *desk) withdraw(destination string, left int) {
	for id, m := range d.s.items {
		if p := d.s.places[destination]; p != nil && p.held > left && m.Destination == destination && d.s.Withdraw(d.now, id) {
			d.s.Settled(d.now, id, false, time.Time{})
		}
	}
	d.decide()
}

// given answers claims with nothing, and returns the destinations of sites that were given
// mail.
func (d *desk) given() (list []string) {
	for _, c := range d.idle(0) {
		list = append(list, c.Destinations...)
	}
	return list
}

func TestRoomInGroup(t *testing.T) {
	t.Run("M6 what was left out for a group is claimed when that has room, wherever in it", func(t *testing.T) {
		d := crowdedGroup(t, 12)
		d.idle(0)
		d.s.MailCame(d.now)
		d.decide()
		d.want("left out", d.claimUntil(isGeneral).Except, []string{"d.g0"})
		d.idle(0)
		d.mail("A", "d.g1", 8, Route{Site: "g1"})
		d.withdraw("d.g0", 4)
		d.idle(0)
		d.want("held", d.s.groups["g"].held, 12)
		d.withdraw("d.g1", 7)
		d.want("a claim of all", d.claim != nil && isGeneral(d.claim), true)
	})
	t.Run("M6 another site is given mail at once where there is none for the first", func(t *testing.T) {
		d := crowdedGroup(t, 20, 5, 5)
		d.settle()
		d.idle(0)
		d.withdraw("d.g0", 11)
		given := d.given()
		d.want("which are given mail", given, []string{"d.g1", "d.g2"})
	})
	t.Run("M6 nothing is claimed anew where nothing was left out", func(t *testing.T) {
		d := crowdedGroup(t, 6)
		d.idle(0)
		for range 3 {
			d.end(d.begun[0], Works, time.Second)
			d.want("a claim", d.claim == nil, true)
		}
		d = crowdedGroup(t, 12)
		d.idle(0)
		d.s.MailCame(d.now)
		d.decide()
		d.idle(0)
		d.end(d.begun[0], Works, time.Second)
		d.want("a claim when there is room", d.claim != nil, true)
		d.idle(0)
		for range 3 {
			d.end(d.begun[0], Works, time.Second)
			d.want("a claim after that", d.claim == nil || d.claim.Others, true)
			d.idle(0)
		}
	})
	t.Run("M6 a tenant of which nothing is left is forgotten", func(t *testing.T) {
		d := crowdedGroup(t, 2, 1)
		d.want("tenants of which a group holds mail", len(d.s.groups["g"].tenants), 1)
		for len(d.begun) > 0 {
			d.end(d.begun[0], Works, time.Second)
		}
		d.want("tenants then", len(d.s.groups["g"].tenants), 0)
	})
	// out has the settings change so that a site is in no group any more.
	out := func(d *desk, site string) {
		set := d.s.settings
		usual := set.Site
		set.Site = func(name string) SiteLimits {
			if name == site {
				return SiteLimits{PerSite: 9}
			}
			return usual(name)
		}
		d.s.Configure(d.now, set)
		d.decide()
	}
	t.Run("M6 a site that is in its group no longer does not wait for room there", func(t *testing.T) {
		d := crowdedGroup(t, 20, 5)
		d.settle()
		d.idle(0)
		out(d, "g1")
		given := d.given()
		d.want("which are given mail", given, []string{"d.g1"})
	})
	t.Run("M6 and does not stand in the others' way there", func(t *testing.T) {
		d := crowdedGroup(t, 20, 5, 5)
		d.settle()
		d.idle(0)
		out(d, "g1")
		d.idle(0)
		d.withdraw("d.g0", 11)
		d.want("lines", len(d.s.groups["g"].parked), 0)
		given := d.given()
		d.want("which are given mail", given, []string{"d.g2"})
	})
	t.Run("L1 a site that is in its group no longer begins at once", func(t *testing.T) {
		d := crowdedGroup(t, 2, 1)
		d.want("in flight", fmt.Sprint(d.at("g0"), d.at("g1")), "2 0")
		out(d, "g1")
		d.want("in flight", fmt.Sprint(d.at("g0"), d.at("g1")), "2 1")
		d.want("sites that wait for room", len(d.s.groups["g"].blocked), 0)
	})
	t.Run("L1 a site begins when those that were in flight in its group are of it no longer", func(t *testing.T) {
		for _, first := range []string{"g0", "g1"} {
			d := grouped(t, GroupLimits{Connections: 2})
			d.s.site(d.now, first)
			d.mail("A", "d.g0", 2, Route{Site: "g0"})
			d.mail("A", "d.g1", 1, Route{Site: "g1"})
			d.want("in flight", fmt.Sprint(d.at("g0"), d.at("g1")), "2 0")
			out(d, "g0")
			d.want("in flight where "+first+" was known first", fmt.Sprint(d.at("g0"), d.at("g1")), "2 1")
		}
	})
	t.Run("M6 a site is given mail when those that filled its group are of it no longer", func(t *testing.T) {
		for _, first := range []string{"g0", "g1"} {
			d := grouped(t, GroupLimits{Connections: 2})
			d.s.site(d.now, first)
			d.mail("A", "d.g0", 20, Route{Site: "g0"})
			d.mail("A", "d.g1", 5, Route{Site: "g1"})
			d.settle()
			d.idle(0)
			out(d, "g0")
			given := d.given()
			d.want("which are given mail where "+first+" was known first", given, []string{"d.g1"})
		}
	})
	t.Run("L3 the rate of a group counts anew when the settings change", func(t *testing.T) {
		d := grouped(t, GroupLimits{Rate: 0.1})
		d.mails("A", "g0", "g1")
		d.want("in flight", d.at("g"), 1)
		d.s.Configure(d.now, d.s.settings)
		d.decide()
		d.want("in flight then", d.at("g"), 2)
	})
}
