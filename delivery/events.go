package delivery

import (
	"context"
	"sync"
)

// maxEvents is how many events wait for the hook before the agent waits for it.
const maxEvents = 4096

// events are what waits to be told to the hook, in order. Its zero value is
// ready.
type events struct {
	mu      sync.Mutex
	waiting []Event
	running bool
	more    signal
	space   signal
}

// add takes events. While no Run is there to tell them the oldest make room.
func (e *events) add(list ...Event) {
	e.mu.Lock()
	e.waiting = append(e.waiting, list...)
	if over := len(e.waiting) - maxEvents; over > 0 && !e.running {
		e.waiting = append(e.waiting[:0], e.waiting[over:]...)
	}
	e.mu.Unlock()
	e.more.set()
}

// room reports whether more may be begun that makes events.
func (e *events) room() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting) < maxEvents || !e.running
}

func (e *events) take(spare []Event) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.waiting
	e.waiting = spare[:0]
	return list
}

// run tells events until ctx ends, and then the rest.
func (e *events) run(ctx context.Context, tell func(*Event)) {
	e.serve(true)
	defer e.serve(false)
	var list, spare []Event
	for last := false; ; {
		list, spare = e.take(spare), list
		for i := range list {
			tell(&list[i])
		}
		clear(list)
		e.space.set()
		if len(list) > 0 {
			continue
		}
		if last {
			return
		}
		select {
		case <-ctx.Done():
			last = true
		case <-e.more.seen():
		}
	}
}

func (e *events) serve(running bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = running
}

// wait returns when there is room.
func (e *events) wait(ctx context.Context) error {
	for !e.room() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.space.seen():
		}
	}
	e.space.set() // there may be room for the next who waits, too
	return nil
}

// count is how many events wait.
func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting)
}
