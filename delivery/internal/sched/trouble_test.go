package sched

import (
	"fmt"
	"testing"
	"time"
)

// mails hands out one delivery of a tenant for each of the sites.
func (d *desk) mails(tenant string, sites ...string) {
	for _, site := range sites {
		d.mail(tenant, "d."+site, 1, Route{Site: site})
	}
}

// sleeps checks that the scheduler does not want to be called at once, again and again.
func (d *desk) sleeps(while string) {
	d.t.Helper()
	if wake := d.out.Wake; !wake.IsZero() && !wake.After(d.now) {
		d.t.Errorf("it wants to wake at %v, %v ago, while %s", wake, d.now.Sub(wake), while)
	}
}

func TestNoProbeMayBegin(t *testing.T) {
	t.Run("O1 while every connection is in flight", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 2, PerSite: 2, Ahead: 400})
		d.mails("A", "a", "b", "c")
		d.s.Troubled(d.now, NetworkFails)
		d.pass(firstProbe)
		d.want("in flight", len(d.begun), 2)
		d.sleeps("no connection is free")
		d.end(d.begun[0], Nothing, firstProbe)
		d.want("the probe", d.begun[len(d.begun)-1].Site, "c")
	})
	t.Run("O1 while every connection is in flight at quick sites", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 2, PerSite: 2, Ahead: 400})
		for _, site := range []string{"a", "b", "c"} {
			d.known(site, time.Second)
		}
		d.mails("A", "a", "b", "c")
		d.s.Troubled(d.now, NetworkFails)
		d.pass(firstProbe)
		d.sleeps("no connection is free")
		d.end(d.begun[0], Nothing, firstProbe)
		d.want("the probe", d.begun[len(d.begun)-1].Site, "c")
	})
	t.Run("O1 a trial is the probe, when its time has come", func(t *testing.T) {
		// The first trial is made at once, the second a second later, the third 2.25 s after that.
		for _, c := range []struct{ trouble, probe time.Duration }{
			{500 * time.Millisecond, 1500 * time.Millisecond}, {time.Second, 3250 * time.Millisecond}, {2500 * time.Millisecond, 3500 * time.Millisecond},
		} {
			d := newDesk(t, Settings{Connections: 24, PerSite: 2, Ahead: 400})
			for i := range 24 {
				d.mails("A", fmt.Sprint("n", i))
			}
			d.claimed("A", "d", 0)
			if c.trouble >= time.Second {
				d.pass(time.Second)
			}
			n := len(d.begun)
			d.pass(origin.Add(c.trouble).Sub(d.now))
			d.s.Troubled(d.now, NetworkFails)
			d.decide()
			d.want(fmt.Sprint("it wakes in trouble since ", c.trouble), d.out.Wake.Sub(origin), c.probe)
			d.pass(origin.Add(c.probe).Sub(d.now) - 1)
			d.want("in flight before", len(d.begun), n)
			d.pass(1)
			d.want("in flight with the probe", len(d.begun), n+1)
			d.want("it wakes while that is in flight", d.out.Wake.IsZero(), true)
		}
	})
	t.Run("O1 a probe whose route is known is made when it may begin, and no other is asked for meanwhile", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 1, PerSite: 2, Ahead: 400})
		d.mails("A", "a")
		ids := d.claimed("A", "d", 2)
		d.s.Stalled(d.now, ids[0], NetworkFails)
		d.s.Stalled(d.now, ids[1], NetworkFails)
		d.pass(firstProbe)
		d.want("asked for", d.out.Route, ids[:1])
		d.s.Routed(d.now, ids[0], Route{Site: "p"})
		d.decide()
		d.sleeps("no connection is free")
		d.pass(time.Minute)
		d.want("asked for beside it", len(d.out.Route), 0)
		d.sleeps("no connection is free")
		d.end(d.begun[0], Nothing, time.Second)
		d.want("it is made at once", d.at("p"), 1)
		d.want("asked for while it is made", len(d.out.Route), 0)
	})
	t.Run("O1 while what is left is kept for quick sites", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		for i := range 9 {
			d.mails("A", fmt.Sprint("n", i))
		}
		d.want("in flight: three quarters, and a trial", len(d.begun), 7)
		d.s.Troubled(d.now, NetworkFails)
		for range 10 {
			d.pass(firstProbe)
			d.sleeps("what is ready is not quick")
		}
		d.mails("A", "n9")
		d.want("in flight", len(d.begun), 7)
		d.end(d.begun[0], Nothing, firstProbe)
		d.want("the probe begins as soon as one may", len(d.begun), 7)
	})
	t.Run("O1 while there is no room for what an attempt makes", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 1, Ahead: 400})
		d.mail("A", "d", 2, Route{Site: "s"})
		d.mails("A", "other")
		d.end(d.begun[0], Ours, time.Second)
		d.s.Stop(d.now, true)
		d.pass(firstProbe)
		d.sleeps("it is stopped")
		d.s.Stop(d.now, false)
		d.decide()
		d.want("in flight with the probe", len(d.begun), 2)
	})
}

// learn has an attempt teach something and end.
func (d *desk) learn(b Begin, l Lesson) {
	for i := range d.begun {
		if d.begun[i].Ship == b.Ship {
			d.begun = append(d.begun[:i], d.begun[i+1:]...)
			break
		}
	}
	d.s.Learned(d.now, b.Ship, l)
	if l.Kind != Ours && !l.Again {
		for _, id := range b.Mail {
			d.s.Gone(d.now, id)
		}
	}
	d.s.Ended(d.now, b.Ship)
	if l.Kind != Ours && !l.Again {
		for _, id := range b.Mail {
			d.s.Settled(d.now, id, false, time.Time{})
		}
	}
	d.decide()
}

func (d *desk) lastBegun() Begin { return d.begun[len(d.begun)-1] }

func TestOwnTrouble(t *testing.T) {
	// troubled has a network that fails, and mail that waits at two sites with an attempt in
	// flight at each.
	troubled := func(t *testing.T) *desk {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		d.mail("A", "d.a", 5, Route{Site: "a"})
		d.mail("A", "d.b", 3, Route{Site: "b"})
		d.learn(d.begun[0], Lesson{Kind: Ours, Began: d.now, Cause: NetworkFails})
		d.want("told", d.out.Trouble, []TroubleNotice{{Cause: NetworkFails, Since: origin}})
		d.learn(d.begun[1], Lesson{Kind: Ours, Began: d.now, Cause: NetworkFails})
		d.want("told again", len(d.out.Trouble), 0)
		return d
	}
	t.Run("O1 a probe after a second, then after twice the time up to five", func(t *testing.T) {
		d := troubled(t)
		var at []time.Duration
		began := d.now
		for n := len(d.begun); len(at) < 6 && !d.out.Wake.IsZero(); {
			d.want("nothing but one probe at a time", len(d.begun), n)
			d.now = d.out.Wake
			d.decide()
			if len(d.begun) > n {
				at = append(at, d.now.Sub(began))
				began = d.now
				d.learn(d.lastBegun(), Lesson{Kind: Ours, Began: d.now, Cause: NetworkFails})
			}
		}
		d.want("time between probes", at, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second})
	})
	t.Run("O1 the beginning and the end are told once", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		d.s.Troubled(d.now, NoTrouble)
		d.decide()
		d.want("told of none", len(d.out.Trouble), 0)
		d.s.Troubled(d.now, MachineFails)
		d.s.Troubled(d.now.Add(1), NetworkFails)
		d.decide()
		d.want("told", d.out.Trouble, []TroubleNotice{{Cause: MachineFails, Since: d.now}})
		cause, since := d.s.Trouble()
		d.want("what it is", fmt.Sprint(cause, since.Equal(d.now)), fmt.Sprint(MachineFails, true))
		d.pass(time.Second)
		d.want("told again", len(d.out.Trouble), 0)
		d.s.Recovered(d.now, NetworkFails)
		d.decide()
		d.want("told when something else works", len(d.out.Trouble), 0)
		d.s.Recovered(d.now, MachineFails)
		d.s.Recovered(d.now, MachineFails)
		d.decide()
		d.want("told when it works", d.out.Trouble, []TroubleNotice{{Cause: MachineFails, Over: true, Since: origin}})
	})
	t.Run("O2 what met the trouble waits as before, and is charged nothing", func(t *testing.T) {
		d := troubled(t)
		d.want("gone back", len(d.back), 0)
		d.want("held", d.s.Stats(d.now).Held, 8)
		at, ok := d.s.Holds(d.now, 1)
		d.want("it waits at its site", fmt.Sprint(at.Site == "a", ok, at.InFlight, at.Down), "true true false false")
		d.want("nothing is held against its site", d.s.Failures(d.lastBegun().Ship), 0)
	})
	t.Run("O3 a probe that works ends it, and mail goes on at once", func(t *testing.T) {
		d := troubled(t)
		d.pass(firstProbe)
		d.want("in flight with the probe", len(d.begun), 3)
		d.learn(d.lastBegun(), Lesson{Kind: Works, Began: d.now})
		d.want("told", d.out.Trouble, []TroubleNotice{{Cause: NetworkFails, Over: true, Since: origin}})
		d.want("in flight", len(d.begun), 4)
	})
	for kind, over := range map[Kind]bool{Nothing: false, Remembered: false, Unreachable: true, LoginRefused: true, Later: true, Busy: true, Works: true} {
		t.Run(fmt.Sprint("O3 what a probe has shown that taught ", kind), func(t *testing.T) {
			d := troubled(t)
			d.pass(firstProbe)
			d.learn(d.lastBegun(), Lesson{Kind: kind, Began: d.now, Wait: time.Minute})
			d.want("it is over", d.s.Stats(d.now).Trouble == NoTrouble, over)
			if !over {
				n := len(d.begun)
				d.pass(2*firstProbe - 1)
				d.want("in flight before the time of the next", len(d.begun), n)
				d.pass(1)
				d.want("in flight then", len(d.begun), n+1)
			}
		})
		t.Run(fmt.Sprint("O3 what another attempt has shown that taught ", kind), func(t *testing.T) {
			d := troubled(t)
			d.learn(d.begun[0], Lesson{Kind: kind, Began: d.now, Wait: time.Minute})
			d.want("it is over", d.s.Stats(d.now).Trouble == NoTrouble, over && kind != Unreachable)
		})
	}
	t.Run("O3 no attempt shows that the queue works", func(t *testing.T) {
		for _, cause := range []Cause{QueueFails, StoreFails} {
			d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
			d.mails("A", "a", "b")
			d.s.Troubled(d.now, cause)
			d.learn(d.begun[0], Lesson{Kind: Works, Began: d.now})
			d.want("trouble", d.s.Stats(d.now).Trouble, cause)
			d.pass(time.Minute)
			d.mails("A", "c")
			d.want("nothing but a claim is a probe", len(d.begun), map[Cause]int{QueueFails: 2, StoreFails: 1}[cause])
		}
	})
	t.Run("O1 a route is asked for as a probe, and shows that DNS works", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		ids := d.claimed("A", "d", 3)
		d.s.Stalled(d.now, ids[0], DNSFails)
		d.s.Stalled(d.now, ids[1], DNSFails)
		d.decide()
		d.want("asked for at once", len(d.out.Route), 0)
		d.want("it wakes", d.out.Wake.Sub(d.now), firstProbe)
		d.pass(firstProbe)
		d.want("asked for", d.out.Route, ids[:1])
		d.pass(time.Minute)
		d.want("and no other meanwhile", len(d.out.Route), 0)
		d.s.Stalled(d.now, ids[0], DNSFails)
		d.pass(2*firstProbe - 1)
		d.want("asked for after it failed", len(d.out.Route), 0)
		d.pass(1)
		d.want("asked for when its time has come", d.out.Route, ids[1:2])
		d.s.Routed(d.now, ids[2], Route{Site: "s"}) // which was asked for before
		d.decide()
		d.want("in flight", d.at("s"), 1)
		d.want("asked for when DNS works", d.out.Route, []ID{ids[0]})
	})
	t.Run("O1 a probe that comes to another end is followed by another", func(t *testing.T) {
		for name, end := range map[string]func(d *desk, id ID){
			"gone":       func(d *desk, id ID) { d.s.Gone(d.now, id) },
			"unroutable": func(d *desk, id ID) { d.s.Unroutable(d.now, id, time.Minute, "no") },
			"lost":       func(d *desk, id ID) { d.s.Settled(d.now, id, true, time.Time{}) },
		} {
			d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
			ids := d.claimed("A", "d", 2)
			d.s.Stalled(d.now, ids[0], NetworkFails)
			d.s.Stalled(d.now, ids[1], NetworkFails)
			d.pass(firstProbe)
			d.want("asked for", d.out.Route, ids[:1])
			end(d, ids[0])
			d.decide()
			d.want(name+": asked for", d.out.Route, ids[1:])
		}
	})
	t.Run("O1 what another delivery meets does not put the probe off", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		ids := d.claimed("A", "d", 3)
		d.mails("A", "a")
		d.s.Stalled(d.now, ids[0], NetworkFails)
		d.pass(firstProbe)
		d.want("asked for", d.out.Route, ids[:1])
		d.s.Stalled(d.now, ids[1], NetworkFails)
		d.learn(d.begun[0], Lesson{Kind: Ours, Began: d.now, Cause: NetworkFails})
		d.want("asked for beside the probe", len(d.out.Route), 0)
		d.s.Routed(d.now, ids[0], Route{Site: "p"})
		d.decide()
		d.want("one attempt is made", len(d.begun), 1)
	})
	t.Run("O1 a claim is the probe where the queue fails", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		d.want("a claim", d.claim != nil, true)
		var at []time.Duration
		began := d.now
		for len(at) < 5 {
			d.claim = nil
			d.s.ClaimFailed(d.now)
			d.decide()
			d.want("a claim at once", d.claim == nil, true)
			d.now = d.out.Wake
			d.decide()
			at = append(at, d.now.Sub(began))
			began = d.now
			d.want("a claim of so many", d.claim.Max, 1)
		}
		d.want("time between claims", at, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second})
		d.claimed("A", "d", 0)
		d.want("trouble", d.s.Stats(d.now).Trouble, NoTrouble)
		d.s.MailCame(d.now)
		d.decide()
		d.want("a claim of so many then", d.claim.Max, claimMost)
	})
	t.Run("O3 a site that had room meanwhile is given mail", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 2000})
		d.known("s", time.Second)
		d.mail("A", "d", 40, Route{Site: "s"})
		d.settle()
		d.s.Troubled(d.now, NetworkFails)
		for len(d.begun) > 0 {
			d.end(d.begun[0], Nothing, time.Second)
		}
		none := func(n int) (toSite bool) {
			for range n {
				if d.claim == nil {
					break
				}
				toSite = toSite || len(d.claim.Destinations) > 0
				d.claimed("A", "d", 0)
			}
			return toSite
		}
		for range 30 { // probes, of which nothing comes, empty the site
			d.s.MailCame(d.now)
			d.pass(lastProbe)
			d.want("a claim for the site in trouble", none(9), false)
			for len(d.begun) > 0 {
				d.end(d.begun[0], Nothing, time.Second)
			}
		}
		d.s.Recovered(d.now, NetworkFails)
		d.decide()
		d.want("a claim for the site after it", none(9), true)
	})
	t.Run("O1 something is claimed to find out where nothing is held", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		d.claimed("A", "d", 0)
		d.s.Troubled(d.now, NetworkFails)
		d.s.MailCame(d.now)
		d.decide()
		d.want("a claim at once", d.claim == nil, true)
		d.want("it wakes", d.out.Wake.Sub(d.now), firstProbe)
		d.pass(firstProbe)
		d.want("a claim of so many", d.claim.Max, 1)
		ids := d.claimed("A", "d", 1)
		d.want("its route is asked for", d.out.Route, ids)
		d.s.MailCame(d.now)
		d.decide()
		d.want("a claim beside the probe", d.claim == nil, true)
		d.s.Routed(d.now, ids[0], Route{Site: "s"})
		d.decide()
		d.want("it is made", d.at("s"), 1)
		d.want("a claim beside the attempt", d.claim == nil, true)
		d.end(d.lastBegun(), Nothing, time.Second)
		d.pass(time.Minute)
		d.want("a claim after it", d.claim != nil, true)
	})
	t.Run("O1 nothing is claimed while the store fails", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		d.claimed("A", "d", 0)
		d.s.Troubled(d.now, StoreFails)
		d.s.MailCame(d.now)
		d.pass(time.Hour)
		d.want("a claim", d.claim == nil, true)
		d.s.Recovered(d.now, StoreFails)
		d.decide()
		d.want("a claim when it works", d.claim != nil, true)
	})
	t.Run("O1 nothing is probed when the agent ends", func(t *testing.T) {
		d := troubled(t)
		d.s.Drain(d.now)
		d.pass(time.Hour)
		d.want("in flight", len(d.begun), 2)
		d.want("it wakes", d.out.Wake.IsZero(), true)
		d.learn(d.begun[0], Lesson{Kind: Ours, Began: d.now, Cause: NetworkFails})
		d.want("gone back", len(d.back), 7)
		for _, b := range d.back {
			d.want("why", fmt.Sprint(b.Why, b.Whole, b.Until.IsZero()), fmt.Sprint(Draining, false, true))
		}
	})
	t.Run("O1 what finds no route in trouble goes back when the agent ends", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 2, Ahead: 400})
		ids := d.claimed("A", "d", 3)
		d.s.Drain(d.now)
		d.s.Stalled(d.now, ids[0], DNSFails)
		d.s.Routed(d.now, ids[1], Route{Site: "s"})
		d.decide()
		d.want("gone back", len(d.back), 2)
		d.want("asked for", len(d.out.Route), 0)
		d.claimed("A", "e", 1)
		d.want("gone back of what comes of a claim", len(d.back), 3)
	})
}

// TestRouteLostInFlight has trouble of our own prevent that a route is found anew when the
// attempt is about to be made.
func TestRouteLostInFlight(t *testing.T) {
	t.Run("O2 it is asked for again, first as a probe", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 4, PerSite: 4, Ahead: 1000})
		d.mails("A", "s")
		b := d.lastBegun()
		d.begun = nil
		d.s.Stalled(d.now, b.Mail[0], DNSFails)
		d.s.Ended(d.now, b.Ship)
		d.decide()
		d.want("routes asked for in trouble", d.out.Route, []ID{})
		d.pass(firstProbe)
		d.want("and for the probe", d.out.Route, b.Mail)
		d.s.Routed(d.now, b.Mail[0], Route{Site: "s"})
		d.decide()
		d.want("in flight", d.at("s"), 1)
		d.want("held", d.s.Stats(d.now).Held, 1)
	})
	t.Run("N1 it goes back if the agent is stopping", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 4, PerSite: 4, Ahead: 1000})
		d.mails("A", "s")
		b := d.lastBegun()
		d.s.Drain(d.now)
		d.s.Stalled(d.now, b.Mail[0], DNSFails)
		d.s.Ended(d.now, b.Ship)
		d.decide()
		d.want("what goes back", len(d.back), 1)
	})
}
