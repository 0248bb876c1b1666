package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// desk tells a Scheduler what happens and keeps what it says.
type desk struct {
	t     *testing.T
	s     *Scheduler
	now   time.Time
	out   Output
	last  ID
	begun []Begin // that have not ended
	back  []Back
	lift  []Lift
	claim *Claim
}

func newDesk(t *testing.T, set Settings) *desk {
	set.PriorityStep = 10 * time.Minute
	d := &desk{t: t, s: New(set), now: origin}
	d.decide()
	return d
}

func (d *desk) decide() {
	d.s.Decide(d.now, &d.out)
	for _, b := range d.out.Begin {
		b.Mail = slices.Clone(b.Mail)
		d.begun = append(d.begun, b)
	}
	d.back = append(d.back, d.out.Back...)
	d.lift = append(d.lift, d.out.Lift...)
	if d.out.ToClaim {
		c := d.out.Claim
		d.claim = &c
	}
}

func (d *desk) pass(by time.Duration) {
	d.now = d.now.Add(by)
	d.decide()
}

// claimed hands out so much mail of a tenant for a destination, without a route yet.
func (d *desk) claimed(tenant, destination string, n int) []ID {
	list := make([]Mail, n)
	ids := make([]ID, n)
	for i := range list {
		d.last++
		ids[i] = d.last
		list[i] = Mail{ID: d.last, Message: fmt.Sprint(d.last), Destination: destination, Tenant: tenant, Recipients: 1, Due: d.now}
	}
	d.claim = nil
	d.s.Claimed(d.now, list, false, time.Time{})
	d.decide()
	return ids
}

// mail hands out so much mail for a destination that goes to a site.
func (d *desk) mail(tenant, destination string, n int, r Route) {
	for _, id := range d.claimed(tenant, destination, n) {
		d.s.Routed(d.now, id, r)
	}
	d.decide()
}

// end ends an attempt that took so long.
func (d *desk) end(b Begin, k Kind, took time.Duration) {
	d.begun = slices.DeleteFunc(d.begun, func(other Begin) bool { return other.Ship == b.Ship })
	d.s.Learned(d.now, b.Ship, Lesson{Kind: k, Began: d.now.Add(-took), Wait: 10 * time.Minute, Said: "no"})
	for _, id := range b.Mail {
		d.s.Gone(d.now, id)
	}
	d.s.Ended(d.now, b.Ship)
	for _, id := range b.Mail {
		d.s.Settled(d.now, id, false, time.Time{})
	}
	d.decide()
}

// known has a site take a message in so much time.
func (d *desk) known(site string, took time.Duration) {
	d.mail("T", "d."+site, 1, Route{Site: site})
	d.end(d.begun[len(d.begun)-1], Works, took)
}

// at is how many attempts are in flight at sites of a name's beginning.
func (d *desk) at(prefix string) (n int) {
	for _, b := range d.begun {
		if len(b.Site) >= len(prefix) && b.Site[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

// settle settles what has gone back.
func (d *desk) settle() {
	for _, b := range d.back {
		d.s.Settled(d.now, b.ID, true, b.Until)
	}
	d.back = nil
	d.decide()
}

func (d *desk) want(what string, got, want any) {
	d.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		d.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestKeptForQuickSites(t *testing.T) {
	t.Run("L6", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 9, Ahead: 2000})
		d.known("quick", time.Second)
		d.known("quick", time.Second)
		d.known("slow", 6*time.Second)
		for i := range 40 {
			d.mail("T", fmt.Sprintf("n%d", i), 1, Route{Site: fmt.Sprintf("n%d", i)})
		}
		d.want("in flight at sites of which nothing is known: three quarters, and a trial", d.at("n"), 25)
		d.want("the trial is at the newest when it began", d.begun[24].Site, "n24")
		d.mail("T", "slow", 3, Route{Site: "slow"})
		d.want("in flight at one that was slow", d.at("slow"), 0)
		d.mail("T", "quick", 3, Route{Site: "quick"})
		d.want("in flight at one that was quick", d.at("quick"), 3)
		d.pass(999 * time.Millisecond)
		d.want("in flight before the time of the next trial", d.at("n"), 25)
		d.pass(time.Millisecond)
		d.want("in flight then", d.at("n"), 26)
		d.want("the second trial is at the newest", d.begun[len(d.begun)-1].Site, "n39")
		for range 20 {
			d.pass(time.Minute)
		}
		d.want("in flight after any time: half of what is kept goes to trials", d.at("n"), 28)
		d.want("a site whose attempts last is not quick any more", d.at("quick"), 3)
		d.mail("T", "quick", 1, Route{Site: "quick"})
		d.want("in flight at one that was quick once", d.at("quick"), 3)
	})
}

func TestMemoryOfSites(t *testing.T) {
	fill := func(t *testing.T) *desk {
		d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 2000})
		d.known("s", time.Second)
		d.mail("A", "d", 40, Route{Site: "s"})
		return d
	}
	t.Run("M1", func(t *testing.T) {
		d := fill(t)
		d.want("held at a site that does two in a second", d.s.sites["s"].held, minAhead+fewAhead)
		d.want("given back", len(d.back), 40-minAhead-fewAhead)
		for _, b := range d.back {
			d.want("why and for how long", fmt.Sprint(b.Why, b.Whole, b.Until.Sub(d.now)), fmt.Sprint(Parked, true, parkedFor))
		}
		d.mail("B", "d", 9, Route{Site: "s"})
		d.want("held of another tenant beyond that", d.s.sites["s"].lanes[d.s.tenants["B"]].held, fewAhead)
		d.s.MailCame(d.now)
		for d.claim = nil; d.claim == nil || d.claim.Others; {
			d.s.Claimed(d.now, nil, false, time.Time{})
			d.s.MailCame(d.now)
			d.decide()
		}
		d.want("left out of a claim", d.claim.Except, []string{"d"})
	})
	t.Run("M2", func(t *testing.T) {
		d := fill(t)
		d.mail("B", "e", 9, Route{Site: "s"})
		d.settle()
		var claims []Claim
		for range 30 {
			if d.claim != nil {
				if claims = append(claims, *d.claim); len(d.claim.Destinations) > 0 {
					break
				}
				d.claim = nil
				d.s.Claimed(d.now, nil, false, time.Time{})
				d.decide()
			}
			if len(d.begun) > 0 && d.claim == nil {
				d.end(d.begun[0], Works, time.Second)
			}
		}
		last := claims[len(claims)-1]
		slices.Sort(last.Destinations)
		d.want("a claim of its own for its parked destinations", last.Destinations, []string{"d", "e"})
		d.want("in which as many of each tenant fit as are its part", last.PerTenant, d.s.sites["s"].ahead()/2)
		if held := d.s.sites["s"].held; held >= minAhead*3/4 {
			t.Errorf("it is given more while it holds %d", held)
		}
	})
	t.Run("M3", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 1000})
		d.claimed("B", "d", 10)
		for _, c := range []struct {
			more int
			want []string
		}{{780, nil}, {12, []string{"A"}}} {
			d.claimed("A", "d", c.more)
			d.s.MailCame(d.now)
			d.pass(gatherMore)
			if d.claim == nil || d.claim.Others {
				t.Fatalf("no claim of all: %+v", d.claim)
			}
			d.want(fmt.Sprintf("left out with %d of 1000 held", d.s.held), d.claim.ExceptTenants, c.want)
		}
	})
	t.Run("M4", func(t *testing.T) {
		d := fill(t)
		d.settle()
		d.mail("B", "f", 1, Route{Site: "other"})
		others := func() *Claim {
			for range 8 {
				d.s.MailCame(d.now)
				d.decide()
				if c := d.claim; c != nil && c.Others {
					return c
				}
				d.claimed("B", "f", 0)
			}
			return nil
		}
		c := others()
		if c == nil {
			t.Fatal("nothing passes over what is parked")
		}
		d.want("left out of it are those that hold enough", c.ExceptTenants, []string{"A"})
		d.want("but not what is parked", c.Except, []string(nil))
		d.want("so much of one tenant", c.PerTenant, fewAhead)
	})
	t.Run("M5", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		for i := range 300 {
			d.mail("A", fmt.Sprintf("n%d", i), 1, Route{Site: fmt.Sprintf("n%d", i)})
		}
		d.want("held at sites of which nothing is known: four fifths of half", d.s.heldSlow, 160)
		if m := d.s.sites["n299"]; m == nil || m.held != 1 {
			t.Error("the newest has no place")
		}
		d.mail("B", "b", 3, Route{Site: "n299"})
		d.want("held of another tenant beside that", d.s.tenants["B"].heldSlow, 3)
	})
	t.Run("M5 a site where nothing ends makes way", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.known("s", time.Millisecond)
		d.mail("A", "d", 60, Route{Site: "s"})
		d.want("given back while the memory is not wanted", len(d.back), 0)
		d.pass(stuckAfter + 1)
		d.want("nor later", len(d.back), 0)
		d.claimed("B", "e", 400-claimMost)
		d.want("given back when it is wanted", len(d.back), 60-d.at("s"))
	})
}

func TestBackOff(t *testing.T) {
	down := func(t *testing.T, own bool) *desk {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.mail("A", "d", 5, Route{Site: "s", Own: own})
		d.end(d.begun[0], Unreachable, time.Second)
		return d
	}
	told := func(d *desk, whole bool) {
		d.t.Helper()
		for _, b := range d.back {
			d.want("why, how much and for how long", fmt.Sprint(b.Why, b.Whole, b.Until.Sub(origin)), fmt.Sprint(Down, whole, 10*time.Minute))
		}
	}
	t.Run("B1", func(t *testing.T) {
		d := down(t, false)
		d.want("given back of those that waited", len(d.back), 3)
		d.pass(time.Minute)
		d.mail("A", "e", 2, Route{Site: "s"})
		d.want("and of those that come", len(d.back), 5)
		told(d, true)
		d.want("begun", d.at("s"), 1)
	})
	t.Run("B1 where the route may differ by sender", func(t *testing.T) {
		d := down(t, true)
		d.want("given back", len(d.back), 3)
		told(d, false)
	})
	t.Run("B2 a host takes something", func(t *testing.T) {
		d := down(t, false)
		d.settle()
		d.pass(10*time.Minute - 1)
		d.mail("A", "d", 1, Route{Site: "s"})
		d.want("begun too soon", d.at("s"), 1)
		d.settle()
		d.pass(1)
		d.end(d.begun[0], Nothing, time.Second)
		d.mail("A", "d", 3, Route{Site: "s"})
		d.want("one attempt is made", d.at("s"), 1)
		d.end(d.begun[0], Works, time.Second)
		d.want("lifted", d.lift, []Lift{{Destination: "d"}})
		d.want("and mail goes on", d.at("s"), 2)
	})
	for name, forget := range map[string]func(d *desk){
		"somebody flushes all": func(d *desk) { d.s.FlushAll(d.now) }, "somebody flushes a destination": func(d *desk) { d.s.Flush(d.now, "", "d") },
		"somebody flushes the site": func(d *desk) { d.s.Flush(d.now, "s", "") },
	} {
		t.Run("B2 "+name, func(t *testing.T) {
			d := down(t, false)
			d.settle()
			forget(d)
			d.decide()
			d.want("lifted", d.lift, []Lift{{Destination: "d"}})
			d.end(d.begun[0], Nothing, time.Second)
			d.mail("A", "d", 1, Route{Site: "s"})
			d.want("begun at once", d.at("s"), 1)
		})
	}
	t.Run("B2 the settings change", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.mail("A", "d", 5, Route{Site: "s"})
		d.end(d.begun[0], LoginRefused, time.Second)
		d.want("given back because the login is refused", fmt.Sprint(len(d.back), d.back[0].Why, d.back[0].Until.Sub(d.now)), fmt.Sprint(3, Refused, refusedFor))
		d.settle()
		d.s.Configure(d.now, d.s.settings)
		d.decide()
		d.want("lifted", d.lift, []Lift{{Destination: "d"}})
	})
	t.Run("B2 a login of before the settings changed says nothing of the one since", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.mail("A", "d", 5, Route{Site: "s"})
		d.pass(time.Second)
		d.s.Configure(d.now, d.s.settings)
		d.pass(time.Second)
		b := d.begun[0]
		d.want("notice", d.s.Learned(d.now, b.Ship, Lesson{Kind: LoginRefused, Began: d.now.Add(-2 * time.Second)}), NoNotice)
		d.s.KeptBack(d.now, b.Mail[0])
		d.s.Ended(d.now, b.Ship)
		d.decide()
		d.want("given back", fmt.Sprint(len(d.back), d.back[0].Why), fmt.Sprint(1, Parked))
		d.want("in flight", d.at("s"), 3) // with the one that has ended
		d.end(d.begun[2], LoginRefused, 0)
		d.want("given back when the new one is refused, too", d.back[len(d.back)-1].Why, Refused)
	})
	t.Run("B2 a login is refused at a site that is left alone for longer", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.mail("A", "d", 5, Route{Site: "s"})
		began := d.begun[0]
		d.end(d.begun[1], Unreachable, 0)
		d.want("given back", fmt.Sprint(len(d.back), d.back[0].Why, d.back[0].Until.Sub(d.now)), fmt.Sprint(3, Down, 10*time.Minute))
		d.settle()
		d.end(began, LoginRefused, 0)
		d.want("lifted, since it may be tried sooner", d.lift, []Lift{{Destination: "d"}})
		d.mail("A", "d", 1, Route{Site: "s"})
		d.want("given back", fmt.Sprint(len(d.back), d.back[0].Why, d.back[0].Until.Sub(d.now)), fmt.Sprint(1, Refused, refusedFor))
		d.settle()
		d.pass(refusedFor)
		d.mail("A", "d", 1, Route{Site: "s"})
		d.want("begun when logins are tried again", d.at("s"), 1)
	})
	t.Run("B3", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		ids := d.claimed("A", "d", 1)
		d.s.Unroutable(d.now, ids[0], 10*time.Minute, "no name server")
		d.want("failures in a row", d.s.Misses("d"), 1)
		d.claimed("A", "d", 2)
		d.want("given back", len(d.back), 2)
		d.want("why", fmt.Sprint(d.back[0].Why, d.back[0].Whole, d.back[0].Until.Sub(d.now), d.back[0].Said), fmt.Sprint(NoRoute, true, 10*time.Minute, "no name server"))
		d.settle()
		d.pass(10 * time.Minute)
		ids = d.claimed("A", "d", 1)
		d.s.Routed(d.now, ids[0], Route{Site: "s"})
		d.decide()
		d.want("lifted when there is a route", d.lift, []Lift{{Destination: "d"}})
		d.want("begun", d.at("s"), 1)
	})
}
