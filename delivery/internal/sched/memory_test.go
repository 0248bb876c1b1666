package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// grouped has two sites and more in a group.
func grouped(t *testing.T, g GroupLimits) *desk {
	g.Name = "g"
	return newDesk(t, Settings{Connections: 64, PerSite: 9, Ahead: 2000, Site: func(name string) SiteLimits {
		if name[0] == 'g' {
			return SiteLimits{PerSite: 9, Groups: []GroupLimits{g}}
		}
		return SiteLimits{PerSite: 9}
	}})
}

// claimUntil answers claims with nothing until there is one that is wanted, and returns it.
func (d *desk) claimUntil(wanted func(c *Claim) bool) *Claim {
	for range 12 {
		if d.claim != nil && wanted(d.claim) {
			return d.claim
		}
		if d.claim != nil {
			d.claim = nil
			d.s.Claimed(d.now, nil, false, time.Time{})
		}
		d.decide()
	}
	return nil
}

func isRefill(c *Claim) bool  { return len(c.Destinations) > 0 }
func isGeneral(c *Claim) bool { return !c.Others && len(c.Destinations) == 0 }

// TestLeftOutForAnotherSite has mail of a destination go to a full site, and then to one that
// is not: routes may differ by sender, and change.
func TestLeftOutForAnotherSite(t *testing.T) {
	t.Run("M1", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 2, PerSite: 1, Ahead: 1000})
		d.known("s", time.Second)
		later := d.claimed("A", "d", 2)
		d.mail("A", "d", 13, Route{Site: "s", Own: true})
		d.idle(0)
		d.s.MailCame(d.now)
		d.decide()
		d.want("left out", d.claimUntil(isGeneral).Except, []string{"d"})
		d.idle(0)
		d.s.Routed(d.now, later[0], Route{Site: "s", Own: true})
		d.decide()
		d.want("claims while mail goes to the full site", len(kindsOf(d.idle(0))), 0)
		d.s.Routed(d.now, later[1], Route{Site: "t", Own: true})
		d.decide()
		d.want("left out when some goes elsewhere", d.claimUntil(isGeneral).Except, []string(nil))
		d.idle(0)
		more := d.claimed("A", "d", 1)
		d.s.Routed(d.now, more[0], Route{Site: "u", Own: true})
		d.decide()
		d.want("claims when it goes on to another, and nothing was left out", len(kindsOf(d.idle(0))), 0)
	})
}

func TestMemoryOfGroups(t *testing.T) {
	t.Run("M6 four for each attempt, sixteen at least, and four of each tenant", func(t *testing.T) {
		for connections, want := range map[int]int{1: minAhead + fewAhead, 4: minAhead + fewAhead, 6: 24 + fewAhead} {
			d := grouped(t, GroupLimits{Connections: connections})
			for i := range 60 {
				site := fmt.Sprint("g", i%10)
				d.mail("A", "d."+site, 1, Route{Site: site})
			}
			d.want(fmt.Sprint("held with ", connections), 60-len(d.back), want)
			for i := range 6 {
				site := fmt.Sprint("g", i)
				d.mail("B", "d."+site, 1, Route{Site: site})
			}
			d.want("held of another tenant beyond that", d.s.tenants["B"].heldSlow, fewAhead)
			d.mail("A", "d.o", 3, Route{Site: "o"})
			d.want("held at a site of no group", d.s.sites["o"].held, 3)
		}
	})
	t.Run("M6 what may begin in half a second, where that is less", func(t *testing.T) {
		d := grouped(t, GroupLimits{Connections: 20, Rate: 60})
		for i := range 90 {
			site := fmt.Sprint("g", i%10)
			d.mail("A", "d."+site, 1, Route{Site: site})
		}
		d.want("held", 90-len(d.back), 30+fewAhead-1+1)
	})
	t.Run("M6 a group without limits holds what its sites do", func(t *testing.T) {
		d := grouped(t, GroupLimits{})
		for i := range 90 {
			site := fmt.Sprint("g", i%10)
			d.mail("A", "d."+site, 1, Route{Site: site})
		}
		d.want("gone back", len(d.back), 0)
	})
	t.Run("M6 its sites are left out of claims while it is full, and given mail by turns", func(t *testing.T) {
		d := grouped(t, GroupLimits{Connections: 2})
		for i := range 30 {
			site := fmt.Sprint("g", i%3)
			d.mail("A", "d."+site, 1, Route{Site: site})
		}
		d.settle()
		d.want("in flight", d.at("g"), 2)
		d.s.MailCame(d.now)
		c := d.claimUntil(isGeneral)
		slices.Sort(c.Except)
		d.want("left out", c.Except, []string{"d.g0", "d.g1", "d.g2"})
		d.want("a claim for a site while it is full", d.claimUntil(isRefill) == nil, true)
		seen := map[string]bool{}
		for i := 0; len(seen) < 3 && i < 40; i++ {
			if d.claim != nil && isRefill(d.claim) {
				seen[d.claim.Destinations[0]] = true
				if held := d.s.groups["g"].held; held >= minAhead*3/4 {
					t.Errorf("a claim for a site while the group holds %d", held)
				}
				if room := minAhead - d.s.groups["g"].held; d.claim.Max > room {
					t.Errorf("a claim of %d with room for %d", d.claim.Max, room)
				}
			}
			if d.claim != nil {
				d.claim = nil
				d.s.Claimed(d.now, nil, false, time.Time{})
				d.decide()
			} else if len(d.begun) > 0 {
				d.end(d.begun[0], Works, time.Millisecond)
			}
		}
		d.want("sites that are given mail", len(seen), 3)
	})
}

func TestGroupLimits(t *testing.T) {
	t.Run("L1 a site begins when another of its group makes room", func(t *testing.T) {
		d := grouped(t, GroupLimits{Connections: 2})
		for i := range 4 {
			d.mails("A", fmt.Sprint("g", i))
		}
		d.want("in flight", d.at("g"), 2)
		d.end(d.begun[0], Nothing, time.Second)
		d.want("in flight when one has ended", d.at("g"), 2)
		d.end(d.begun[0], Nothing, time.Second)
		d.want("in flight when another has", fmt.Sprint(d.at("g"), d.begun[0].Site, d.begun[1].Site), fmt.Sprint(2, "g2", "g3"))
	})
	t.Run("L3 attempts in a group are as far apart as its rate allows", func(t *testing.T) {
		d := grouped(t, GroupLimits{Rate: 4})
		d.mails("A", "g0", "g1", "o")
		d.want("in flight", fmt.Sprint(d.at("g"), d.at("o")), "1 1")
		d.want("wakes", d.out.Wake.Sub(d.now), 250*time.Millisecond)
		d.pass(250*time.Millisecond - 1)
		d.want("in flight", d.at("g"), 1)
		d.pass(1)
		d.want("in flight", d.at("g"), 2)
	})
	t.Run("L3 the settings change, and a rate counts anew", func(t *testing.T) {
		d := grouped(t, GroupLimits{Rate: 0.1})
		d.mails("A", "g0", "g1")
		set := d.s.settings
		set.Site = nil
		d.s.Configure(d.now, set)
		d.decide()
		d.want("in flight without groups", d.at("g"), 2)
		d.want("groups that are known", len(d.s.groups), 0)
	})
}

func TestParkedMail(t *testing.T) {
	fill := func(t *testing.T, set Settings) *desk {
		d := newDesk(t, set)
		d.known("s", time.Second)
		d.mail("A", "d", 40, Route{Site: "s"})
		d.settle()
		return d
	}
	usual := Settings{Connections: 32, PerSite: 2, Ahead: 2000}
	drainTo := func(d *desk, n int) {
		for d.s.sites["s"].held > n && len(d.begun) > 0 {
			d.end(d.begun[0], Works, time.Second)
		}
	}
	t.Run("M2 what was asked for and is there no more is lifted", func(t *testing.T) {
		d := fill(t, usual)
		drainTo(d, 3)
		c := d.claimUntil(isRefill)
		d.want("what is claimed", c.Destinations, []string{"d"})
		d.want("no more than fit when it had room", c.Max, minAhead-(minAhead*3/4-1))
		d.lift, d.claim = nil, nil
		d.s.Claimed(d.now, nil, false, time.Time{})
		d.decide()
		d.want("lifted", d.lift, []Lift{{Destination: "d", Parked: true}})
		d.want("a claim of its own after that", d.claimUntil(isRefill) == nil, true)
	})
	t.Run("M2 what is left stays parked, and is claimed as soon as some has come", func(t *testing.T) {
		d := fill(t, usual)
		drainTo(d, 3)
		d.claimUntil(isRefill)
		d.lift, d.claim = nil, nil
		d.s.Claimed(d.now, []Mail{{ID: 900, Message: "900", Destination: "d", Tenant: "A", Recipients: 1}}, true, time.Time{})
		d.decide()
		d.want("lifted", len(d.lift), 0)
		d.want("a claim of its own before it has come", d.claimUntil(isRefill) == nil, true)
		d.s.Routed(d.now, 900, Route{Site: "s"})
		d.decide()
		d.want("a claim when it has", d.claimUntil(isRefill) != nil, true)
	})
	t.Run("M2 where what comes goes elsewhere there is another claim after a pause", func(t *testing.T) {
		d := fill(t, usual)
		drainTo(d, 3)
		d.claimUntil(isRefill)
		d.claim = nil
		d.s.Claimed(d.now, []Mail{{ID: 900, Message: "900", Destination: "d", Tenant: "A", Recipients: 1}}, true, time.Time{})
		d.decide()
		d.s.Routed(d.now, 900, Route{Site: "o"})
		d.decide()
		d.want("a claim at once", d.claimUntil(isRefill) == nil, true)
		d.pass(emptyPause)
		d.want("a claim after a pause", d.claimUntil(isRefill) != nil, true)
	})
	t.Run("M2 a claim that failed is made again", func(t *testing.T) {
		d := fill(t, usual)
		drainTo(d, 3)
		d.claimUntil(isRefill)
		d.claim = nil
		d.s.ClaimFailed(d.now)
		d.pass(firstProbe)
		d.claim = nil
		d.s.Claimed(d.now, nil, false, time.Time{})
		d.decide()
		d.want("a claim of its own", d.claimUntil(isRefill) != nil, true)
	})
	t.Run("M2 no more destinations than so many are named, and then the others", func(t *testing.T) {
		d := newDesk(t, usual)
		d.known("s", time.Second)
		d.mail("A", "d", minAhead+fewAhead, Route{Site: "s"})
		for i := range refillMost + 4 {
			d.mail("A", fmt.Sprint("e", i), 1, Route{Site: "s"})
		}
		d.settle()
		drainTo(d, 3)
		first := slices.Clone(d.claimUntil(isRefill).Destinations)
		d.want("named", len(first), refillMost)
		d.claim = nil
		d.s.Claimed(d.now, []Mail{{ID: 900, Message: "900", Destination: first[0], Tenant: "A", Recipients: 1}}, true, time.Time{})
		d.decide()
		d.s.Routed(d.now, 900, Route{Site: "s"})
		d.decide()
		named := d.claimUntil(isRefill).Destinations
		for i := range 4 {
			if !slices.ContainsFunc(named, func(name string) bool { return !slices.Contains(first, name) }) {
				t.Errorf("the next %d of those that were not named are left out: %q after %q", i, named, first)
			}
		}
	})
	t.Run("M2 tenants that hold their part make way, and are claimed for later", func(t *testing.T) {
		d := fill(t, usual)
		d.mail("B", "e", 9, Route{Site: "s"})
		d.settle()
		drainTo(d, 11)
		c := d.claimUntil(isRefill)
		half := minAhead / 2
		var sated []string
		for name, u := range d.s.tenants {
			if l := d.s.sites["s"].lanes[u]; l != nil && l.held >= half {
				sated = append(sated, name)
			}
		}
		d.want("a part", c.PerTenant, half)
		d.want("left out", c.ExceptTenants, sated)
		if len(sated) == 0 {
			t.Error("nobody holds its part")
		}
		d.lift, d.claim = nil, nil
		d.s.Claimed(d.now, nil, false, time.Time{})
		d.decide()
		d.want("lifted although there is more of the other's", len(d.lift), 0)
	})
	t.Run("M3 a tenant that was left out is claimed for when it holds less", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 32, Ahead: 1000})
		ids := d.claimed("A", "d", 800)
		d.s.MailCame(d.now)
		d.pass(gatherMore)
		d.want("left out", d.claimUntil(isGeneral).ExceptTenants, []string{"A"})
		d.claim = nil
		d.s.Claimed(d.now, nil, false, time.Time{})
		d.decide()
		d.want("a claim while it holds as much", d.claim == nil, true)
		n := 0
		for ; d.claim == nil && n < 200; n++ {
			d.s.Settled(d.now, ids[n], false, time.Time{})
			d.decide()
		}
		// It holds less than three quarters of four times what is left: 3*(200+n) > 800-n.
		d.want("settled when it is claimed for again", n, 51)
		d.want("left out", d.claim.ExceptTenants, []string(nil))
	})
	t.Run("it is likely to have its turn when those before it have", func(t *testing.T) {
		d := fill(t, Settings{Connections: 32, PerSite: 2, Ahead: 20_000})
		d.now = d.now.Add(time.Hour)
		var at []time.Duration
		for range 6 {
			d.mail("A", "d", 1, Route{Site: "s"})
			at = append(at, d.back[len(d.back)-1].Likely.Sub(d.now))
		}
		d.want("two in flight, a second each", at, []time.Duration{time.Second, time.Second, 1500 * time.Millisecond, 2 * time.Second, 2500 * time.Millisecond, 3 * time.Second})
		for range 2000 {
			d.mail("A", "d", 1, Route{Site: "s"})
		}
		d.want("at the longest", d.back[len(d.back)-1].Likely.Sub(d.now), parkedFor)
		d.settle()
		d.now = d.now.Add(24 * time.Hour)
		d.mail("A", "d", 1, Route{Site: "s"})
		d.want("when all those have had theirs", d.back[len(d.back)-1].Likely.Sub(d.now), time.Second)
	})
	t.Run("M5 a site that holds few, or where something ends, does not make way", func(t *testing.T) {
		for _, c := range []struct {
			mail int
			pass time.Duration
			back int
		}{{fewAhead + 2, stuckAfter + 1, 0}, {fewAhead + 3, stuckAfter + 1, fewAhead + 1}, {60, stuckAfter, 0}} {
			d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
			d.known("s", time.Millisecond)
			d.mail("A", "d", c.mail, Route{Site: "s"})
			d.claimed("B", "e", 400-claimMost-c.mail)
			d.pass(c.pass - time.Nanosecond)
			d.pass(time.Nanosecond)
			d.claimed("B", "e", 1)
			d.want(fmt.Sprintf("gone back: %+v", c), len(d.back), c.back)
		}
	})
	t.Run("M5 the site of which nothing is known that has waited longest makes way for a new one", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		for i := range 161 {
			d.mails("A", fmt.Sprint("n", i))
		}
		d.want("gone back", len(d.back), 1)
		var waits string
		for _, b := range d.back {
			waits = d.s.items[b.ID].Destination
		}
		d.want("the first that waits", waits, "d.n7")
		d.want("in flight", d.at("n"), 7)
		d.mail("A", "d.n160", 1, Route{Site: "n160"})
		d.want("gone back where it has mail", len(d.back), 2)
		d.want("which is new mail", d.s.items[d.back[1].ID].Destination, "d.n160")
	})
}
