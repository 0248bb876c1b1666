package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

const (
	// claimMost is how many deliveries one claim asks for at most, and of one
	// destination; tenantMost, of one tenant.
	claimMost  = 128
	tenantMost = 64

	// leastAhead is how many deliveries an agent may have claimed at least,
	// however few connections it may have.
	leastAhead = 1024
)

// claims takes deliveries from the queue as long as there is room for them,
// until ctx ends.
func (r *run) claims(ctx context.Context) error {
	pause := firstPause
	for ctx.Err() == nil && r.failed() == nil {
		r.release(ctx)
		want, ok := r.wanted()
		if !ok {
			r.parkStuck()
			r.rest(ctx, r.agent.clock.now().Add(stuckAfter), nil)
			continue
		}
		found, err := r.queue.Claim(ctx, r.agent.clock.now(), want)
		switch {
		case err != nil && ctx.Err() != nil:
			continue // to the end
		case errors.Is(err, queue.ErrClosed):
			return err
		case err != nil:
			r.heed(claiming, err)
			r.rest(ctx, r.agent.clock.now().Add(pause), nil)
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		r.heed(claiming, nil)
		r.take(found.Deliveries)
		r.report(found.Unreadable)
		switch now := r.agent.clock.now(); {
		case found.Next.IsZero() || found.Next.After(now):
			if len(found.Deliveries) > 0 && len(found.Deliveries) < claimMost/4 && r.loaded() {
				r.sleep(ctx, gather)
			}
			r.rest(ctx, r.restTime(found.Next), &found)
		case len(found.Deliveries)+len(found.Unreadable) == 0:
			r.rest(ctx, now.Add(firstPause), nil) // there is more, it says, and gives none
		}
	}
	return nil
}

// sleep waits for a while, or until ctx ends.
func (r *run) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// gather is how long the claims wait for more to come, where there is plenty to
// do meanwhile: a claim of many costs little more than a claim of one.
const gather = time.Millisecond

// loaded reports whether there is plenty to do.
func (r *run) loaded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.claimed > 2*r.busy && r.claimed > claimMost/4
}

// parkStuck gives back what waits for sites that have come to a halt, so that they
// do not keep the memory from others.
func (r *run) parkStuck() {
	now := time.Now()
	var left []part
	var of []*site
	r.mu.Lock()
	for _, s := range r.sites {
		if !s.stuck(now) {
			continue
		}
		s.took = max(s.took, now.Sub(s.finished))
		for _, sh := range s.empty() {
			for i := range sh.parts {
				left, of = append(left, sh.parts[i]), append(of, s)
			}
		}
	}
	r.mu.Unlock()
	for i := range left {
		r.uncount(of[i])
		r.park(of[i], left[i].delivery, now.Add(maxCrowded))
	}
}

// rest waits for the time given, where there is one, or for a reason to look at
// the queue before: one of the agent's own, or, since the last claim where that is
// given, one of the queue's.
func (r *run) rest(ctx context.Context, until time.Time, last *queue.Claimed) {
	var at <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(until.Sub(r.agent.clock.now()))
		defer timer.Stop()
		at = timer.C
	}
	changed, stop := r.watch(ctx, last)
	select {
	case <-ctx.Done():
	case <-at:
	case <-r.agent.wake.seen():
	case <-r.room.seen():
	case <-changed:
	}
	stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resting = false
}

// watch has changed closed when the queue says that another claim is worth while.
// It never is where the queue cannot tell, and where it fails to. stop ends it.
func (r *run) watch(ctx context.Context, last *queue.Claimed) (changed <-chan struct{}, stop func()) {
	q, able := queue.As[queue.Waiter](r.queue)
	if last == nil || !able {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	happened, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		err := q.Wait(ctx, last.Seen)
		if err == nil || errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrFailed) {
			close(happened)
		}
	}()
	return happened, func() {
		cancel()
		<-ended
	}
}

// restTime says until when no claim is needed: what the queue has said, or what
// was settled since then says.
func (r *run) restTime(next time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expecting && (next.IsZero() || r.expected.Before(next)) {
		next = r.expected
		if next.IsZero() {
			next = time.Unix(0, 0) // at once
		}
	}
	r.resting, r.restUntil = true, next
	return next
}

// ahead is how many deliveries may be claimed in all: enough for every
// connection to go on, and no more however long the queue is.
func (r *run) ahead() int { return max(4*r.limits().Connections, leastAhead) }

// wanted is what to claim, if there is room for anything.
func (r *run) wanted() (queue.ClaimOptions, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := queue.ClaimOptions{
		Max: claimMost, Lease: leaseLength, PerDestination: claimMost, PerTenant: tenantMost, Owner: r.owner,
	}
	if r.claimed > r.ahead()-claimMost || !r.agent.events.room() {
		r.crowded = true
		return want, false
	}
	r.crowded, r.expecting = false, false
	for _, p := range r.places {
		if p.site != nil && p.site.full() {
			want.Except = append(want.Except, p.name)
			if p.site != nil {
				p.site.skipped = true
			}
		}
	}
	return want, true
}

// maxReported is how many unreadable deliveries are told apart.
const maxReported = 10_000

// report tells of deliveries that cannot be read, each once. They stay leased:
// they are looked at again when that has ended.
func (r *run) report(list []queue.Unreadable) {
	for i := range list {
		l := &list[i].Lease
		key := keyOf(l)
		if r.unreadable[key] {
			continue
		}
		if len(r.unreadable) >= maxReported {
			clear(r.unreadable)
		}
		r.unreadable[key] = true
		e := &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: "4.3.0", Err: list[i].Err}
		r.agent.events.add(Event{
			Time: time.Now(), Kind: Deferred, ID: l.Message, Destination: l.Destination,
			Enhanced: e.Enhanced, Reply: e.Reason(), Next: l.Until, Err: e,
		})
	}
}

const (
	// messageMost is how many destinations of one message a full claim may have.
	messageMost = claimMost / 2
	// messageWait is for how long the others then make way for mail behind them.
	messageWait = 250 * time.Millisecond
)

// share gives back what one message has too much of in a claim that had no room
// for more, so that a message to thousands of destinations does not keep those
// behind it waiting. It returns the rest.
func (r *run) share(found []queue.Delivery) []queue.Delivery {
	if len(found) < claimMost {
		return found
	}
	number := make(map[string]int)
	kept := found[:0:0]
	now := r.agent.clock.now()
	for i := range found {
		d := &found[i]
		if number[d.Message.ID]++; number[d.Message.ID] <= messageMost {
			kept = append(kept, *d)
			continue
		}
		r.settler.add(outcome{delivery: d, settlement: queue.Settlement{
			Lease: d.Lease, NotBefore: now.Add(messageWait),
		}})
	}
	return kept
}
