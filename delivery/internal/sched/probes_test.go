package sched

import (
	"fmt"
	"testing"
	"time"
)

// TestProbes has trouble of our own, and looks at what finds out whether it is over.
func TestProbes(t *testing.T) {
	t.Run("O1 nothing is claimed to probe with where something waits that may", func(t *testing.T) {
		for name, waits := range map[string][]string{"one that is quick": {"quick"}, "one that is not": {"slow"}, "both": {"quick", "slow"}} {
			d := newDesk(t, Settings{Connections: 2, PerSite: 2, Ahead: 400})
			d.known("quick", time.Second)
			d.known("slow", time.Minute)
			d.mails("Z", "x", "y")
			for _, site := range waits {
				d.mails("A", site)
			}
			d.s.Troubled(d.now, NetworkFails)
			d.decide()
			d.idle(0)
			d.s.MailCame(d.now)
			d.pass(firstProbe)
			d.want("a claim while there waits "+name, d.claim == nil, true)
		}
	})
	t.Run("O1 an attempt that is not the probe says nothing of it", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 1, Ahead: 400})
		d.mails("A", "a", "b")
		d.s.Stop(d.now, true)
		d.mails("A", "c", "e")
		d.s.Troubled(d.now, NetworkFails)
		d.s.Stop(d.now, false)
		d.pass(firstProbe)
		d.want("in flight with the probe", len(d.begun), 3)
		probe := d.lastBegun()
		d.pass(time.Second)
		d.learn(d.begun[0], Lesson{Kind: Ours, Began: d.now, Cause: NetworkFails})
		d.want("in flight when another has met the trouble", len(d.begun), 2)
		d.pass(time.Minute)
		d.want("in flight while the probe is", len(d.begun), 2)
		d.learn(probe, Lesson{Kind: Ours, Began: d.now, Cause: NetworkFails})
		d.want("the next probe", d.out.Wake.Sub(d.now), 2*firstProbe)
	})
	t.Run("O1 a route that is not the probe's says nothing of it", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 1, Ahead: 400})
		ids := d.claimed("A", "d", 3)
		d.s.Stalled(d.now, ids[0], DNSFails)
		d.pass(firstProbe)
		d.want("the probe", d.out.Route, ids[:1])
		d.s.Gone(d.now, ids[1])
		d.s.Stalled(d.now, ids[2], DNSFails)
		d.decide()
		d.want("asked for beside it", len(d.out.Route), 0)
	})
	t.Run("O1 where the probe is taken away before it begins another is looked for", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 1, PerSite: 1, Ahead: 400})
		d.mails("A", "a")
		id := d.claimed("A", "d", 1)[0]
		d.idle(0)
		d.s.Stalled(d.now, id, NetworkFails)
		d.pass(firstProbe)
		d.s.Routed(d.now, id, Route{Site: "p"})
		d.s.MailCame(d.now)
		d.decide()
		d.want("a claim while it waits for its turn", d.claim == nil, true)
		d.want("withdrawn", d.s.Withdraw(d.now, id), true)
		d.s.Settled(d.now, id, false, time.Time{})
		d.decide()
		d.want("a claim for another", d.claim != nil, true)
	})
	t.Run("O1 it wakes for what has nothing to do with the trouble", func(t *testing.T) {
		for cause, connections := range map[Cause]int{StoreFails: 9, NetworkFails: 1} {
			d := newDesk(t, Settings{Connections: connections, PerSite: 1, Ahead: 400})
			d.mails("A", "a", "b")
			ids := d.message(1, "x", "y")
			d.s.Troubled(d.now, cause)
			d.s.Routed(d.now, ids[0], Route{Site: "s", Join: "j"})
			d.decide()
			d.want(fmt.Sprint("it wakes in trouble ", cause), d.out.Wake.Sub(d.now), gatherTime)
		}
	})
	t.Run("O1 it does not wake for a trial that may not begin", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 24, PerSite: 2, Ahead: 400})
		for i := range 30 {
			d.mails("A", fmt.Sprint("n", i))
		}
		d.claimed("A", "d", 0)
		for n := len(d.begun); n < 21; n = len(d.begun) {
			d.now = d.out.Wake
			d.decide()
		}
		d.s.Troubled(d.now, NetworkFails)
		d.decide()
		d.want("it wakes", d.out.Wake.IsZero(), true)
	})
	t.Run("O1 nothing is tried after the end", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 24, PerSite: 2, Ahead: 400})
		d.mails("A", "a", "b")
		d.s.Troubled(d.now, NetworkFails)
		d.mails("A", "c")
		d.s.Drain(d.now)
		d.claim = nil
		d.decide()
		d.want("it wakes", d.out.Wake.IsZero(), true)
		d.pass(firstProbe)
		d.want("in flight", len(d.begun), 2)
	})
}
