package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/goroutine"
)

// maxEvents is how many events wait for the hook before the agent waits for it.
const maxEvents = 4096

// events are the events that wait for the hook, in order. One goroutine passes them on:
// that of Run while the agent is running, and otherwise one that ends after the last
// event. The zero value is ready to use.
type events struct {
	mu      sync.Mutex
	waiting []Event
	counts  Counts
	telling int             // taken from waiting, and not told yet
	heard   uint64          // told so far
	full    bool            // there were maxEvents, and more than half of that are left
	running bool            // a Run tells, or waits to
	served  bool            // a goroutine passes events on
	hook    context.Context // what context returns
	more    goroutine.Signal
	space   goroutine.Signal
	free    goroutine.Signal // set when no goroutine passes events on any more
}

// add adds events. It returns true if no goroutine passes events on: the caller must
// then call serve.
func (e *events) add(list []Event) (alone bool) {
	e.mu.Lock()
	e.waiting = append(e.waiting, list...)
	for i := range list {
		e.counts[list[i].Kind]++
	}
	e.full = e.full || len(e.waiting)+e.telling >= maxEvents
	alone = !e.served
	e.served = true
	e.mu.Unlock()
	e.more.Set()
	return alone
}

// tally counts events that are not passed to a hook.
func (e *events) tally(k EventKind, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts[k] += uint64(n)
}

// counted are the events so far.
func (e *events) counted() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}

// room reports whether work that causes events may begin. After the list was full, half
// of it must be passed on first.
func (e *events) room() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.full
}

// take returns all waiting events. If there are none, or if Run takes over, the calling
// goroutine stops passing events on.
func (e *events) take(spare []Event, leave func() bool) (list []Event, left bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if left = leave(); left {
		e.served = false
		e.free.Set()
		return nil, true
	}
	list = e.waiting
	e.waiting, e.telling = spare[:0], len(list)
	return list, false
}

// told counts one event that the hook knows now, and says whether there is room
// again that was not there before.
func (e *events) told() (eased bool) {
	e.mu.Lock()
	e.telling--
	e.heard++
	eased = e.full && len(e.waiting)+e.telling <= maxEvents/2
	e.full = e.full && !eased
	e.mu.Unlock()
	if eased {
		e.space.Set()
	}
	return eased
}

// serve passes events on until there are none, or a Run takes over.
func (e *events) serve(tell func(*Event)) {
	for {
		list, left := e.take(nil, func() bool { return e.running || len(e.waiting) == 0 })
		if left {
			return
		}
		for i := range list {
			tell(&list[i])
		}
	}
}

// run tells events until ctx ends, and then the rest.
func (e *events) run(ctx context.Context, tell func(*Event)) {
	e.takeOver()
	var list, spare []Event
	var left bool
	for {
		list, spare = spare, list
		list, left = e.take(list, func() bool { return !e.running && len(e.waiting) == 0 })
		if left {
			return
		}
		for i := range list {
			tell(&list[i])
		}
		if clear(list); cap(list) > 2*maxEvents {
			list = list[:0:0] // what one large message needed is not kept
			continue
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			e.mu.Lock()
			e.running = false
			e.mu.Unlock()
		case <-e.more.Seen():
		}
	}
}

// takeOver waits until no other goroutine passes events on.
func (e *events) takeOver() {
	for {
		e.mu.Lock()
		e.running = true
		mine := !e.served
		e.served = true
		e.mu.Unlock()
		if mine {
			return
		}
		<-e.free.Seen()
	}
}

// rest waits until all events were passed on and no goroutine is doing so.
func (e *events) rest() {
	for {
		e.mu.Lock()
		served := e.served
		e.mu.Unlock()
		if !served {
			e.free.Set() // for another who waits
			return
		}
		<-e.free.Seen()
	}
}

// hookContext is the context of the hook's calls. The events are those that it is told.
type hookContext struct {
	context.Context
	of *events
}

type hookKey struct{}

func (c hookContext) Value(key any) any {
	if key == (hookKey{}) {
		return c.of
	}
	return c.Context.Value(key)
}

// context is that of the hook's calls, by which wait knows them. One goroutine calls.
func (e *events) context() context.Context {
	if e.hook == nil {
		e.hook = hookContext{context.Background(), e}
	}
	return e.hook
}

// hookPatience is how long the hook may take for one event while somebody waits for it.
const hookPatience = time.Minute

var errHookStuck = errors.New("the Events hook has not returned for a minute (if it calls Submit, it must pass on its context)")

// wait returns when there is room. The hook itself does not wait, since there is no room
// before it returns: the events of what it submits come on top.
func (e *events) wait(ctx context.Context) error {
	if e.room() || ctx.Value(hookKey{}) == e {
		return nil
	}
	timer := time.NewTimer(hookPatience)
	defer timer.Stop()
	for before := e.tellings(); !e.room(); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.space.Seen():
		case <-timer.C:
			now := e.tellings()
			if now == before {
				return &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: "4.3.2", Err: errHookStuck}
			}
			before = now
			timer.Reset(hookPatience)
		}
	}
	e.space.Set() // there may be room for the next who waits, too
	return nil
}

// tellings are how many events were told so far.
func (e *events) tellings() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard
}

// count is how many events wait.
func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting) + e.telling
}
