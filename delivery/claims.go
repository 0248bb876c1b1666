package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// claimMost is how many deliveries one claim asks for at most.
const claimMost = 128

// claims takes deliveries from the queue as long as there is room for them and
// begins each, until ctx ends.
func (r *run) claims(ctx context.Context) error {
	pause := firstPause
	for ctx.Err() == nil {
		want, ok := r.wanted()
		if !ok {
			r.rest(ctx, time.Time{})
			continue
		}
		found, err := r.queue.Claim(ctx, r.agent.clock.now(), want)
		switch {
		case ctx.Err() != nil && err != nil:
			return nil
		case errors.Is(err, queue.ErrClosed):
			return err
		case err != nil:
			r.rest(ctx, r.agent.clock.now().Add(pause))
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		for i := range found.Deliveries {
			r.start(&found.Deliveries[i])
		}
		if now := r.agent.clock.now(); found.Next.IsZero() || found.Next.After(now) {
			r.rest(ctx, found.Next)
		}
	}
	return nil
}

// rest waits for the time given, where there is one, or for a reason to look at
// the queue before.
func (r *run) rest(ctx context.Context, until time.Time) {
	var at <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(until.Sub(r.agent.clock.now()))
		defer timer.Stop()
		at = timer.C
	}
	select {
	case <-ctx.Done():
	case <-at:
	case <-r.agent.wake.seen():
	case <-r.room.seen():
	}
}

// wanted is what to claim, if there is room for anything.
func (r *run) wanted() (queue.ClaimOptions, bool) {
	limits := &r.agent.current().Limits
	r.mu.Lock()
	defer r.mu.Unlock()
	want := queue.ClaimOptions{
		Max: min(limits.Connections-r.count, claimMost), Lease: leaseLength, PerDestination: limits.PerSite,
	}
	if want.Max <= 0 || !r.agent.events.room() {
		return want, false
	}
	for destination, n := range r.underway {
		if n >= limits.PerSite {
			want.Except = append(want.Except, destination)
		}
	}
	return want, true
}

// start begins a delivery.
func (r *run) start(d *queue.Delivery) {
	r.leases.add(d.Lease)
	r.mu.Lock()
	r.underway[d.Lease.Destination]++
	r.count++
	r.mu.Unlock()
	r.workers.Go(func() {
		defer r.finish(d)
		r.settler.add(r.deliver(d))
	})
}

// finish makes room for another delivery.
func (r *run) finish(d *queue.Delivery) {
	r.mu.Lock()
	if r.underway[d.Lease.Destination]--; r.underway[d.Lease.Destination] == 0 {
		delete(r.underway, d.Lease.Destination)
	}
	r.count--
	r.mu.Unlock()
	r.room.set()
}
