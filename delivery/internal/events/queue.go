package events

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/goroutine"
)

// Max is the number of waiting events from which on there is no room.
const Max = 4096

// Queue has the events that wait for the hook. The zero value is ready to use. Its methods
// are safe for concurrent use, except that Serve and Run follow the rules of the package.
type Queue[E any] struct {
	mu      sync.Mutex
	waiting []E
	taken   int             // from waiting, and not passed on yet
	told    uint64          // passed on so far
	full    bool            // there were Max events, and more than half of that are left
	running bool            // a Run passes events on, or waits to do so
	served  bool            // a goroutine passes events on
	hook    context.Context // what context returns
	more    goroutine.Signal
	space   goroutine.Signal
	free    goroutine.Signal // set when no goroutine passes events on any more
}

// Hook receives the events of a Queue.
type Hook[E any] struct {
	// Tell is called with each event, and with a context by which Wait knows the hook. It
	// must not keep the event.
	Tell func(context.Context, *E)

	// Eased is called when there is room again.
	Eased func()
}

// Add adds events. It returns true if no goroutine passes events on: the caller must then
// start one that calls Serve.
func (q *Queue[E]) Add(list ...E) (alone bool) {
	q.mu.Lock()
	q.waiting = append(q.waiting, list...)
	q.full = q.full || len(q.waiting)+q.taken >= Max
	alone = !q.served
	q.served = true
	q.mu.Unlock()
	q.more.Set()
	return alone
}

// Waiting returns how many events wait. One that the hook has not returned from waits.
func (q *Queue[E]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) + q.taken
}

// Room reports whether work that causes events may begin.
func (q *Queue[E]) Room() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.full
}

// Serve passes events on until there are none, or until a Run takes over.
func (q *Queue[E]) Serve(h Hook[E]) {
	for {
		list, left := q.take(nil, func() bool { return q.running || len(q.waiting) == 0 })
		if left {
			return
		}
		q.tell(h, list)
	}
}

// Run passes events on until ctx ends, and then those that are left. Only one may run at
// a time.
func (q *Queue[E]) Run(ctx context.Context, h Hook[E]) {
	q.takeOver()
	over := func() bool {
		q.running = ctx.Err() == nil || len(q.waiting) > 0
		return !q.running
	}
	var list []E
	for {
		var left bool
		if list, left = q.take(list, over); left {
			return
		}
		q.tell(h, list)
		if clear(list); cap(list) > 2*Max {
			list = nil // what one large message needed is not kept
		}
		select {
		case <-ctx.Done():
		case <-q.more.Seen():
		}
	}
}

// take returns all waiting events, and uses the space of spare for those that follow. If
// leave says so, the calling goroutine no longer passes events on.
func (q *Queue[E]) take(spare []E, leave func() bool) (list []E, left bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if left = leave(); left {
		q.served = false
		q.free.Set()
		return nil, true
	}
	list = q.waiting
	q.waiting, q.taken = spare[:0], len(list)
	return list, false
}

// tell passes events on.
func (q *Queue[E]) tell(h Hook[E], list []E) {
	for i := range list {
		h.Tell(q.context(), &list[i])
		if q.passed() {
			h.Eased()
		}
	}
}

// passed counts one event that the hook knows now, and reports whether there is room again
// that was not there before.
func (q *Queue[E]) passed() (eased bool) {
	q.mu.Lock()
	q.taken--
	q.told++
	eased = q.full && len(q.waiting)+q.taken <= Max/2
	q.full = q.full && !eased
	q.mu.Unlock()
	if eased {
		q.space.Set()
	}
	return eased
}

// takeOver waits until no other goroutine passes events on.
func (q *Queue[E]) takeOver() {
	for {
		q.mu.Lock()
		q.running = true
		mine := !q.served
		q.served = true
		q.mu.Unlock()
		if mine {
			return
		}
		<-q.free.Seen()
	}
}

// Rest waits until all events have been passed on and no goroutine is doing so.
func (q *Queue[E]) Rest() {
	for {
		q.mu.Lock()
		served := q.served
		q.mu.Unlock()
		if !served {
			q.free.Set() // for another who waits
			return
		}
		<-q.free.Seen()
	}
}

// queueKey is the key of the Queue in the context of its hook.
type queueKey struct{}

// context returns the context of the hook's calls. Only the goroutine that passes events
// on calls it.
func (q *Queue[E]) context() context.Context {
	if q.hook == nil {
		q.hook = context.WithValue(context.Background(), queueKey{}, q)
	}
	return q.hook
}

// patience is how long the hook may take for one event while somebody waits for room.
const patience = time.Minute

// ErrStuck says that the hook has taken too long for one event.
var ErrStuck = errors.New("the hook has not returned for a minute")

// Wait returns when there is room, or at once if its context is that of the hook or made
// from it. If the hook takes more than a minute for an event meanwhile, the error is
// ErrStuck.
func (q *Queue[E]) Wait(ctx context.Context) error {
	if q.Room() || ctx.Value(queueKey{}) == q {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for before := q.toldSoFar(); !q.Room(); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.space.Seen():
		case <-timer.C:
			now := q.toldSoFar()
			if now == before {
				return ErrStuck
			}
			before = now
			timer.Reset(patience)
		}
	}
	q.space.Set() // there may be room for the next who waits, too
	return nil
}

// toldSoFar returns how many events have been passed on.
func (q *Queue[E]) toldSoFar() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.told
}
