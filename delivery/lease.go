package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

const (
	// leaseRest is which part of a lease is left at most when it is extended, and
	// leaseChecks how often they are looked at meanwhile.
	leaseRest   = 2
	leaseChecks = 15
	// leastLease is the shortest lease: what is in flight must be extended in time.
	leastLease = 30 * time.Second
	// leaseMargin is how much of a lease must be left for a final dot: the time
	// the server may take to act on it is not ours to know, the way there is.
	leaseMargin = 5 * time.Second
)

// leases are those of all claimed deliveries.
type leases struct {
	mu   sync.Mutex
	held map[leaseKey]*queue.Lease
}

type leaseKey struct{ message, destination string }

func keyOf(l *queue.Lease) leaseKey { return leaseKey{l.Message, l.Destination} }

func (l *leases) add(list []queue.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(map[leaseKey]*queue.Lease)
	}
	for i := range list {
		lease := list[i].Lease
		l.held[keyOf(&lease)] = &lease
	}
}

// lost reports whether a lease was lost.
func (l *leases) lost(lease *queue.Lease) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.held[keyOf(lease)]
	return have == nil || have.Token != lease.Token
}

// remove forgets a lease that was settled. A later claim's lease of the same
// delivery stays.
func (l *leases) remove(lease *queue.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.held[keyOf(lease)]; have != nil && have.Token == lease.Token {
		delete(l.held, keyOf(lease))
	}
}

// valid reports whether a lease still has time left: what is sent under it is
// nobody else's to send.
func (l *leases) valid(lease *queue.Lease, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.held[keyOf(lease)]
	return have != nil && have.Token == lease.Token && now.Add(leaseMargin).Before(have.Until)
}

// ending are the leases that end before a time.
func (l *leases) ending(before time.Time) (list []queue.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lease := range l.held {
		if lease.Until.Before(before) {
			list = append(list, *lease)
		}
	}
	return list
}

// extended notes how long a lease lasts now.
func (l *leases) extended(lease queue.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.held[keyOf(&lease)]; have != nil && have.Token == lease.Token {
		have.Until = lease.Until
	}
}

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

// leaseLength is for how long deliveries are claimed, and extended.
func (a *Agent) leaseLength() time.Duration {
	if a.Lease == 0 {
		return queue.DefaultLease
	}
	return a.Lease
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

// extendMost is how many leases are extended in one call.
const extendMost = 1000
