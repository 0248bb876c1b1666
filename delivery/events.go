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
	telling int  // taken from waiting, and not told yet
	full    bool // there were maxEvents, and more than half of that are left
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
	e.full = e.full || len(e.waiting)+e.telling >= maxEvents
	e.mu.Unlock()
	e.more.set()
}

// room reports whether more may be begun that makes events. Once there was none
// it takes half of them told for there to be some again.
func (e *events) room() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.full || !e.running
}

// take is everything that waits.
func (e *events) take(spare []Event) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.waiting
	e.waiting, e.telling = spare[:0], len(list)
	return list
}

// told counts one event that the hook knows now, and says whether there is room
// again that was not there before.
func (e *events) told() (eased bool) {
	e.mu.Lock()
	e.telling--
	eased = e.full && len(e.waiting)+e.telling <= maxEvents/2
	e.full = e.full && !eased
	e.mu.Unlock()
	if eased {
		e.space.set()
	}
	return eased
}

// run tells events until ctx ends, and then the rest. eased is called when there
// is room again.
func (e *events) run(ctx context.Context, tell func(*Event), eased func()) {
	e.serve(true)
	defer e.serve(false)
	var list, spare []Event
	for last := false; ; {
		list, spare = e.take(spare), list
		for i := range list {
			tell(&list[i])
			if e.told() {
				eased()
			}
		}
		if clear(list); cap(list) > 2*maxEvents {
			list = list[:0:0] // what one large message needed is not kept
			continue
		}
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
	e.running, e.full = running, e.full && running
	e.mu.Unlock()
	e.space.set() // while nobody runs, nobody waits
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
	return len(e.waiting) + e.telling
}

// signal says that something has changed, once, to the one who waits for it: a
// second set before it was seen adds nothing. Its zero value is ready.
type signal struct {
	once sync.Once
	c    chan struct{}
}

// seen is the channel that has a value while the signal is set.
func (s *signal) seen() chan struct{} {
	s.once.Do(func() { s.c = make(chan struct{}, 1) })
	return s.c
}

func (s *signal) set() {
	select {
	case s.seen() <- struct{}{}:
	default:
	}
}
