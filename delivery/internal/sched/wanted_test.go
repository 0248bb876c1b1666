package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestWantedOfOthers has tenants hold less where they were turned away, and looks at when
// more of theirs is claimed.
func TestWantedOfOthers(t *testing.T) {
	// hiding has mail of B, that was turned away if there is enough of it, and of A at s, and
	// no claim under way.
	hiding := func(t *testing.T, ofB int) *desk {
		d := turnedAway(t, many(18, "A")+many(ofB, "B"))
		d.s.MailCame(d.now)
		d.decide()
		d.idle(0)
		d.want("a claim", d.claim == nil, true)
		return d
	}
	searched := func(d *desk) bool { return d.claim != nil && d.claim.Others }
	t.Run("M4 where it has one left", func(t *testing.T) {
		d := hiding(t, 6) // four of which have room
		for left, want := range map[int]bool{3: false, 2: false, 1: true} {
			d := hiding(t, 6)
			for n := 3; n >= left; n-- {
				if n == left {
					d.idle(0)
				}
				d.withdraw("d.B", n)
			}
			d.want(fmt.Sprint("a claim with ", left, " left"), searched(d), want)
		}
		d.withdraw("d.B", 0)
		d.idle(0)
		d.mails("B", "s")
		d.want("a claim when more has come", searched(d), false)
	})
	t.Run("M4 not where it was not turned away", func(t *testing.T) {
		d := hiding(t, 0)
		d.mail("B", "d.B", 3, Route{Site: "s"})
		d.idle(0)
		d.withdraw("d.B", 1)
		d.want("a claim", searched(d), false)
	})
	t.Run("M4 who has two there has enough", func(t *testing.T) {
		for left, want := range map[int][]string{3: {"A", "B"}, 2: {"A", "B"}, 1: {"A"}} {
			d := hiding(t, 6)
			d.withdraw("d.B", left)
			d.idle(0)
			d.s.MailCame(d.now)
			d.decide()
			for d.claim != nil && (!d.claim.Others || len(d.claim.Except) > 0) {
				d.answer(0)
			}
			if d.claim == nil {
				t.Fatal("no claim of others")
			}
			d.want(fmt.Sprint("left out with ", left), d.claim.ExceptTenants, want)
		}
	})
	t.Run("M4 when it holds fewer than sixteen", func(t *testing.T) {
		d := hiding(t, 0)
		ids := d.claimed("C", "elsewhere", minAhead+1)
		d.idle(0)
		for i, want := range []bool{false, true, false} {
			d.s.Gone(d.now, ids[i])
			d.s.Settled(d.now, ids[i], false, time.Time{})
			d.decide()
			d.want(fmt.Sprint("a claim with ", minAhead-i, " held"), searched(d), want)
			d.idle(0)
		}
	})
	t.Run("M4 when the site has room again, for mail that was left out together with that of the site", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 2000})
		d.known("s", time.Second)
		d.known("other", time.Second)
		d.mails("T", "s")
		d.learn(d.lastBegun(), Lesson{Kind: Remembered, Began: d.now, Wait: time.Minute})
		d.mail("A", "moved", 1, Route{Site: "s"}) // while the site is left alone
		d.settle()
		d.pass(2 * time.Minute)
		d.mail("C", "moved", 40, Route{Site: "other"}) // by now it has another route, to where there is no room for it
		d.mail("A", "d.A", 19, Route{Site: "s"})
		d.mail("B", "d.B", fewAhead+1, Route{Site: "s"})
		d.settle()
		d.withdraw("d.B", fewWaiting)
		d.idle(0)
		missed := func(c Claim) bool {
			return !c.Others || slices.Contains(c.ExceptTenants, "B") || slices.Contains(c.Except, "moved")
		}
		d.s.MailCame(d.now) // B's, for the destination that has moved
		d.decide()
		for _, c := range d.idle(0) {
			d.want(fmt.Sprintf("a claim misses B's mail: %+v", c), missed(c), true)
		}
		found := false
		for range 30 {
			i := slices.IndexFunc(d.begun, func(b Begin) bool { return d.s.items[b.Mail[0]].Destination == "d.A" })
			if i < 0 {
				break
			}
			d.end(d.begun[i], Works, time.Second)
			for _, c := range d.idle(0) {
				found = found || !missed(c)
			}
		}
		d.want("what B has left at the site", d.s.sites["s"].lanes[d.s.tenants["B"]].held, fewWaiting)
		d.want("a claim finds B's mail", found, true)
	})
	t.Run("M4 who was turned away is forgotten when the site has room, and claimed for", func(t *testing.T) {
		d := turnedAway(t, many(minAhead+fewAhead, "A")+many(fewAhead+1, "B")+many(fewAhead+1, "C"))
		for _, name := range []string{"d.B", "d.C"} {
			d.withdraw(name, 0)
		}
		for len(d.begun) > 0 && d.s.sites["s"].held >= minAhead*3/4 {
			d.end(d.begun[0], Works, time.Second)
			d.idle(0)
		}
		for len(d.s.sites["s"].keptList) > 0 && len(d.begun) > 0 {
			d.end(d.begun[0], Works, time.Second)
			d.idle(0)
		}
		d.end(d.begun[0], Works, time.Second)
		d.want("sites that have turned mail away", len(d.s.turning), 0)
		d.want("B is known", d.s.tenants["B"] != nil, false)
	})
}

func TestNotInTheWay(t *testing.T) {
	t.Run("M5 a site where nothing is in flight gives back nothing", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 1, PerSite: 2, Ahead: 400})
		d.known("s", time.Millisecond)
		d.mails("A", "hold")
		d.mail("A", "d", fewAhead+3, Route{Site: "s"})
		d.pass(stuckAfter + 1)
		d.claimed("B", "e", 400-claimMost)
		d.want("given back", len(d.back), 0)
	})
	t.Run("M5 one that has made way for others holds as much as it can do", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 1000})
		d.known("s", time.Millisecond)
		d.mail("A", "d", 60, Route{Site: "s"})
		d.pass(stuckAfter + 1)
		ids := d.claimed("B", "e", 1000-claimMost)
		d.want("given back", len(d.back), 58)
		for _, id := range ids {
			d.s.Gone(d.now, id)
			d.s.Settled(d.now, id, false, time.Time{})
		}
		d.settle()
		d.mail("A", "d", 40, Route{Site: "s"})
		d.want("held then", d.s.sites["s"].held, minAhead+fewAhead)
	})
}

// TestAfterTheEnd has an agent end, and looks at what it wakes for.
func TestAfterTheEnd(t *testing.T) {
	t.Run("what waits for its route goes back, all of it", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.s.Troubled(d.now, NetworkFails)
		d.claimed("A", "d", 5)
		d.s.Drain(d.now)
		d.decide()
		var back []ID
		for _, b := range d.back {
			back = append(back, b.ID)
		}
		d.want("gone back", back, []ID{1, 2, 3, 4, 5})
		d.want("asked for", len(d.out.Route), 0)
	})
	t.Run("it wakes for nothing", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400, Rate: 0.01})
		d.mail("A", "d", 2, Route{Site: "s"}) // of which one has to wait
		d.message(1, "a", "b")
		d.claim = nil
		d.s.Drain(d.now)
		d.decide()
		d.want("wakes", d.out.Wake.IsZero(), true)
	})
}

// TestKnownSites has more sites than are remembered, some of which must not be forgotten.
func TestKnownSites(t *testing.T) {
	d := newDesk(t, Settings{Connections: 9, PerSite: 1, Ahead: 4000, Site: func(name string) SiteLimits {
		switch name {
		case "group":
			return SiteLimits{PerSite: 1, Groups: []GroupLimits{{Name: "g"}}}
		case "paced", "waits":
			return SiteLimits{PerSite: 2, Rate: 1e-4}
		}
		return SiteLimits{PerSite: 1}
	}})
	d.mails("T", "group")
	d.end(d.lastBegun(), Works, time.Second)
	d.mail("T", "d.paced", 2, Route{Site: "paced"}) // so that it is to be looked at again
	d.end(d.lastBegun(), Works, time.Second)
	d.withdraw("d.paced", 0)
	d.known("turned", time.Second)
	d.mail("Q", "d.turned", minAhead+fewAhead+1, Route{Site: "turned"})
	d.settle()
	d.withdraw("d.turned", 0)
	d.end(d.lastBegun(), Nothing, 0)
	d.s.FlushAll(d.now)
	d.decide()
	d.want("sites that have turned mail away", len(d.s.turning), 1)
	d.mail("T", "d.waits", 2, Route{Site: "waits"})
	d.end(d.lastBegun(), Works, time.Second)
	d.mails("H", "flies")
	flies := d.lastBegun()
	d.s.Gone(d.now, flies.Mail[0])
	d.known("parked", time.Second)
	d.mail("P", "d.parked", minAhead+fewAhead+1, Route{Site: "parked"})
	d.learn(d.lastBegun(), Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute})
	d.settle()
	for i := range maxSites {
		d.mails("T", fmt.Sprint(i))
		d.end(d.lastBegun(), Works, time.Second)
	}
	for site, want := range map[string]bool{"group": false, "paced": false, "flies": true, "parked": true, "waits": true, "turned": false, "0": false} {
		d.want(site+" is known", d.s.sites[site] != nil, want)
	}
	d.want("groups", len(d.s.groups), 0)
	d.want("sites that have turned mail away", len(d.s.turning), 1) // parked
	for _, at := range d.s.alarms.list {
		d.want(at.key+" is known, which is to be looked at again", d.s.sites[at.key] == at, true)
	}
	d.want("attempts at one that was in flight", d.s.sites["flies"].inFlight, 1)
}

// TestAllSitesHeld has more sites than are remembered, all of which have mail.
func TestAllSitesHeld(t *testing.T) {
	d := newDesk(t, Settings{Connections: 1, PerSite: 1, Ahead: 2 * maxSites * 2})
	for i := range maxSites {
		d.s.push(d.now, d.s.site(d.now, fmt.Sprint(i)), &item{Mail: Mail{ID: ID(i + 1), Message: fmt.Sprint(i)}, tenant: d.s.tenant("A")})
	}
	d.s.site(d.now, "last")
	d.want("sites", len(d.s.sites), maxSites+1)
}
