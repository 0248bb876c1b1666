package delivery

import (
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/goroutine"
	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/queue"
)

// outcome is the result of a delivery, on its way into the queue.
type outcome struct {
	part       *part
	settlement queue.Settlement
	events     []Event
	notices    []reports.Notice // of settlement.Create

	// expired is set if the delivery's time is over and it must still be concluded, and
	// warn if its sender must be told about the delay. Both require reading from the
	// queue, and are left to the settler.
	expired, warn bool

	// postpone is what keeps the whole destination back instead of the delivery, and
	// alone until when that waits by itself if the queue cannot.
	postpone *queue.Postponement
	alone    time.Time

	// If the settlement could not be stored, after which pause it was tried last,
	// and when it is tried again.
	pause time.Duration
	at    time.Time
}

// unchanged is the outcome of a delivery that goes back as it was, to the place that
// it had.
func unchanged(p *part) outcome {
	d := p.delivery
	return outcome{part: p, settlement: queue.Settlement{Lease: d.Lease, NotBefore: d.Due}}
}

// again returns when a delivery may be claimed again. ever is false if no recipient
// remains.
func (o *outcome) again() (at time.Time, ever bool) {
	left := len(o.part.delivery.States) - len(o.settlement.Results)
	for i := range o.settlement.Results {
		if k := o.settlement.Results[i].Outcome; k == queue.Deferred || k == queue.Unknown {
			left++
		}
	}
	if o.postpone != nil {
		return o.postpone.Until, true // it goes back as it was
	}
	return o.settlement.NotBefore, left > 0
}

// settler passes outcomes to the queue: all that are ready at once, so that they share
// the cost of a settlement, and none waits for another to become ready.
type settler struct {
	mu      sync.Mutex
	pending work
	closed  bool
	last    time.Time     // of attempts to store, if the run is ending
	ends    chan struct{} // closed then
	more    goroutine.Signal
	done    chan struct{}

	// Used by run only: outcomes that could not be stored, and whether none can be.
	aside   []outcome
	failing bool
}

// Times between calls of a queue that fails.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	endPause   = 500 * time.Millisecond // once the run is to end

	// longestAside is how often a settlement is tried at least that could not be
	// stored while others could.
	longestAside = time.Minute

	// lastTries is for how long a settlement is tried once the agent is to end.
	lastTries = 10 * time.Second
)

func newSettler() settler { return settler{done: make(chan struct{}), ends: make(chan struct{})} }

// work is what a settler has to do: first the postponements, in order, then the
// outcomes, then the flushes.
type work struct {
	outcomes []outcome
	change   []queue.Postponement
	flush    []queue.Selection
}

func (w *work) any() bool { return len(w.outcomes)+len(w.change)+len(w.flush) > 0 }

// reuse empties finished work, for reuse.
func (w *work) reuse() {
	clear(w.outcomes)
	clear(w.change)
	clear(w.flush)
	w.outcomes, w.change, w.flush = w.outcomes[:0], w.change[:0], w.flush[:0]
}

// add takes outcomes and does not wait.
func (s *settler) add(list ...outcome) {
	if len(list) > 0 {
		s.change(list, nil, nil)
	}
}

// change takes outcomes with the postponements that belong to them, and does not wait.
func (s *settler) change(list []outcome, change []queue.Postponement, flush []queue.Selection) {
	s.mu.Lock()
	w := &s.pending
	w.outcomes, w.change, w.flush = append(w.outcomes, list...), append(w.change, change...), append(w.flush, flush...)
	s.mu.Unlock()
	s.more.Set()
}

// close says that no more outcomes follow; wait returns when all are settled.
func (s *settler) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.more.Set()
}

func (s *settler) wait() { <-s.done }

// endBy limits the time of attempts to store after close.
func (s *settler) endBy(last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = last
	close(s.ends)
}

// take waits for work, or until outcomes that were set aside must be tried again. It
// returns no work after the last outcome.
func (s *settler) take(spare work) work {
	for {
		s.mu.Lock()
		w, closed := s.pending, s.closed
		due := s.due(closed)
		ready := w.any() || closed || len(due) > 0
		if ready {
			s.pending = spare // once only, since the work that is filled next must not be the one that is returned
		}
		s.mu.Unlock()
		if ready {
			w.outcomes = append(w.outcomes, due...)
			return w
		}
		s.rest()
	}
}

// due takes those that were set aside and are to be tried again: all of them at the
// end.
func (s *settler) due(closed bool) (list []outcome) {
	now := time.Now()
	s.aside = slices.DeleteFunc(s.aside, func(o outcome) bool {
		if !closed && now.Before(o.at) {
			return false
		}
		list = append(list, o)
		return true
	})
	return list
}

// rest waits for more outcomes, or for the time of those set aside.
func (s *settler) rest() {
	if len(s.aside) == 0 {
		<-s.more.Seen()
		return
	}
	next := s.aside[0].at
	for i := range s.aside {
		if s.aside[i].at.Before(next) {
			next = s.aside[i].at
		}
	}
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case <-s.more.Seen():
	case <-timer.C:
	}
}

// setAside keeps a settlement that could not be stored apart, so that it does not hold
// up the others. It is tried again with them after a pause of its own.
func (s *settler) setAside(o outcome) {
	o.pause = min(max(2*o.pause, firstPause), longestAside)
	o.at = time.Now().Add(o.pause)
	s.aside = append(s.aside, o)
}

// recess pauses before the queue is tried again; not for long once the run is to end.
func (s *settler) recess(d time.Duration) {
	select {
	case <-s.ends:
		<-time.After(min(d, endPause))
		return
	default:
	}
	select {
	case <-s.ends:
	case <-time.After(d):
	}
}

// late reports whether a failing queue has been tried for long enough: never,
// until the agent is to end.
func (s *settler) late(end *time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		return false
	}
	if end.IsZero() {
		*end = time.Now().Add(lastTries)
		if s.last.Before(*end) {
			*end = s.last
		}
	}
	return !time.Now().Before(*end)
}
