package sched

import (
	"fmt"
	"testing"
	"time"
)

// TestForgottenInAGroup has a site of a group forgotten while others of it wait.
func TestForgottenInAGroup(t *testing.T) {
	// forget has sites without mail forgotten, g0 among them.
	forget := func(d *desk) {
		d.want("g0 is known", d.s.sites["g0"] != nil, true)
		d.s.remember = 1
		d.known("o", time.Second)
		d.want("g0 is known then", d.s.sites["g0"] != nil, false)
	}
	t.Run("L5 a site that waits for an attempt of another to end begins then", func(t *testing.T) {
		d := grouped(t, GroupLimits{Connections: 1})
		d.known("g0", time.Second)
		d.mails("A", "g1", "g2")
		d.want("in flight", fmt.Sprint(d.at("g1"), d.at("g2")), "1 0")
		forget(d)
		d.end(d.begun[0], Works, time.Second)
		d.want("in flight when that has ended", d.at("g2"), 1)
	})
	t.Run("M6 a site that waits for room is given mail then", func(t *testing.T) {
		d := crowdedGroup(t, 20, 5)
		d.settle()
		d.idle(0)
		d.s.site(d.now, "g2")
		d.s.remember = 1
		d.known("o", time.Second)
		d.want("g2 is known then", d.s.sites["g2"] != nil, false)
		d.withdraw("d.g0", 11)
		d.want("which are given mail", d.given(), []string{"d.g1"})
	})
}

// TestForgottenAtOnce has a destination without a route forgotten when that lets the rest of
// its message go on, to a new site.
func TestForgottenAtOnce(t *testing.T) {
	d := newDesk(t, Settings{Connections: 64, PerSite: 9, Ahead: 2000})
	d.s.remember = 1
	ids := d.message(1, "lost", "other")
	d.s.Routed(d.now, ids[1], Route{Site: "s"})
	d.s.Unroutable(d.now, ids[0], time.Minute, "no")
	d.decide()
	d.want("in flight", d.at("s"), 1)
	d.want("sites", d.states(), []string{`s 0/1/2 ["other"]`})
}

// TestForgottenPace has sites forgotten and come back: their rates hold.
func TestForgottenPace(t *testing.T) {
	t.Run("L3", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 64, PerSite: 9, Ahead: 2000, Site: func(name string) SiteLimits {
			switch name[0] {
			case 'g':
				return SiteLimits{PerSite: 9, Groups: []GroupLimits{{Name: "g", Rate: 0.1}}}
			case 's':
				return SiteLimits{PerSite: 9, Rate: 0.2}
			}
			return SiteLimits{PerSite: 9}
		}})
		d.s.remember = 1
		d.known("s", time.Second)
		d.known("g0", time.Second)
		d.known("o", time.Second)
		d.mails("A", "s", "g1")
		d.want("in flight at once", fmt.Sprint(d.at("s"), d.at("g")), "0 0")
		d.pass(5 * time.Second)
		d.want("in flight at the site's time", fmt.Sprint(d.at("s"), d.at("g")), "1 0")
		d.pass(5 * time.Second)
		d.want("in flight at the group's time", fmt.Sprint(d.at("s"), d.at("g")), "1 1")
		d.end(d.begun[0], Works, time.Second)
		d.end(d.begun[0], Works, time.Second)
		d.pass(10 * time.Second)
		d.known("p", time.Second)
		d.want("known when their time has come", fmt.Sprint(d.s.sites["s"] != nil, d.s.sites["g1"] != nil), "false false")
	})
}

// TestForgottenInABusyGroup has sites come and go in a group that uses all of its rate: one of
// them is enough to keep that.
func TestForgottenInABusyGroup(t *testing.T) {
	t.Run("L3", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 64, PerSite: 9, Ahead: 2000, Site: func(string) SiteLimits {
			return SiteLimits{PerSite: 9, Groups: []GroupLimits{{Name: "g", Rate: 0.1}}}
		}})
		d.s.remember = 100
		most := 0
		for i := range 5 {
			d.known(fmt.Sprintf("s%d", i), time.Second)
			for j := range 200 {
				d.s.site(d.now, fmt.Sprint(i, j))
				most = max(most, len(d.s.sites))
			}
			d.mails("A", "t")
			d.want("in flight at once", d.at("t"), 0)
			d.pass(10 * time.Second)
			d.want("in flight at the group's time", d.at("t"), 1)
			d.end(d.begun[0], Works, time.Second)
			d.pass(10 * time.Second)
		}
		if most > 2*d.s.remember {
			t.Errorf("%d sites are known, and %d are to be remembered", most, d.s.remember)
		}
	})
}

// TestManySitesThatStay has more sites than are remembered, none of which can be forgotten:
// each new one costs no more than the one before.
func TestManySitesThatStay(t *testing.T) {
	d := newDesk(t, Settings{Connections: 1, PerSite: 1, Ahead: 1 << 20})
	d.s.remember = 1000
	add := func(i int) {
		d.s.push(d.now, d.s.site(d.now, fmt.Sprint(i)), &item{Mail: Mail{ID: ID(i + 1), Message: fmt.Sprint(i)}, tenant: d.s.tenant("A")})
	}
	for i := range 3 * d.s.remember {
		add(i)
	}
	first := d.s.known.head
	add(-1)
	moved := 0
	for t := d.s.known.head; t != first; t = t.next {
		moved++
	}
	d.want("sites", len(d.s.sites), 3*d.s.remember+1)
	d.want("looked at for one more, and that", len(d.s.sites)-moved, forgetMost+1)
}
