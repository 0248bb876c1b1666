package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

const (
	// leaseRest is which part of a lease is left at most when it is extended, and
	// leaseChecks how often they are looked at meanwhile.
	leaseRest   = 2
	leaseChecks = 15
	// leastLease is the shortest lease: leases of deliveries in flight must be extended
	// in time.
	leastLease = 30 * time.Second
)

// run extends leases until ctx ends.
func (l *leases) run(ctx context.Context, r *run) {
	length := r.agent.leaseLength()
	tick := time.NewTicker(length / leaseChecks)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.extend(ctx, r, r.agent.clock.Now().Add(length/leaseRest), length)
		}
	}
}

// extend extends what ends before a time, and reports whether it could. A lease that
// is lost is forgotten, and with it the right to send the final dot; what the queue
// cannot extend just now is tried again at the next turn.
func (l *leases) extend(ctx context.Context, r *run, before time.Time, length time.Duration) (done bool) {
	done = true
	for list := range slices.Chunk(l.ending(before), extendMost) {
		done = l.renew(ctx, r, list, length) && done
		if ctx.Err() != nil {
			return false
		}
	}
	return done
}

// extendMost is how many leases are extended in one call.
const extendMost = 1000

// renew is extend for some leases.
func (l *leases) renew(ctx context.Context, r *run, list []queue.Lease, length time.Duration) (done bool) {
	longer, err := r.queue.Extend(ctx, r.agent.clock.Now(), list, length)
	if ctx.Err() != nil {
		return false
	}
	r.heed(extending, err)
	done = err == nil
	for i := range longer {
		switch {
		case longer[i].Err == nil:
			l.extended(longer[i].Lease)
		case errors.Is(longer[i].Err, queue.ErrLeaseLost):
			l.remove(&list[i])
		default:
			done = false
		}
	}
	return done
}

const (
	// clockCheck is how often a running agent looks whether the wall clock has jumped.
	clockCheck = 10 * time.Second
	// clockWait is for how long it then waits for other agents on this machine to do
	// the same, whose leases would seem to have ended.
	clockWait = 2*clockCheck + clockCheck/2
)

// followClock follows the wall clock until ctx ends.
func (r *run) followClock(ctx context.Context) {
	tick := time.NewTicker(clockCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.follow(ctx)
		}
	}
}

// follow reports jumps of the wall clock. A jump ahead is followed once all leases last
// beyond it, so that other agents do not take over deliveries in flight. The failures
// of hosts are then as old as the jump is long, and are forgotten. From the time the
// jump is noticed until it is followed, leases are extended before anything is sent
// under them.
func (r *run) follow(ctx context.Context) {
	select {
	case r.follows <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-r.follows }()
	for _, jump := range r.agent.clock.News() {
		r.agent.note(troubleEvent(&ClockJump{jump.By}))
	}
	by := r.agent.clock.Behind()
	if by == 0 {
		r.jumped = time.Time{}
		return
	}
	now, lease := r.agent.clock.Now(), r.agent.leaseLength()
	if r.jumped.IsZero() {
		r.jumped = time.Now()
	}
	if !r.leases.extend(ctx, r, now.Add(by+lease/leaseRest), by+lease) || time.Since(r.jumped) < clockWait {
		return
	}
	r.jumped = time.Time{}
	r.agent.clock.Follow(by)
	r.leases.extend(ctx, r, r.agent.clock.Now().Add(lease/leaseRest), lease) // leases claimed in the meantime
	r.forgiveAll()
}

// latest is the time by which a lease must still hold for a message to be sent: if the
// wall clock is ahead by a jump, and the leases could not be extended beyond that, the
// wall clock's.
func (r *run) latest() time.Time {
	now := r.agent.clock.Read()
	if now.Behind > 0 {
		r.follow(r.work)
		now = r.agent.clock.Read()
	}
	if now.Wall.After(now.Now) {
		return now.Wall
	}
	return now.Now
}
