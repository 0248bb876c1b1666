package queuetest

import (
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func postponeChecks() []check {
	return []check{
		{ruleA6, "a postponed destination's mail waits for one time", needPostpone, postponed},
		{ruleA6, "it holds for mail put later and for claims by name", needPostpone, postponedLater},
		{ruleA6, "the next replaces it and the zero time lifts it", needPostpone, postponedAgain},
		{ruleA6, "several at once", needPostpone, postponedTogether},
		{ruleA6, "the list shows when the mail is due, and why", needPostpone | needList, postponedInList},
	}
}

func (r *run) postpone(destination string, until time.Time) {
	r.Helper()
	r.postponeAll(queue.Postponement{Destination: destination, Until: until, Reason: because(until)})
}

// because is the reason of a postponement; one that lifts has none.
func because(until time.Time) string {
	if until.IsZero() {
		return ""
	}
	return "its hosts are down"
}

func (r *run) postponeAll(list ...queue.Postponement) {
	r.Helper()
	r.check("Postpone", queue.Postpone(r.ctx, r.q, r.now, list...))
}

func postponed(r *run) {
	for range 20 {
		r.put(r.message("a@dead.example"))
	}
	r.put(r.message("a@alive.example"))
	probe := r.first(queue.ClaimOptions{PerDestination: 1, Destinations: []string{"dead.example"}})
	until := r.now.Add(time.Hour)
	r.settle(deferred(probe, until))
	r.postpone("dead.example", until)
	if d := r.one(); d.Lease.Destination != "alive.example" {
		r.Errorf("Claim returned a delivery to %s, which is postponed", d.Lease.Destination)
	} else {
		r.settle(all(d, queue.Delivered))
	}
	r.advance(time.Hour - time.Millisecond)
	r.none("a millisecond before the postponement ends")
	r.advance(time.Millisecond)
	if got := r.due(); len(got) != 20 {
		r.Errorf("after the postponement Claim returned %s, want all 20", describe(got))
	}
}

func postponedLater(r *run) {
	r.postpone("dead.example", r.now.Add(time.Hour))
	r.put(r.message("a@dead.example"))
	r.none("of mail put after the destination was postponed")
	named := r.claim(queue.ClaimOptions{Destinations: []string{"dead.example"}})
	if len(named.Deliveries) != 0 {
		r.Errorf("a claim by name returned %s, want nothing", describe(named.Deliveries))
	}
	r.advance(time.Hour)
	r.one()
}

func postponedAgain(r *run) {
	m := r.message("a@dead.example")
	m.NotBefore = r.now.Add(5 * time.Minute)
	r.put(m)
	start := r.now
	r.postpone("dead.example", start.Add(time.Hour))
	r.postpone("dead.example", start.Add(10*time.Minute))
	r.advance(10*time.Minute - time.Millisecond)
	r.none("a millisecond before the second postponement ends")
	r.advance(time.Millisecond)
	r.settle(deferred(r.one(), r.now))
	r.postpone("dead.example", start.Add(24*time.Hour))
	r.none("after a third postponement")
	r.postpone("dead.example", time.Time{})
	r.one()
}

func postponedTogether(r *run) {
	for i := range 4 {
		r.put(r.message(fmt.Sprintf("a@d%d.example", i)))
	}
	r.postpone("d3.example", r.now.Add(time.Hour))
	r.postponeAll()
	r.postponeAll(
		queue.Postponement{Destination: "d0.example", Until: r.now.Add(time.Minute)},
		queue.Postponement{Destination: "d1.example", Until: r.now.Add(time.Hour)},
		queue.Postponement{Destination: "d3.example"},
		queue.Postponement{Destination: "d1.example", Until: r.now.Add(2 * time.Minute)},
	)
	for _, want := range [][]string{{"d2.example", "d3.example"}, {"d0.example"}, {"d1.example"}} {
		got := of(r.due(), destinationOf)
		for _, name := range want {
			if got[name] != 1 || len(got) != len(want) {
				r.Errorf("Claim returned %v, want one of each of %q", got, want)
			}
		}
		r.advance(time.Minute)
	}
}

func postponedInList(r *run) {
	m := r.message("a@dead.example", "b@alive.example")
	id := r.put(m)
	until := r.now.Add(time.Hour)
	r.postpone("dead.example", until)
	r.wantWaiting(id, []queue.Waiting{
		{State: queue.State{Index: 0}, Destination: "dead.example", Next: until, Postponed: until, Reason: because(until)},
		{State: queue.State{Index: 1}, Destination: "alive.example"},
	})
	r.postpone("dead.example", time.Time{})
	r.wantWaiting(id, []queue.Waiting{
		{State: queue.State{Index: 0}, Destination: "dead.example"},
		{State: queue.State{Index: 1}, Destination: "alive.example"},
	})
}
