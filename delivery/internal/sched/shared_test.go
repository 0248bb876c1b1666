package sched

import (
	"fmt"
	"testing"
	"time"
)

// shared has sites, and the group of those whose names begin with g, whose limits others
// share, and shares that the test changes.
func shared(t *testing.T, shares map[string]Share) *desk {
	return newDesk(t, Settings{
		Connections: 32, PerSite: 9, Ahead: 2000,
		Site: func(name string) SiteLimits {
			switch name[0] {
			case 'g':
				return SiteLimits{PerSite: 9, Groups: []GroupLimits{{Name: "g", Connections: 9, Shared: true}, {Name: "own", Connections: 9}}}
			case 's':
				return SiteLimits{PerSite: 9, Shared: true}
			default:
				return SiteLimits{PerSite: 9}
			}
		},
		Share: func(_ time.Time, limit Shared) Share {
			if limit.Group != (limit.Name == "g") {
				t.Errorf("asked for the share of %+v", limit)
			}
			return shares[limit.Name]
		},
	})
}

// TestShares has one agent begin what it has a share of, and no more.
func TestShares(t *testing.T) {
	t.Run("L1 of a site", func(t *testing.T) {
		shares := map[string]Share{"s": {Most: 1}}
		d := shared(t, shares)
		d.mail("A", "d.s", 3, Route{Site: "s"})
		d.mail("A", "d.t", 2, Route{Site: "t"})
		d.want("in flight with a share of one", d.at("s"), 1)
		d.want("in flight at a site that nobody shares", d.at("t"), 2)
		shares["s"] = Share{Most: 2}
		d.decide()
		d.want("before anybody says that there is more", d.at("s"), 1)
		d.s.Reshare(d.now)
		d.decide()
		d.want("in flight then", d.at("s"), 2)
		shares["s"] = Share{}
		d.end(d.begun[0], Works, time.Millisecond)
		d.end(d.begun[0], Works, time.Millisecond)
		d.want("in flight when there is none any more", d.at("s"), 1)
	})
	t.Run("L1 of a group", func(t *testing.T) {
		shares := map[string]Share{"g": {Most: 2}}
		d := shared(t, shares)
		d.mails("A", "g0", "g1", "g2", "o")
		d.want("in flight with a share of two", d.at("g"), 2)
		d.want("in flight at a site of no group", d.at("o"), 1)
		d.end(d.begun[0], Works, time.Millisecond)
		d.want("in flight when one has ended", fmt.Sprint(d.at("g"), d.lastBegun().Site), "2g2")
		d.mails("A", "g3")
		shares["g"] = Share{Most: 3}
		d.s.Reshare(d.now)
		d.decide()
		d.want("in flight with one more", d.at("g"), 3)
	})
	t.Run("L1 of a rate", func(t *testing.T) {
		d := shared(t, map[string]Share{"s": {Most: 9, Rate: 4}, "g": {Most: 9, Rate: 2}})
		d.mail("A", "d.s", 2, Route{Site: "s"})
		d.want("in flight", d.at("s"), 1)
		d.want("wakes", d.out.Wake.Sub(d.now), 250*time.Millisecond)
		d.pass(250 * time.Millisecond)
		d.want("in flight at its time", d.at("s"), 2)
		d.mails("A", "g0", "g1")
		d.want("in flight in the group", d.at("g"), 1)
		d.want("wakes", d.out.Wake.Sub(d.now), 500*time.Millisecond)
	})
	t.Run("L3 a rate is that of the share as it is now, and not as it was at the last attempt", func(t *testing.T) {
		shares := map[string]Share{"s": {Most: 9, Rate: 0.01}, "g": {Most: 9, Rate: 0.01}}
		d := shared(t, shares)
		d.mail("A", "d.s", 2, Route{Site: "s"})
		d.mails("A", "g0", "g1", "g2")
		d.want("in flight with little of the rates", fmt.Sprint(d.at("s"), d.at("g")), "1 1")
		shares["s"], shares["g"] = Share{Most: 9, Rate: 4}, Share{Most: 9, Rate: 2}
		d.s.Reshare(d.now)
		d.decide()
		d.want("wakes when there is more of them", d.out.Wake.Sub(d.now), 250*time.Millisecond)
		d.pass(250 * time.Millisecond)
		d.want("in flight at the site's time", fmt.Sprint(d.at("s"), d.at("g")), "2 1")
		d.pass(250 * time.Millisecond)
		d.want("in flight at the group's time", fmt.Sprint(d.at("s"), d.at("g")), "2 2")
		shares["g"] = Share{Most: 9, Rate: 0.1}
		d.pass(9 * time.Second)
		d.want("in flight when there is less of it", d.at("g"), 2)
		d.pass(time.Second)
		d.want("in flight then", d.at("g"), 3)
	})
	t.Run("L3 a share of a limit that has become lower is no more than the whole", func(t *testing.T) {
		d := shared(t, map[string]Share{"s": {Most: 9, Rate: 100}, "g": {Most: 9, Rate: 100}, "h": {Most: 9}})
		set := d.s.settings
		set.Site = func(name string) SiteLimits {
			if name == "s" {
				return SiteLimits{PerSite: 9, Rate: 4, Shared: true}
			}
			return SiteLimits{PerSite: 9, Groups: []GroupLimits{{Name: "g", Connections: 2, Rate: 2, Shared: true}}}
		}
		d.s.Configure(d.now, set)
		d.mail("A", "d.s", 2, Route{Site: "s"})
		d.mails("A", "g0", "g1", "g2")
		d.want("in flight", fmt.Sprint(d.at("s"), d.at("g")), "1 1")
		d.want("wakes", d.out.Wake.Sub(d.now), 250*time.Millisecond)
		d.pass(10 * time.Second)
		d.want("in flight later", fmt.Sprint(d.at("s"), d.at("g")), "2 2")
	})
	t.Run("L5 a site that waited for one of its groups begins when the other has room, once that is what it waits for", func(t *testing.T) {
		shares := map[string]Share{"g": {Most: 9}, "h": {Most: 9}}
		d := shared(t, shares)
		set := d.s.settings
		set.Site = func(name string) SiteLimits {
			l := SiteLimits{PerSite: 9}
			for _, g := range name[:len(name)-1] {
				l.Groups = append(l.Groups, GroupLimits{Name: string(g), Connections: 9, Shared: true})
			}
			return l
		}
		set.Share = func(_ time.Time, limit Shared) Share { return shares[limit.Name] }
		d.s.Configure(d.now, set)
		d.mails("A", "g1", "h1")
		shares["g"], shares["h"] = Share{Most: 1}, Share{Most: 1}
		d.mails("A", "gh1")
		d.want("in flight while both are full", d.at("gh"), 0)
		shares["g"] = Share{Most: 2}
		d.s.Reshare(d.now)
		d.decide()
		d.want("in flight while the other is", d.at("gh"), 0)
		d.end(d.begun[1], Works, time.Millisecond)
		d.want("in flight then", d.at("gh"), 1)
	})
	t.Run("L6 it sleeps while there is more of a share and nobody has said so", func(t *testing.T) {
		shares := map[string]Share{"s": {}}
		d := shared(t, shares)
		d.mails("A", "s")
		d.pass(time.Second)
		shares["s"] = Share{Most: 1}
		d.decide()
		d.want("wakes", d.out.Wake.IsZero() || d.out.Wake.After(d.now), true)
	})
	t.Run("L1 what may not begin for want of a share is full", func(t *testing.T) {
		d := shared(t, map[string]Share{"s": {Most: 1}})
		ids := d.claimed("A", "d.s", 2)
		for _, id := range ids {
			d.s.Routed(d.now, id, Route{Site: "s"})
		}
		d.decide()
		at, _ := d.s.Holds(d.now, ids[1])
		d.want("full", at.Full, true)
	})
}

// TestNobodyTellsShares: where nobody tells of shares, limits that others could share are
// this agent's alone.
func TestNobodyTellsShares(t *testing.T) {
	t.Run("L1", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 9, Ahead: 400, Site: func(name string) SiteLimits {
			if name == "s" {
				return SiteLimits{PerSite: 1, Shared: true}
			}
			return SiteLimits{PerSite: 9, Groups: []GroupLimits{{Name: "g", Connections: 2, Shared: true}}}
		}})
		d.mail("A", "d.s", 2, Route{Site: "s"})
		d.mails("A", "g0", "g1", "g2")
		d.want("in flight at a site of one, and in a group of two", fmt.Sprint(d.at("s"), d.at("g")), "1 2")
		d.want("demands", len(d.s.Demands()), 0)
		d.end(d.begun[1], Works, time.Second)
		d.want("in flight in the group when one has ended", d.at("g"), 2)
	})
}

// TestDemands is what an agent tells others that it could do with a share.
func TestDemands(t *testing.T) {
	t.Run("L1", func(t *testing.T) {
		d := shared(t, map[string]Share{"s0": {Most: 1}, "s1": {Most: 9}, "g": {Most: 1}})
		d.want("while there is no mail", len(d.s.Demands()), 0)
		d.mail("A", "d.s0", 3, Route{Site: "s0"})
		d.mails("A", "s1", "o", "g0")
		d.mail("A", "d.g1", 1, Route{Site: "g1"})
		want := []Demand{
			{Site: "s0", Shared: true, Waiting: 2, InFlight: 1}, {Site: "s1", Shared: true, InFlight: 1},
			{Site: "g0", Groups: []string{"g"}, InFlight: 1}, {Site: "g1", Groups: []string{"g"}, Waiting: 1},
		}
		d.want("of those that are shared", fmt.Sprintf("%+v", d.s.Demands()), fmt.Sprintf("%+v", want))
		for len(d.begun) > 0 {
			d.end(d.begun[0], Works, time.Second)
			d.s.Reshare(d.now)
			d.decide()
		}
		d.want("when all has gone", len(d.s.Demands()), 0)
	})
	t.Run("L1 of a site with mail that waits in the queue", func(t *testing.T) {
		d := shared(t, map[string]Share{})
		d.known("o", time.Second)
		d.mail("A", "d.s", 200, Route{Site: "s"})
		d.settle()
		list := d.s.Demands()
		d.want("more", fmt.Sprint(len(list), list[0].More, list[0].InFlight), "1 true 0")
		d.withdraw("d.s", 0)
		d.want("when none of it is held", fmt.Sprintf("%+v", d.s.Demands()), fmt.Sprintf("%+v", []Demand{{Site: "s", Shared: true, More: true}}))
	})
}
