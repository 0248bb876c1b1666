package sched

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// quickDesk has eight connections, two of which are kept for quick sites, and knows some
// quick sites.
func quickDesk(t *testing.T, quick ...string) *desk {
	d := newDesk(t, Settings{Connections: 8, PerSite: 1, Ahead: 2000})
	for _, site := range quick {
		d.known(site, time.Millisecond)
	}
	return d
}

// fillSlow has as many attempts begin at sites of which nothing is known as may.
func (d *desk) fillSlow() {
	d.t.Helper()
	for i := range 6 {
		d.mails("T", fmt.Sprint("n", i))
	}
	d.want("in flight at sites of which nothing is known", d.at("n"), 6)
}

// TestWhoseTurnGoesOn has an attempt end at a site that has more mail, while there is mail
// for another that has waited longer.
func TestWhoseTurnGoesOn(t *testing.T) {
	// turn has A at site s, whose turn it is, and returns where the next attempt is made
	// when that one has ended.
	turn := func(d *desk, beside ...string) string {
		d.mail("A", "d.s", 3, Route{Site: "s"})
		d.mails("B", beside...)
		d.want("in flight at s", d.at("s"), 1)
		var at Begin
		for _, b := range d.begun {
			if b.Site == "s" {
				at = b
			}
		}
		took := d.s.sites["s"].last
		d.mails("A", "o")
		d.now = d.now.Add(time.Second)
		d.end(at, Works, took)
		at = d.lastBegun()
		d.want("the first after it", at.Site, "s")
		d.now = d.now.Add(time.Second) // from here on o has waited longer
		d.end(at, Works, took)
		return d.lastBegun().Site
	}
	t.Run("at one that is quick while no more may begin at others", func(t *testing.T) {
		d := quickDesk(t, "s", "o", "hold")
		d.fillSlow()
		d.mails("A", "hold")
		d.want("the next", turn(d, "new"), "s")
	})
	t.Run("at one that is not quick", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 2, PerSite: 1, Ahead: 2000})
		d.known("hold", time.Millisecond)
		d.known("s", 6*time.Second)
		d.known("o", 6*time.Second)
		d.mails("A", "hold")
		d.want("the next", turn(d), "s")
	})
	t.Run("while who waits for one that is not quick has something in flight", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 3, PerSite: 1, Ahead: 2000})
		for _, site := range []string{"hold", "held", "s"} {
			d.known(site, time.Millisecond)
		}
		d.known("slow", 6*time.Second)
		d.mails("A", "hold")
		d.mails("B", "held")
		d.mail("A", "d.s", 2, Route{Site: "s"})
		d.mails("B", "slow")
		d.end(d.lastBegun(), Works, time.Millisecond)
		d.want("the next", d.lastBegun().Site, "s")
	})
}

func TestWhatCountsAsSlow(t *testing.T) {
	t.Run("L6 attempts at quick sites take nothing from the others", func(t *testing.T) {
		d := quickDesk(t, "s", "o")
		d.mails("A", "s", "o")
		d.fillSlow()
	})
	t.Run("L6 a turn that goes on is no trial", func(t *testing.T) {
		d := quickDesk(t, "s", "hold")
		d.fillSlow()
		d.mails("A", "hold")
		d.mail("A", "d.s", 2, Route{Site: "s"})
		d.mails("B", "new")
		d.end(d.lastBegun(), Works, time.Millisecond)
		d.want("the next", d.lastBegun().Site, "s")
		d.end(d.begun[6], Nothing, time.Millisecond)
		d.want("when there is room, a trial at once", d.lastBegun().Site, "new")
	})
	t.Run("L6 a trial waits for quick sites", func(t *testing.T) {
		d := quickDesk(t, "q", "hold", "held")
		d.fillSlow()
		d.mails("A", "hold", "held")
		d.mails("A", "q")
		d.mails("B", "new")
		d.end(d.lastBegun(), Nothing, time.Millisecond)
		d.want("the next", d.lastBegun().Site, "q")
	})
	t.Run("L6 a site where nothing ends meanwhile waits with those that are not quick", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 2000})
		d.known("s", time.Millisecond)
		d.known("hold", time.Millisecond)
		d.fillSlow()
		d.mails("A", "hold")
		d.mail("A", "d.s", 2, Route{Site: "s"})
		d.want("in flight", d.at("s"), 1)
		d.pass(quickTime)
		d.end(d.begun[6], Nothing, time.Millisecond)
		d.want("in flight when there is room", d.at("s"), 1)
	})
}

// TestWhereTrialsAreMade has all in use that is not kept for quick sites.
func TestWhereTrialsAreMade(t *testing.T) {
	t.Run("L6 it does not wake for one while all connections are in use", func(t *testing.T) {
		d := quickDesk(t, "hold", "held")
		d.fillSlow()
		d.mails("A", "m")
		d.want("the trial", d.lastBegun().Site, "m")
		d.end(d.lastBegun(), Nothing, time.Millisecond)
		d.mails("A", "new")
		d.want("wakes for the next", d.out.Wake.Sub(d.now), 4*firstTrial)
		d.mails("A", "hold", "held")
		d.want("wakes while there is no room", d.out.Wake.IsZero(), true)
	})
	t.Run("L6 one at a time at a site", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 9, Ahead: 2000})
		for i := range 24 {
			d.mails("T", fmt.Sprint("n", i))
		}
		d.mail("T", "d.m", 3, Route{Site: "m"})
		d.want("in flight", d.at("m"), 1)
		d.pass(time.Minute)
		d.want("in flight after a minute", d.at("m"), 1)
	})
	t.Run("L6 none where the last one has shown that the site is not quick", func(t *testing.T) {
		d := quickDesk(t)
		d.fillSlow()
		d.mail("A", "d.m", 3, Route{Site: "m"})
		d.want("the trial", d.at("m"), 1)
		d.end(d.lastBegun(), Works, quickTime)
		d.pass(time.Minute)
		d.want("in flight a minute later", d.at("m"), 0)
	})
	t.Run("L6 none where the site's turn has not come", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 9, Ahead: 2000, Site: func(name string) SiteLimits {
			if name[0] == 'g' {
				return SiteLimits{PerSite: 9, Groups: []GroupLimits{{Name: "g", Connections: 1}}}
			}
			return SiteLimits{PerSite: 9}
		}})
		d.mails("T", "g0")
		for i := range 23 {
			d.mails("T", fmt.Sprint("n", i))
		}
		d.mails("T", "g1")
		d.pass(time.Minute)
		d.want("in flight in a group that has no room", d.at("g"), 1)
		d.want("wakes", d.out.Wake.IsZero(), true)
	})
}

// TestPaceOfManyInFlight has a site that may be sent many messages at once defer all that
// it is offered, at RCPT: it is asked for one at a time from then on.
func TestPaceOfManyInFlight(t *testing.T) {
	t.Run("L2", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 64, PerSite: 40, Ahead: 2000})
		d.known("s", time.Millisecond)
		d.s.sites["s"].size = 32
		d.mail("A", "d.s", 60, Route{Site: "s"})
		d.want("in flight", d.at("s"), 32)
		for range manyDeferrals {
			d.end(d.begun[0], Later, time.Millisecond)
		}
		for d.at("s") > 1 {
			d.end(d.begun[0], Nothing, time.Millisecond)
		}
		d.mail("A", "d.s", 3, Route{Site: "s"})
		for range 10 {
			d.pass(time.Second)
			d.want("in flight at once", d.at("s"), 1)
		}
		d.end(d.begun[0], Nothing, time.Millisecond)
		d.want("in flight when that has ended", d.at("s"), 1)
	})
}

// TestWhoIsTakenOut takes the second of two deliveries out of where they wait together.
func TestWhoIsTakenOut(t *testing.T) {
	t.Run("of a shipment", func(t *testing.T) {
		d := busy(t)
		ids := d.message(1, "d1", "d2", "d3")
		d.arrive("s", "j", ids...)
		d.want("taken", d.s.Withdraw(d.now, ids[1]), true)
		d.end(d.begun[0], Works, time.Millisecond)
		d.want("what begins", d.begun[0].Mail, []ID{ids[0], ids[2]})
	})
	t.Run("of a message whose routes are looked for", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		ids := d.message(1, "d1", "d2", "d3")
		d.arrive("s", "j", ids[:2]...)
		d.want("taken", d.s.Withdraw(d.now, ids[1]), true)
		d.arrive("s", "j", ids[2])
		d.want("what begins", d.begun[0].Mail, []ID{ids[0], ids[2]})
	})
}

// TestOrderOfWhatIsLeft takes the first delivery out of a shipment that waits for its turn
// beside another: it has the turn of what is left.
func TestOrderOfWhatIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		due  []time.Duration
		want string
	}{
		"one that is due later than the other":                   {[]time.Duration{1, 9}, "[50] [12]"},
		"one that is due later, and then one that is due before": {[]time.Duration{1, 9, 3}, "[12 13] [50]"},
	} {
		t.Run("T6 "+name, func(t *testing.T) {
			d := busy(t)
			var list []Mail
			var ids []ID
			for i, after := range c.due {
				ids = append(ids, ID(11+i))
				list = append(list, Mail{ID: ids[i], Message: "m", Destination: fmt.Sprint("d", i), Tenant: "A", Recipients: 1, Due: origin.Add(after)})
			}
			list = append(list, Mail{ID: 50, Message: "o", Destination: "o", Tenant: "A", Recipients: 1, Due: origin.Add(5)})
			d.s.Claimed(d.now, list, false, time.Time{})
			d.decide()
			d.arrive("s", "j", append(ids, 50)...)
			d.want("taken", d.s.Withdraw(d.now, ids[0]), true)
			var order []string
			for d.end(d.begun[0], Works, time.Millisecond); len(d.begun) > 0; d.end(d.begun[0], Works, time.Millisecond) {
				order = append(order, fmt.Sprint(d.begun[0].Mail))
			}
			d.want("order", strings.Join(order, " "), c.want)
		})
	}
}

// TestLiftedDuringAClaim has a destination, for whose parked mail a claim is under way, be
// kept back for another reason meanwhile: nothing of it is parked any more.
func TestLiftedDuringAClaim(t *testing.T) {
	d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 2000})
	d.known("s", time.Second)
	d.mail("A", "d", 40, Route{Site: "s"})
	d.settle()
	for d.s.sites["s"].held > 5 {
		d.end(d.begun[0], Works, time.Second)
	}
	if d.claimUntil(isRefill) == nil {
		t.Fatal("there is no claim for the site")
	}
	d.s.Flush(d.now, "s", "")
	d.now = d.now.Add(time.Second)
	d.s.Learned(d.now, d.begun[0].Ship, Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute})
	d.decide()
	d.want("gone back for the site is down", len(d.back) > 0 && d.back[0].Why == Down, true)
	d.lift, d.claim = nil, nil
	d.s.Claimed(d.now, nil, false, time.Time{})
	d.decide()
	d.want("lifted", len(d.lift), 0)
	d.want("parked", fmt.Sprint(d.s.parked, d.s.sites["s"].parked), "0 0")
}

// TestTenantsWithEnough has a tenant's mail turned away from a site for different reasons:
// the next claim beside what is parked leaves the tenant out while the reason lasts.
func TestTenantsWithEnough(t *testing.T) {
	others := func(d *desk) *Claim {
		d.s.MailCame(d.now)
		d.decide()
		return d.claimUntil(func(c *Claim) bool { return c.Others })
	}
	t.Run("M4 a group that is full", func(t *testing.T) {
		d := grouped(t, GroupLimits{Connections: 1})
		d.mail("A", "d.g0", 4, Route{Site: "g0"})
		d.mail("B", "d.g1", 12, Route{Site: "g1"})
		d.mail("C", "d.g2", 4, Route{Site: "g2"})
		d.mail("A", "d.g3", 1, Route{Site: "g3"})
		d.want("gone back", len(d.back), 1)
		d.settle()
		if c := others(d); c == nil {
			t.Fatal("no claim of others")
		} else {
			d.want("left out", c.ExceptTenants, []string{"A"})
		}
	})
	// full has sites that are not quick hold what they may, twelve of it for A.
	full := func(t *testing.T, quick string) *desk {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.known("slow", 6*time.Second)
		d.known("quick", time.Second)
		d.mail("A", "d.a", 12, Route{Site: "a"})
		if quick != "" {
			d.mail("C", "c.q", 30, Route{Site: quick})
			d.mail("A", "a.q", 9, Route{Site: quick})
			d.withdraw("a.q", 1)
		}
		for i := range 6 {
			d.mail(fmt.Sprint("Z", i), fmt.Sprint("d.z", i), 200, Route{Site: fmt.Sprint("z", i)})
		}
		d.want("room for more of A's", d.s.slowRoom(d.s.tenants["A"]), false)
		d.settle()
		return d
	}
	t.Run("M4 sites that are not quick hold what they may", func(t *testing.T) {
		d := full(t, "")
		d.mail("A", "d.slow", 1, Route{Site: "slow"})
		d.settle()
		c := others(d)
		d.want("left out", c != nil && slices.Contains(c.ExceptTenants, "A"), true)
	})
	t.Run("M4 but not for a site that is quick", func(t *testing.T) {
		d := full(t, "quick")
		d.want("turned away from it", slices.Contains(d.s.sites["quick"].turned, d.s.tenants["A"]), true)
		c := others(d)
		d.want("claimed for", c != nil && !slices.Contains(c.ExceptTenants, "A"), true)
	})
}

// TestTrialsWhereNoneMayBegin has the newest site wait for room in its group, while the
// connections that others than quick ones may have are taken: no trial begins there, and
// nobody need look again and again whether one may.
func TestTrialsWhereNoneMayBegin(t *testing.T) {
	t.Run("L6", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 1, Ahead: 2000, Site: func(name string) SiteLimits {
			l := SiteLimits{PerSite: 1}
			if name == "n0" || name == "last" {
				l.Groups = []GroupLimits{{Name: "g", Connections: 1}}
			}
			return l
		}})
		d.fillSlow()
		d.mails("T", "first")
		d.want("in flight at the first", d.at("first"), 1)
		d.end(d.lastBegun(), Works, quickTime)
		d.mails("T", "last")
		d.want("in flight at the last", d.at("last"), 0)
		for range 3 {
			d.idle(0)
			d.sleeps("no trial may begin")
			d.pass(time.Second)
		}
		d.want("in flight at the last", d.at("last"), 0)
	})
}
