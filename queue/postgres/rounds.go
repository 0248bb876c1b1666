package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// rounds are calls of one kind that share round trips: those that come while as many
// round trips as there may be are under way wait, and go together with the next.
type rounds[T comparable] struct {
	most int // round trips at a time

	mu      sync.Mutex
	waiting []T
	running int // round trips, each in a goroutine
	closed  bool
}

// add has a call wait for a round trip, and calls begin if one may begin.
func (r *rounds[T]) add(call T, begin func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return queue.ErrClosed
	}
	r.waiting = append(r.waiting, call)
	if r.running < r.most {
		r.running++
		begin()
	}
	return nil
}

// next returns the calls for the next round trip, as many of those that wait as count says;
// none if nobody waits, which is the end of the goroutine.
func (r *rounds[T]) next(count func(waiting []T) int) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		r.waiting = nil
		r.running--
		return nil
	}
	n := count(r.waiting)
	list := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	return list
}

// leave removes a call that waits, and reports false if it does not any more.
func (r *rounds[T]) leave(call T) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.waiting, call)
	if i < 0 {
		return false
	}
	r.waiting = slices.Concat(r.waiting[:i], r.waiting[i+1:]) // others hold parts of the old one
	return true
}

// close has no more calls begin.
func (r *rounds[T]) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// inRound waits until the round trip for a call is done. If ctx ends before, its error is
// returned. It is also an error if the call waits for so long without a round trip for it;
// one that has begun has a limit of its own. leave removes the call from those that wait,
// and reports false if it does not any more.
func inRound(ctx context.Context, limit time.Duration, done <-chan struct{}, leave func() bool) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	case <-timer.C:
		if leave() {
			return context.DeadlineExceeded
		}
		select {
		case <-done:
			return nil
		case <-ctx.Done():
		}
	}
	leave()
	select {
	case <-done: // what has been done is told, even if ctx ended at the same time
		return nil
	default:
		return ctx.Err()
	}
}
