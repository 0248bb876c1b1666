package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// answer answers a claim with nothing; next is in how long something is due, zero where
// nothing will be.
func (d *desk) answer(next time.Duration) {
	var at time.Time
	if next > 0 {
		at = d.now.Add(next)
	}
	d.claim = nil
	d.s.Claimed(d.now, nil, false, at)
	d.decide()
}

// idle answers claims until there is no more to claim, and returns what they were.
func (d *desk) idle(next time.Duration) (claims []Claim) {
	for range 12 {
		if d.claim == nil {
			return claims
		}
		claims = append(claims, *d.claim)
		d.answer(next)
	}
	d.t.Error("there is always something to claim")
	return claims
}

// kinds says what claims are for.
func kindsOf(claims []Claim) (list []string) {
	for i := range claims {
		switch c := &claims[i]; {
		case isGeneral(c):
			list = append(list, "all")
		case isRefill(c):
			list = append(list, fmt.Sprint("a site ", c.Destinations))
		default:
			list = append(list, fmt.Sprintf("others except %q of %q", c.Except, c.ExceptTenants))
		}
	}
	return list
}

// drainTo has attempts at site s end until it holds so many.
func (d *desk) drainTo(n int) {
	for d.s.sites["s"].held > n {
		i := slices.IndexFunc(d.begun, func(b Begin) bool { return b.Site == "s" })
		if i < 0 {
			return
		}
		d.end(d.begun[i], Works, time.Second)
	}
}

// turnedAway has a site that takes a message in a second, with as much mail of each tenant
// as is named, one letter for each delivery, more than there is room for.
func turnedAway(t *testing.T, mail string) *desk {
	d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 2000})
	d.known("s", time.Second)
	for _, tenant := range mail {
		d.mail(string(tenant), "d."+string(tenant), 1, Route{Site: "s"})
	}
	d.settle()
	return d
}

func TestClaimsOfOthers(t *testing.T) {
	const crowd = "AAAAAAAAAAAAAAA" // fifteen, so that few more have room
	t.Run("M4 who has enough where it was turned away is left out, and then the mail for that", func(t *testing.T) {
		d := turnedAway(t, crowd+"BBBBBB")
		d.s.MailCame(d.now)
		d.decide()
		d.idle(0)
		d.s.MailCame(d.now)
		d.decide()
		d.want("claims", kindsOf(d.idle(0)), []string{"all", "others except [] of [\"B\"]", "others except [\"d.B\"] of []"})
	})
	t.Run("M4 nobody's mail is left out for those who hold much", func(t *testing.T) {
		d := turnedAway(t, many(minAhead+fewAhead+9, "A"))
		for id, m := range d.s.items {
			if d.s.tenants["A"].held > minAhead && m.state == waiting && d.s.Withdraw(d.now, id) {
				d.s.Settled(d.now, id, false, time.Time{})
			}
		}
		d.want("held", d.s.tenants["A"].held, minAhead)
		d.idle(0)
		d.s.MailCame(d.now)
		d.decide()
		d.want("claims", kindsOf(d.idle(0)), []string{"all", "others except [] of [\"A\"]"})
	})
	t.Run("M4 who was turned away at two sites is left out once", func(t *testing.T) {
		d := turnedAway(t, crowd+"BBBBBB")
		d.known("t", time.Second)
		d.mail("A", "e.A", 15, Route{Site: "t"})
		d.mail("B", "e.B", 6, Route{Site: "t"})
		d.settle()
		d.idle(0)
		d.s.MailCame(d.now)
		d.decide()
		for _, c := range d.idle(0) {
			if c.Others && len(c.Except) == 0 {
				slices.Sort(c.ExceptTenants)
				d.want("left out", c.ExceptTenants, []string{"A", "B"})
			}
		}
	})
	t.Run("M4 what is due later is claimed then, whichever claim has found it", func(t *testing.T) {
		for _, c := range []struct{ all, first, second, want int }{
			{0, 0, 0, 0}, {0, 10, 0, 10}, {0, 0, 5, 5}, {0, 10, 5, 5}, {0, 10, 60, 10}, {3, 10, 5, 3},
		} {
			d := turnedAway(t, crowd+"BBBBBB")
			d.s.MailCame(d.now)
			d.decide()
			for d.claim != nil {
				switch {
				case !d.claim.Others:
					d.answer(time.Duration(c.all) * time.Minute)
				case len(d.claim.Except) == 0:
					d.answer(time.Duration(c.first) * time.Minute)
				default:
					d.answer(time.Duration(c.second) * time.Minute)
				}
			}
			wake := time.Duration(0)
			if !d.out.Wake.IsZero() {
				wake = d.out.Wake.Sub(d.now)
			}
			d.want(fmt.Sprintf("it wakes after %+v", c), wake, time.Duration(c.want)*time.Minute)
		}
	})
	t.Run("M4 where a claim of all leaves something out one of others follows", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 2000})
		d.known("s", time.Second)
		d.mail("A", "d", minAhead*3/4, Route{Site: "s"}) // nothing is parked
		d.idle(0)
		d.s.MailCame(d.now)
		d.decide()
		d.answer(time.Minute)
		d.idle(0)
		d.pass(time.Minute)
		d.want("claims", kindsOf(d.idle(0)), []string{"all", "others except [] of []"})
	})
	t.Run("M4 what is wanted while such a claim is under way is claimed after it", func(t *testing.T) {
		d := turnedAway(t, crowd+"BBBBBB")
		d.s.MailCame(d.now)
		d.decide()
		d.claimUntil(func(c *Claim) bool { return c.Others })
		for id, m := range d.s.items { // so that more of B's is wanted
			if m.Tenant == "B" && d.s.Withdraw(d.now, id) {
				d.s.Settled(d.now, id, false, time.Time{})
			}
		}
		d.answer(0)
		n := 0
		for _, c := range d.idle(0) {
			if c.Others {
				n++
			}
		}
		d.want("claims of others after the one under way", n, 2)
	})
	t.Run("M4 one that failed is made again", func(t *testing.T) {
		d := turnedAway(t, crowd+"BBBBBB")
		d.idle(0)
		d.s.MailCame(d.now)
		d.decide()
		d.idle(0)
		for id, m := range d.s.items { // so that more of B's is wanted
			if m.Tenant == "B" && d.s.Withdraw(d.now, id) {
				d.s.Settled(d.now, id, false, time.Time{})
			}
		}
		d.decide()
		if d.claimUntil(func(c *Claim) bool { return c.Others }) == nil {
			t.Fatal("no claim of others")
		}
		d.claim = nil
		d.s.ClaimFailed(d.now)
		d.decide()
		d.pass(firstProbe)
		d.want("a claim again", d.claim != nil, true)
	})
}

func TestClaimsOfNothing(t *testing.T) {
	// parked has a site with room for more of what is parked, which is claimed, while all
	// else is due later, or never.
	parked := func(t *testing.T, next time.Duration) *desk {
		d := turnedAway(t, many(40, "A"))
		d.idle(next)
		d.s.MailCame(d.now)
		d.decide()
		d.idle(next)
		d.drainTo(minAhead*3/4 - 1)
		for d.claim != nil && !isRefill(d.claim) {
			d.answer(next)
		}
		if d.claim == nil {
			t.Fatalf("%+v, want a claim for the site", d.claim)
		}
		return d
	}
	for _, next := range []time.Duration{time.Hour, 0} {
		t.Run(fmt.Sprint("M2 nothing else is claimed beside what a site is given, where that is due in ", next), func(t *testing.T) {
			d := parked(t, next)
			for i := range 6 {
				d.claim = nil
				id := ID(900 + i)
				d.s.Claimed(d.now, []Mail{{ID: id, Message: fmt.Sprint(id), Destination: "d.A", Tenant: "A", Recipients: 1}}, true, time.Time{})
				d.decide()
				d.s.Routed(d.now, id, Route{Site: "s"})
				d.decide()
				d.drainTo(minAhead*3/4 - 1)
				var beside []Claim // of what its room at first made due
				for d.claim != nil && !isRefill(d.claim) {
					beside = append(beside, *d.claim)
					d.answer(next)
				}
				if d.claim == nil || i > 2 && len(beside) > 0 {
					t.Fatalf("claimed after %d: %v, want one for the site alone", i, kindsOf(beside))
				}
			}
		})
	}
	t.Run("M2 a site in line is given none where it has no room any more, or is left alone", func(t *testing.T) {
		for name, happens := range map[string]func(d *desk){
			"it is full":       func(d *desk) { d.mail("B", "b", 9, Route{Site: "s"}) },
			"it is left alone": func(d *desk) { d.taught(d.begun[0], Unreachable) },
		} {
			d := turnedAway(t, many(40, "A"))
			d.idle(0)
			d.s.MailCame(d.now)
			d.decide()
			d.drainTo(minAhead*3/4 - 1) // while another claim is under way
			d.want("in line", d.s.sites["s"].refill, true)
			claim := d.claim
			happens(d)
			d.s.Claimed(d.now, nil, false, time.Time{})
			d.claim = nil
			d.decide()
			d.want("under way before", isRefill(claim), false)
			for _, c := range d.idle(0) {
				d.want("a claim for it where "+name, isRefill(&c), false)
			}
		}
	})
	t.Run("M2 what is paused for a site is not asked for", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 2000})
		d.mails("A", "s")
		d.end(d.begun[0], Unreachable, time.Second)
		d.mail("A", "paused", 1, Route{Site: "s"})
		d.settle()
		d.pass(10 * time.Minute)
		d.mail("A", "parked", 2*fewAhead+1, Route{Site: "s"})
		d.settle()
		d.idle(0)
		for d.s.sites["s"].held >= fewAhead*3/4 {
			d.end(d.begun[0], Nothing, time.Second)
		}
		c := d.claimUntil(isRefill)
		if c == nil {
			t.Fatal("no claim for the site")
		}
		d.want("asked for", c.Destinations, []string{"parked"})
	})
	t.Run("O1 it sleeps while a site is to be given mail and there is trouble", func(t *testing.T) {
		d := turnedAway(t, many(40, "A"))
		d.idle(0)
		for len(d.begun) > 0 {
			d.end(d.begun[0], Works, time.Second)
			if d.claim != nil && isRefill(d.claim) {
				break
			}
		}
		d.s.Troubled(d.now, NetworkFails)
		for id := range d.s.items {
			if d.s.Withdraw(d.now, id) {
				d.s.Settled(d.now, id, false, time.Time{})
			}
		}
		for len(d.begun) > 0 {
			d.end(d.begun[0], Nothing, time.Second)
		}
		d.claim = nil
		d.s.Claimed(d.now, []Mail{{ID: 900, Message: "900", Destination: "d.A", Tenant: "A", Recipients: 1}}, true, time.Time{})
		d.s.Gone(d.now, 900)
		d.s.Settled(d.now, 900, false, time.Time{})
		d.decide()
		for range 4 {
			if d.out.Wake.IsZero() {
				break
			}
			if d.now = d.out.Wake; d.now.Before(origin) {
				break
			}
			if d.decide(); d.claim != nil {
				d.want("a claim for a site", isRefill(d.claim), false)
				d.answer(0)
			}
			d.sleeps("there is trouble")
		}
	})
	t.Run("M3 nothing is claimed anew for a tenant that the last claim did not leave out", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 32, Ahead: 1000})
		ids := d.claimed("A", "d", 800)
		all := func() *Claim {
			d.s.MailCame(d.now)
			d.pass(gatherMore)
			return d.claimUntil(isGeneral)
		}
		d.want("left out", all().ExceptTenants, []string{"A"})
		d.idle(0)
		d.s.Settled(d.now, ids[0], false, time.Time{})
		d.want("left out when it holds a little less", all().ExceptTenants, []string(nil))
		d.idle(0)
		for _, id := range ids[1:100] {
			d.s.Settled(d.now, id, false, time.Time{})
		}
		d.decide()
		d.want("a claim when it holds much less", d.claim == nil, true)
	})
	t.Run("claims wait for no more where two are held for each in flight", func(t *testing.T) {
		for more, waits := range map[int]bool{0: false, 1: true} {
			d := newDesk(t, Settings{Connections: 40, PerSite: 1, Ahead: 1000})
			for i := range 30 {
				d.mails("A", fmt.Sprint("s", i))
			}
			d.idle(0)
			d.claimed("A", "d", 29+more)
			d.s.MailCame(d.now)
			d.pass(gatherMore)
			d.claim = nil
			d.claimed("A", "d", 1)
			d.want("held", fmt.Sprint(d.s.held, d.s.inFlight), fmt.Sprint(60+more, 30))
			d.s.MailCame(d.now)
			d.decide()
			d.want(fmt.Sprint("it waits with ", more, " more"), d.claim == nil, waits)
		}
	})
}

// TestRefilled has a site been given mail of its parked destinations, and looks at what is
// parked then.
func TestRefilled(t *testing.T) {
	for _, c := range []struct {
		mail   string // of whom
		found  int
		more   bool
		lifted bool
		turned string // who is still said to have been turned away
		soon   bool   // there is another claim at once
	}{
		{mail: many(40, "A"), found: 0, more: false, lifted: true, turned: "A"},
		{mail: many(40, "A"), found: 0, more: true, lifted: true, turned: "A"},
		{mail: many(40, "A"), found: 1, more: false, lifted: true, turned: "A"},
		{mail: many(40, "A"), found: 1, more: true, turned: "A"},
		// What A has there is its part; B and C have nothing there any more.
		{mail: many(22, "A") + "BBBBBB" + "CCCCCC", found: 0, more: false, turned: "A", soon: true},
		{mail: many(22, "A") + "BBBBBB" + "CCCCCC", found: 0, more: true, turned: "ABC"},
		{mail: many(22, "A") + "BBBBBB" + "CCCCCC", found: 1, more: false, turned: "A"},
		{mail: many(22, "A") + "BBBBBB" + "CCCCCC", found: 1, more: true, turned: "ABC"},
	} {
		t.Run(fmt.Sprintf("M2 %+v", c), func(t *testing.T) {
			d := turnedAway(t, c.mail)
			d.idle(0)
			var claim *Claim
			for len(d.begun) > 0 {
				d.end(d.begun[0], Works, time.Second)
				if claim = d.claim; claim != nil && isRefill(claim) {
					break
				}
				if claim != nil {
					d.idle(0)
				}
			}
			if claim == nil {
				t.Fatal("no claim for the site")
			}
			var list []Mail
			for i := range c.found {
				list = append(list, Mail{ID: ID(900 + i), Message: "m", Destination: claim.Destinations[0], Tenant: "C", Recipients: 1})
			}
			d.lift, d.claim = nil, nil
			d.s.Claimed(d.now, list, c.more, time.Time{})
			d.decide()
			d.want("lifted", len(d.lift) > 0, c.lifted)
			turned := ""
			for _, u := range d.s.sites["s"].turned {
				turned += u.name
			}
			d.want("turned away", turned, c.turned)
			d.want("a claim at once", d.claim != nil && isRefill(d.claim), c.soon)
		})
	}
}

func TestRefills(t *testing.T) {
	t.Run("M2 who holds just its part makes way", func(t *testing.T) {
		d := turnedAway(t, many(13, "A")+many(9, "C")+"A")
		d.idle(0)
		leave := func(tenant string, n int) {
			for id, m := range d.s.items {
				if l := d.s.sites["s"].lanes[d.s.tenants[tenant]]; l.held > n && m.Tenant == tenant && d.s.Withdraw(d.now, id) {
					d.s.Settled(d.now, id, false, time.Time{})
				}
			}
			d.decide()
		}
		leave("A", minAhead/2)
		leave("C", minAhead*3/4-1-minAhead/2)
		c := d.claimUntil(isRefill)
		if c == nil {
			t.Fatal("no claim for the site")
		}
		d.want("left out", c.ExceptTenants, []string{"A"})
	})
	t.Run("M2 the others are named at once where nothing is left of the first", func(t *testing.T) {
		d := turnedAway(t, many(minAhead+fewAhead, "A"))
		for i := range refillMost + 4 {
			d.mail("A", fmt.Sprint("e", i), 1, Route{Site: "s"})
		}
		d.settle()
		d.idle(0)
		d.drainTo(minAhead*3/4 - 1)
		first := d.claimUntil(isRefill)
		d.want("named", len(first.Destinations), refillMost)
		d.claim = nil
		d.s.Claimed(d.now, nil, true, time.Time{})
		d.decide()
		next := d.claimUntil(isRefill)
		if next == nil {
			t.Fatal("no claim at once")
		}
		d.want("named then", len(next.Destinations), 4)
	})
	t.Run("M2 what was lifted while it was asked for is not lifted again", func(t *testing.T) {
		d := turnedAway(t, many(40, "A"))
		d.idle(0)
		d.drainTo(minAhead*3/4 - 1)
		if d.claimUntil(isRefill) == nil {
			t.Fatal("no claim for the site")
		}
		d.s.FlushAll(d.now)
		d.mail("A", "d.A", 1, Route{Site: "s"})
		d.s.Learned(d.now, d.begun[0].Ship, Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute})
		d.decide()
		d.want("kept back", fmt.Sprint(len(d.s.sites["s"].keptList), d.s.sites["s"].parked), "1 0")
		d.lift = nil
		d.idle(0)
		d.want("lifted", len(d.lift), 0)
		d.want("parked", d.s.sites["s"].parked, 0)
	})
}
