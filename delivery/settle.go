package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/queue"
)

// outcome is what became of a delivery, on its way into the queue.
type outcome struct {
	part       *part
	settlement queue.Settlement
	events     []Event
	notices    []reports.Notice // of settlement.Create

	// expired says that the delivery's time is over and it is to be concluded, warn
	// that its sender is to be told of the delay: both take reading, and are left to
	// the settler.
	expired, warn bool

	// postpone is what keeps the whole destination back instead of the delivery, and
	// alone until when that waits by itself where the queue cannot.
	postpone *queue.Postponement
	alone    time.Time

	// Where the settlement could not be stored, after which pause it was tried last,
	// and when it is tried again.
	pause time.Duration
	at    time.Time
}

// settler hands outcomes to the queue: all that are ready at once, so that they
// share what a settlement costs, and none waits for another to become ready.
type settler struct {
	mu      sync.Mutex
	pending work
	closed  bool
	last    time.Time     // of trying, where a run is to end
	ends    chan struct{} // closed then
	more    signal
	done    chan struct{}

	// Of run alone: what could not be stored, and whether nothing can be.
	aside   []outcome
	failing bool
}

// Times between tries at a queue that fails.
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

// reuse empties what was done, for what comes next.
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
	s.more.set()
}

// close says that nothing more comes; wait returns when all is settled.
func (s *settler) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.more.set()
}

func (s *settler) wait() { <-s.done }

// endBy has nothing tried after a time once it is closed.
func (s *settler) endBy(last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = last
	close(s.ends)
}

// take waits for something to do, or until what was set aside is to be tried again,
// and returns nothing when no more comes.
func (s *settler) take(spare work) work {
	for {
		s.mu.Lock()
		w, closed := s.pending, s.closed
		due := s.due(closed)
		ready := w.any() || closed || len(due) > 0
		if ready {
			s.pending = spare // once only: what is filled next must not be what is returned
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
		<-s.more.seen()
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
	case <-s.more.seen():
	case <-timer.C:
	}
}

// setAside keeps a settlement that could not be stored from holding up the others.
// It is tried again with them after a pause of its own.
func (s *settler) setAside(o outcome) {
	o.pause = min(max(2*o.pause, firstPause), longestAside)
	o.at = time.Now().Add(o.pause)
	s.aside = append(s.aside, o)
}

// run settles until close.
func (s *settler) run(r *run) {
	defer close(s.done)
	var (
		now, spare work
		list       []queue.Settlement
		end        time.Time // of trying, once there is one
	)
	for {
		now, spare = s.take(spare), now
		if !now.any() {
			return
		}
		r.prepare(now.outcomes)
		lifted := r.postpone(&now)
		list = list[:0]
		for i := range now.outcomes {
			list = append(list, now.outcomes[i].settlement)
		}
		if len(list) > 0 {
			s.settle(r, now.outcomes, list, &end)
		}
		if len(now.flush) > 0 {
			_, _ = queue.Flush(context.WithoutCancel(r.work), r.queue, r.agent.clock.Now(), now.flush...)
		}
		if lifted || len(now.flush) > 0 {
			r.inform((*sched.Scheduler).MailCame)
		}
		clear(list)
		now.reuse()
		if len(s.aside) > 0 && s.late(&end) {
			r.abandon(s.aside)
			s.aside = nil
		} else if len(s.aside) > 0 && !end.IsZero() {
			<-time.After(firstPause)
		}
	}
}

// prepare does for outcomes what takes reading.
func (r *run) prepare(list []outcome) {
	for i := range list {
		switch o := &list[i]; {
		case o.expired:
			*o = r.conclude(o.part, r.expired(o.part.delivery))
		case o.warn:
			o.warn = false
			r.warn(o, r.agent.clock.Read().Wall)
		}
	}
}

// settle records a batch. While the queue fails it is tried again: settling twice
// is safe, and the mail is where it was. What cannot be stored while the others can
// is set aside.
func (s *settler) settle(r *run, batch []outcome, list []queue.Settlement, end *time.Time) {
	pause := firstPause
	for {
		result, err := r.queue.Settle(context.WithoutCancel(r.work), r.agent.clock.Now(), list)
		r.heed(settling, err)
		if r.pauseFor(err); err == nil {
			if batch, list = r.recorded(batch, result); len(batch) == 0 {
				return
			}
			continue // without what could not be made of it
		}
		if errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrFailed) || s.late(end) {
			break
		}
		s.recess(pause)
		pause = min(2*pause, lastPause)
	}
	r.abandon(batch)
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

// pauseFor lets nothing begin while the queue stores nothing.
func (r *run) pauseFor(err error) {
	switch {
	case err == nil && r.settler.failing:
		r.settler.failing = false
		r.inform(func(s *sched.Scheduler, now time.Time) { s.Recovered(now, sched.StoreFails) })
	case err != nil && !r.settler.failing:
		r.settler.failing = true
		r.inform(func(s *sched.Scheduler, now time.Time) { s.Troubled(now, sched.StoreFails) })
	}
}

// abandon gives up what cannot be settled: it is claimed again one day.
func (r *run) abandon(list []outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list {
		r.done(&list[i], false)
	}
	r.decide()
}

// postpone changes what is kept back in the queue, and reports whether anything was
// let go. Where the queue has no such ability each delivery waits by itself.
func (r *run) postpone(w *work) (lifted bool) {
	if len(w.change) == 0 {
		return false
	}
	done := r.postponed(context.WithoutCancel(r.work), w.change)
	for i := range w.outcomes {
		if o := &w.outcomes[i]; o.postpone != nil && !done {
			o.settlement.NotBefore, o.postpone = o.alone, nil
		}
	}
	return slices.ContainsFunc(w.change, func(p queue.Postponement) bool { return p.Until.IsZero() })
}

// postponed has the queue postpone, and reports whether it has.
func (r *run) postponed(ctx context.Context, list []queue.Postponement) bool {
	err := queue.Postpone(ctx, r.queue, r.agent.clock.Now(), list...)
	if ctx.Err() == nil {
		r.heed(postponing, err)
	}
	return err == nil
}

// unpark lifts all that was parked.
func (r *run) unpark() {
	_ = queue.Postpone(context.WithoutCancel(r.work), r.queue, r.agent.clock.Now(), queue.Postponement{Owner: r.owner})
}

// again is when a delivery may be claimed again; never where nothing of it is
// left.
func (o *outcome) again() (at time.Time, ever bool) {
	left := len(o.part.delivery.States) - len(o.settlement.Results)
	for i := range o.settlement.Results {
		if k := o.settlement.Results[i].Outcome; k == queue.Deferred || k == queue.Unknown {
			left++
		}
	}
	if o.postpone != nil {
		return o.postpone.Until, left > 0
	}
	return o.settlement.NotBefore, left > 0
}

// done takes a delivery out of those that are claimed. settled says that the queue
// has its outcome. The caller holds r.mu.
func (r *run) done(o *outcome, settled bool) {
	r.leases.remove(&o.settlement.Lease)
	now := time.Now()
	at, ever := o.again()
	ever = ever && settled
	if ever && !at.IsZero() {
		at = now.Add(at.Sub(r.agent.clock.Now()))
	}
	if settled && len(o.settlement.Create) > 0 {
		at, ever = time.Time{}, true
	}
	r.sched.Settled(now, o.part.id, ever, at)
	delete(r.parts, o.part.id)
}

// recorded tells of what the queue has now, and returns what is to be tried again
// at once in another form. What it could not store is set aside, and told.
func (r *run) recorded(batch []outcome, result []queue.Settled) (left []outcome, again []queue.Settlement) {
	var done []*outcome
	for i := range batch {
		o, err := &batch[i], result[i].Err
		var (
			wrong *queue.ResultError
			bad   *queue.MessageError
		)
		switch {
		case err == nil, errors.Is(err, queue.ErrLeaseLost), errors.As(err, &wrong):
			if result[i].NoRoom {
				o.settlement.Results = nil // those who failed are still there
			}
			done = append(done, o)
			r.agent.tell(o, &result[i])
		case errors.As(err, &bad) && len(o.settlement.Create) > 0:
			// A report that is no message keeps no mail from being settled.
			if !o.withoutSignature(err) {
				o.settlement.Create = nil
			}
			left, again = append(left, *o), append(again, o.settlement)
		default:
			if o.pause == 0 {
				r.agent.note(o.unsettled(err))
			}
			r.settler.setAside(*o)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range done {
		r.done(o, true)
	}
	r.decide()
	return left, again
}

// unsettled is what is told of a settlement that could not be stored.
func (o *outcome) unsettled(cause error) Event {
	e := troubleEvent(cause)
	m := &o.part.delivery.Message
	e.ID, e.From, e.Destination, e.Tenant, e.Metadata = m.ID, m.From, o.part.delivery.Lease.Destination, m.Tenant, m.Metadata
	return e
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
