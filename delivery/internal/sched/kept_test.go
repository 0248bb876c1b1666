package sched

import (
	"fmt"
	"testing"
	"time"
)

// TestKeptBack has mail kept back for a site, and looks at until when, and at what is
// lifted.
func TestKeptBack(t *testing.T) {
	down := func(t *testing.T) *desk {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 30_000})
		d.mails("A", "s")
		d.end(d.begun[0], Unreachable, time.Second)
		return d
	}
	// due hands out one delivery that must be looked at by a deadline, if there is one.
	due := func(d *desk, own bool, in time.Duration) {
		d.last++
		m := Mail{ID: d.last, Message: fmt.Sprint(d.last), Destination: "d", Tenant: "A", Recipients: 1, Due: d.now}
		if in > 0 {
			m.Deadline = d.now.Add(in)
		}
		d.s.Claimed(d.now, []Mail{m}, false, time.Time{})
		d.decide()
		d.s.Routed(d.now, m.ID, Route{Site: "s", Own: own})
		d.decide()
	}
	for _, c := range []struct {
		name      string
		deadlines []time.Duration
		want      []time.Duration
	}{
		{"until the site is to be tried", []time.Duration{0, 0}, []time.Duration{10 * time.Minute, 10 * time.Minute}},
		{"no longer than one of it may wait", []time.Duration{time.Minute, 0}, []time.Duration{time.Minute, time.Minute}},
		{"from then on", []time.Duration{0, time.Minute, 0}, []time.Duration{10 * time.Minute, time.Minute, time.Minute}},
		{"by the first that must be looked at", []time.Duration{2 * time.Minute, time.Minute, 3 * time.Minute}, []time.Duration{2 * time.Minute, time.Minute, time.Minute}},
		{"not by what may wait for longer", []time.Duration{time.Hour}, []time.Duration{10 * time.Minute}},
	} {
		t.Run("B1 a destination is paused "+c.name, func(t *testing.T) {
			d := down(t)
			var until []time.Duration
			for _, in := range c.deadlines {
				due(d, false, in)
				until = append(until, d.back[len(d.back)-1].Until.Sub(d.now))
			}
			d.want("until", until, c.want)
		})
	}
	t.Run("B1 one that was paused until now is paused anew", func(t *testing.T) {
		d := down(t)
		due(d, false, time.Minute)
		d.settle()
		d.pass(time.Minute)
		due(d, false, 0)
		d.want("until", d.back[len(d.back)-1].Until.Sub(origin), 10*time.Minute)
	})
	t.Run("B2 what waits by itself is lifted, too", func(t *testing.T) {
		d := down(t)
		due(d, true, 0)
		due(d, false, 0)
		d.settle()
		d.s.FlushAll(d.now)
		d.decide()
		d.want("lifted", d.lift, []Lift{{Destination: "d"}, {Destination: "d", Each: true}})
	})
	t.Run("B2 what is parked and paused is lifted from either", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.known("s", time.Second)
		d.mail("A", "d", minAhead+fewAhead+1, Route{Site: "s"})
		d.learn(d.begun[0], Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute})
		d.settle()
		d.s.FlushAll(d.now)
		d.decide()
		d.want("lifted", d.lift, []Lift{{Destination: "d", Parked: true}, {Destination: "d"}})
	})
	t.Run("M2 what is parked is asked for when the site is to be tried", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.known("s", time.Second)
		d.mail("A", "d", minAhead+fewAhead, Route{Site: "s"})
		d.mail("A", "e", 3, Route{Site: "s"})
		for len(d.begun) > 0 {
			d.learn(d.begun[0], Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute})
		}
		d.settle()
		d.idle(time.Hour)
		d.s.MailCame(d.now)
		d.decide()
		d.idle(time.Hour)
		d.want("it wakes", d.out.Wake.Sub(d.now), time.Minute)
		d.pass(time.Minute)
		var asked []string
		for _, c := range d.idle(time.Hour) {
			asked = append(asked, c.Destinations...)
		}
		d.want("asked for", asked, []string{"e"})
	})
	t.Run("M2 what is paused stays so where nothing of it is to be given to the site", func(t *testing.T) {
		for _, own := range []bool{false, true} {
			d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
			d.known("s", time.Second)
			d.mail("A", "d", minAhead+fewAhead+1, Route{Site: "s", Own: own})
			for len(d.begun) > 0 {
				d.learn(d.begun[0], Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute})
			}
			d.settle()
			d.idle(time.Hour)
			d.pass(time.Minute)
			d.lift = nil
			var asked []string
			for _, c := range d.idle(time.Hour) {
				asked = append(asked, c.Destinations...)
			}
			d.want("asked for", asked, []string{"d"})
			d.want("lifted", d.lift, []Lift{{Destination: "d", Parked: true}})
			d.s.FlushAll(d.now)
			d.decide()
			d.want("lifted when somebody flushes", d.lift[1:], []Lift{{Destination: "d", Each: own}})
		}
	})
	t.Run("M1 of a site that is tried what has no room waits a second by itself", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.known("s", time.Second)
		d.pass(time.Minute)
		d.mails("A", "s")
		d.end(d.begun[0], Unreachable, time.Second)
		d.pass(10 * time.Minute)
		d.mail("A", "d", 2*fewAhead+5, Route{Site: "s"})
		d.want("gone back", len(d.back), 5)
		for _, b := range d.back {
			d.want("when its turn would be", b.Likely.Sub(d.now), minLikely)
		}
	})
	t.Run("M1 no more destinations of a site are remembered than so many", func(t *testing.T) {
		d := down(t)
		list := make([]Mail, maxKept+2)
		for i := range list {
			list[i] = Mail{ID: ID(i + 10), Message: fmt.Sprint(i), Destination: fmt.Sprint("d", i), Tenant: "A", Recipients: 1, Due: d.now}
		}
		d.claim = nil
		d.s.Claimed(d.now, list, false, time.Time{})
		d.decide()
		for i := range list {
			d.s.Routed(d.now, list[i].ID, Route{Site: "s"})
		}
		d.decide()
		d.want("gone back", len(d.back), len(list))
		d.s.FlushAll(d.now)
		d.decide()
		d.want("lifted", len(d.lift), maxKept)
	})
}

// TestTakenOut has mail leave before it has a route.
func TestTakenOut(t *testing.T) {
	t.Run("O1 what is withdrawn while no route is asked for is not asked for later", func(t *testing.T) {
		for i := range 3 {
			d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
			d.s.Troubled(d.now, NetworkFails)
			ids := d.claimed("A", "d", 3)
			d.want("asked for", len(d.out.Route), 0)
			d.want("withdrawn", d.s.Withdraw(d.now, ids[i]), true)
			d.s.Settled(d.now, ids[i], false, time.Time{})
			d.s.Recovered(d.now, NetworkFails)
			d.decide()
			d.want(fmt.Sprint("asked for without the ", i, "th"), d.out.Route, append(append([]ID(nil), ids[:i]...), ids[i+1:]...))
		}
	})
	t.Run("O2 what met the trouble may be withdrawn", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		ids := d.claimed("A", "d", 2)
		d.want("while its route is asked for", d.s.Withdraw(d.now, ids[0]), false)
		d.s.Stalled(d.now, ids[0], DNSFails)
		d.want("when no route was found", d.s.Withdraw(d.now, ids[0]), true)
		d.s.Settled(d.now, ids[0], false, time.Time{})
		d.s.Routed(d.now, ids[1], Route{Site: "s"})
		d.decide()
		d.want("asked for", len(d.out.Route), 0)
	})
	t.Run("O2 mail that waits for its route has its turn in the order in which it came", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		ids := d.claimed("A", "d", 3)
		for _, id := range ids {
			d.s.Stalled(d.now, id, DNSFails)
		}
		d.pass(firstProbe)
		d.want("the probe", d.out.Route, ids[:1])
		d.s.Gone(d.now, ids[0])
		d.s.Settled(d.now, ids[0], false, time.Time{})
		d.decide()
		d.want("the next", d.out.Route, ids[1:2])
	})
	t.Run("B3 a destination that has a route again is no site", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		ids := d.claimed("A", "d", 1)
		d.s.Unroutable(d.now, ids[0], time.Minute, "no name server")
		d.want("sites", d.s.Stats(d.now).Sites, 1)
		d.pass(time.Minute)
		ids = d.claimed("A", "d", 1)
		d.s.Routed(d.now, ids[0], Route{Site: "s"})
		d.decide()
		d.want("sites", d.s.Stats(d.now).Sites, 1)
		d.want("failures in a row", d.s.Misses("d"), 0)
	})
}
