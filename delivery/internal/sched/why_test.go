package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// states are the sites that are told of, each with what stands in the way.
func (d *desk) states(wanted ...string) (list []string) {
	want := map[string][]string{}
	for _, name := range wanted {
		want[name] = []string{}
	}
	for _, at := range d.s.SiteStates(d.now, want) {
		slices.Sort(at.Destinations)
		way := ""
		for _, w := range []struct {
			is   bool
			name string
		}{{at.Down, "down"}, {at.NoRoute, "no route"}, {at.Refused, "refused"}, {at.Full, "full"}, {at.Paced, "paced"}} {
			if w.is {
				way += " " + w.name
			}
		}
		list = append(list, fmt.Sprintf("%s %d/%d/%d%s %q", at.Site, at.Waiting, at.InFlight, at.Window, way, at.Destinations))
	}
	slices.Sort(list)
	return list
}

func TestSiteStates(t *testing.T) {
	set := Settings{Connections: 9, PerSite: 2, Ahead: 400, Site: func(name string) SiteLimits {
		switch name {
		case "g1", "g2":
			return SiteLimits{PerSite: 2, Groups: []GroupLimits{{Name: "g", Connections: 1}}}
		case "slow":
			return SiteLimits{PerSite: 2, Rate: 1}
		}
		return SiteLimits{PerSite: 2}
	}}
	t.Run("what waits and what is in flight", func(t *testing.T) {
		d := newDesk(t, set)
		d.mails("A", "a", "b")
		d.mail("A", "e.a", 4, Route{Site: "a"})
		d.claimed("A", "not routed", 1)
		d.want("sites", d.states(), []string{`a 3/2/2 full ["d.a" "e.a"]`, `b 0/1/2 ["d.b"]`})
	})
	t.Run("a group that has no room, and a rate", func(t *testing.T) {
		d := newDesk(t, set)
		d.mails("A", "g1", "g2")
		d.mail("A", "d.slow", 2, Route{Site: "slow"})
		d.want("sites", d.states(), []string{`g1 0/1/2 full ["d.g1"]`, `g2 1/0/2 full ["d.g2"]`, `slow 1/1/2 paced ["d.slow"]`})
	})
	t.Run("groups that have room", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400, Site: func(name string) SiteLimits {
			return SiteLimits{PerSite: 2, Groups: []GroupLimits{{Name: "wide", Connections: 5}, {Name: "rate"}}}
		}})
		d.mails("A", "a", "b")
		d.want("sites", d.states(), []string{`a 0/1/2 ["d.a"]`, `b 0/1/2 ["d.b"]`})
	})
	t.Run("a site that holds enough while nothing may begin", func(t *testing.T) {
		d := newDesk(t, set)
		d.known("a", time.Second)
		d.s.Stop(d.now, true)
		d.mail("A", "d.a", minAhead*3/4-1, Route{Site: "a"})
		d.want("sites", d.states(), []string{`a 11/0/2 ["d.a"]`})
		d.mails("A", "a")
		d.want("sites with one more", d.states(), []string{`a 12/0/2 full ["d.a"]`})
	})
	t.Run("a site that is left alone without mail, and one with mail that is to be tried", func(t *testing.T) {
		d := newDesk(t, set)
		d.mails("A", "a")
		d.taught(d.begun[0], Unreachable)
		d.want("sites", d.states(), []string{`a 0/0/1 down []`})
		d.mails("A", "a")
		d.settle()
		d.pass(time.Minute)
		d.want("sites when it is to be tried", d.states(), []string{`a 0/0/1 ["d.a"]`})
	})
	t.Run("every connection in flight", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 1, PerSite: 2, Ahead: 400})
		d.mails("A", "a", "b")
		d.want("sites", d.states(), []string{`a 0/1/2 full ["d.a"]`, `b 1/0/2 full ["d.b"]`})
	})
	t.Run("sites that are left alone, and destinations without a route", func(t *testing.T) {
		d := newDesk(t, set)
		d.mail("A", "d.down", 3, Route{Site: "down"})
		d.taught(d.begun[0], Unreachable)
		d.taught(d.begun[0], Nothing)
		d.mails("A", "out")
		d.taught(d.lastBegun(), LoginRefused)
		d.s.Unroutable(d.now, d.claimed("A", "lost", 1)[0], time.Minute, "no name server")
		d.claimed("A", "lost", 1)
		d.want("sites", d.states(), []string{` 0/0/1 no route ["lost"]`, `down 0/0/1 down ["d.down"]`, `out 0/0/1 refused []`})
	})
	t.Run("a site without mail is told of where it is wanted", func(t *testing.T) {
		d := newDesk(t, set)
		d.known("a", time.Second)
		d.known("b", time.Second)
		d.want("sites", d.states(), []string(nil))
		d.want("sites where one is wanted", d.states("b", "unknown"), []string{`b 0/0/2 []`})
	})
	t.Run("a destination that is kept back for one site and goes to another is told of at both", func(t *testing.T) {
		d := newDesk(t, set)
		d.mail("A", "d", 3, Route{Site: "down"})
		d.taught(d.begun[0], Unreachable)
		d.taught(d.begun[0], Nothing)
		d.mail("A", "d", 1, Route{Site: "b"})
		d.want("sites", d.states(), []string{`b 0/1/2 ["d"]`, `down 0/0/1 down ["d"]`})
	})
}

func TestKeeps(t *testing.T) {
	keeps := func(d *desk, destination string) string {
		at, ok := d.s.Keeps(d.now, destination)
		if !ok {
			return "nothing"
		}
		return fmt.Sprint(at.Site, " down ", at.Down, " no route ", at.NoRoute, " refused ", at.Refused, " full ", at.Full, " paced ", at.Paced)
	}
	d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
	d.known("s", time.Second)
	d.mail("A", "d", 40, Route{Site: "s"})
	d.want("a destination without room", keeps(d, "d"), "s down false no route false refused false full true paced false")
	d.want("another", keeps(d, "e"), "nothing")
	d.settle()
	for range 2 {
		d.taught(d.begun[0], Unreachable)
	}
	d.want("one whose site is down", keeps(d, "d"), "s down true no route false refused false full false paced false")
	d.mail("A", "e", 1, Route{Site: "s"})
	d.want("another", keeps(d, "e"), "s down true no route false refused false full false paced false")
	d.s.Unroutable(d.now, d.claimed("A", "lost", 1)[0], time.Minute, "no")
	d.want("one without a route", keeps(d, "lost"), " down false no route true refused false full false paced false")
	d.pass(time.Minute)
	d.want("when that is to be asked for again", keeps(d, "lost"), "nothing")
	d.want("one whose site is to be tried", keeps(d, "e"), "s down false no route false refused false full false paced false")
	d.want("how often a route was not found", fmt.Sprint(d.s.Misses("lost"), d.s.Misses("e")), "1 0")
	d.s.Flush(d.now, "", "lost")
	d.want("after somebody flushes", d.s.Misses("lost"), 0)
}
