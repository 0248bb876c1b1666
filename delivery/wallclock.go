package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
)

const (
	// clockCheck is how often a running agent looks whether the wall clock has jumped.
	clockCheck = 10 * time.Second
	// clockWait is for how long it then waits for other agents on this machine to do
	// the same, whose leases would seem to have ended.
	clockWait = 2*clockCheck + clockCheck/2
)

// ClockJump is the error of a Trouble event that tells of a wall clock which jumped: it
// was set, or the machine slept.
//
// What waits for a time is due by the wall clock after a jump ahead. Nothing expires
// and nobody is told of a delay because of a jump: what had arrived before is as old
// as it was. After a jump back mail is retried as if nothing had been.
type ClockJump struct {
	// By is by how much, negative where the clock was put back.
	By time.Duration
}

// Error says which way the clock jumped, and how far.
func (e *ClockJump) Error() string {
	if e.By < 0 {
		return fmt.Sprintf("the wall clock was put back by %v", (-e.By).Round(time.Second))
	}
	return fmt.Sprintf("the wall clock is ahead by %v: it was set, or the machine slept", e.By.Round(time.Second))
}

// time is the time for what happens at the door. Where no Run is there to extend
// leases first, a clock that jumped ahead is followed at once.
func (a *Agent) time() clock.Time {
	if by := a.clock.Behind(); by > 0 && a.running() == nil {
		a.clock.Follow(by)
	}
	return a.clock.Read()
}

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

// follow tells of jumps of the wall clock. One ahead is followed once all leases last
// beyond it, so that nobody takes what is in flight for given up. What was known
// against hosts is then as old as the jump is long, and forgotten. Between the time it
// is noticed and that it is followed, what is claimed is extended before it is sent.
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
	r.leases.extend(ctx, r, r.agent.clock.Now().Add(lease/leaseRest), lease) // what was claimed in between
	r.forgiveAll()
}

// latest is the time by which a lease must still hold for a message to be sent: if the
// wall clock is ahead by a jump, and the leases could not be extended beyond that, the
// wall clock's.
func (r *run) latest() time.Time {
	if r.agent.clock.Behind() > 0 {
		r.follow(r.work)
	}
	now := r.agent.clock.Read()
	if now.Wall.After(now.Now) {
		return now.Wall
	}
	return now.Now
}
