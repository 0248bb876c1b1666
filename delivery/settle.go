package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/queue"
)

// outcome is what became of a delivery, on its way into the queue.
type outcome struct {
	delivery   *queue.Delivery
	settlement queue.Settlement
	events     []Event
	notices    []reports.Notice // of settlement.Create
	keeper     *site            // for which it is kept back; nil where nothing lifts that before its time

	// postpone is what keeps the whole destination back instead of the delivery, and
	// postponed until when that was done.
	postpone  *queue.Postponement
	postponed time.Time

	// Where the settlement could not be stored, after which pause it was tried last,
	// and when it is tried again.
	pause time.Duration
	at    time.Time
}

// settler hands outcomes to the queue: all that are ready at once, so that they
// share what a settlement costs, and none waits for another to become ready.
type settler struct {
	mu      sync.Mutex
	pending []outcome
	closed  bool
	more    signal
	done    chan struct{}

	aside []outcome // could not be stored; of run alone
}

// Times between tries at a queue that fails.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second

	// longestAside is how often a settlement is tried at least that could not be
	// stored while others could.
	longestAside = time.Minute

	// lastTries is for how long a settlement is tried once the agent is to end.
	lastTries = 10 * time.Second
)

func newSettler() settler { return settler{done: make(chan struct{})} }

// add takes an outcome and does not wait.
func (s *settler) add(o outcome) {
	s.mu.Lock()
	s.pending = append(s.pending, o)
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

// take waits for outcomes, or until those set aside are to be tried again, and
// returns none when no more come.
func (s *settler) take(spare []outcome) []outcome {
	for {
		s.mu.Lock()
		batch, closed := s.pending, s.closed
		due := s.due(closed)
		ready := len(batch) > 0 || closed || len(due) > 0
		if ready {
			s.pending = spare[:0] // once only: what is filled next must not be what is returned
		}
		s.mu.Unlock()
		if ready {
			return append(batch, due...)
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
		batch, spare []outcome
		list         []queue.Settlement
		end          time.Time // of trying, once there is one
	)
	for {
		batch, spare = s.take(spare), batch
		if len(batch) == 0 {
			return
		}
		r.postpone(batch)
		list = list[:0]
		for i := range batch {
			list = append(list, batch[i].settlement)
		}
		s.settle(r, batch, list, &end)
		clear(list)
		clear(batch)
		if len(s.aside) > 0 && s.late(&end) {
			r.abandon(s.aside)
			s.aside = nil
		} else if len(s.aside) > 0 && !end.IsZero() {
			<-time.After(firstPause)
		}
	}
}

// settle records a batch. While the queue fails it is tried again: settling twice
// is safe, and the mail is where it was. What cannot be stored while the others can
// is set aside.
func (s *settler) settle(r *run, batch []outcome, list []queue.Settlement, end *time.Time) {
	pause := firstPause
	for {
		result, err := r.queue.Settle(context.WithoutCancel(r.work), r.agent.clock.now(), list)
		r.heed(settling, err)
		if err == nil {
			if batch, list = r.recorded(batch, result); len(batch) == 0 {
				return
			}
			continue // without what could not be made of it
		}
		if errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrFailed) || s.late(end) {
			break
		}
		<-time.After(pause)
		pause = min(2*pause, lastPause)
	}
	r.abandon(batch)
}

// abandon gives up what cannot be settled: it is claimed again one day.
func (r *run) abandon(list []outcome) {
	for i := range list {
		r.done(&list[i].settlement.Lease)
	}
}

// postpone keeps back the destinations of what is given back to wait. Where the
// queue has no such ability each delivery waits by itself; where a destination
// has been let go again in the meantime nothing waits.
func (r *run) postpone(batch []outcome) {
	type key struct{ destination, owner string }
	first := make(map[key]*outcome)
	for i := range batch {
		o := &batch[i]
		if o.postpone == nil {
			continue
		}
		k := key{o.postpone.Destination, o.postpone.Owner}
		if known := first[k]; known == nil || o.postpone.Until.Before(known.postpone.Until) {
			first[k] = o
		}
	}
	if len(first) == 0 {
		return
	}
	var list []queue.Postponement
	for k, o := range first {
		if r.keeps(o.keeper, k.destination) {
			list = append(list, *o.postpone)
		}
	}
	ctx := context.WithoutCancel(r.work)
	done := len(list) == 0 || r.postponed(ctx, list)
	until := make(map[key]time.Time)
	if done {
		var lift []queue.Postponement
		for _, p := range list {
			k := key{p.Destination, p.Owner}
			if r.keeps(first[k].keeper, p.Destination) {
				until[k] = p.Until
				continue
			}
			p.Until = time.Time{} // it was let go meanwhile
			lift = append(lift, p)
		}
		if len(lift) > 0 {
			r.postponed(ctx, lift)
		}
	}
	for i := range batch {
		o := &batch[i]
		if o.postpone == nil {
			continue
		}
		if !done {
			o.postpone = nil // it waits by itself
			continue
		}
		o.postponed, o.settlement.NotBefore = until[key{o.postpone.Destination, o.postpone.Owner}], time.Time{}
	}
}

// keeps reports whether a destination is still kept back for a site.
func (r *run) keeps(s *site, destination string) bool {
	if s == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, still := s.kept[destination]
	return still
}

// again is when a delivery may be claimed again; never where nothing of it is
// left.
func (o *outcome) again() (at time.Time, ever bool) {
	left := len(o.delivery.States) - len(o.settlement.Results)
	for i := range o.settlement.Results {
		if k := o.settlement.Results[i].Outcome; k == queue.Deferred || k == queue.Unknown {
			left++
		}
	}
	if o.postpone != nil {
		return o.postponed, left > 0
	}
	return o.settlement.NotBefore, left > 0
}

// due notes that a delivery may be claimed from the time given on, so that the
// claims do not rest longer.
func (r *run) due(at time.Time, ever bool) {
	if !ever {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.expecting || at.Before(r.expected) {
		r.expecting, r.expected = true, at
	}
	if r.resting && (r.restUntil.IsZero() || at.Before(r.restUntil)) {
		r.room.set()
	}
}

// done takes a delivery out of those that are claimed.
func (r *run) done(l *queue.Lease) {
	r.leases.remove(l)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claimed--
	if r.crowded && r.claimed <= r.ahead()-claimMost {
		r.crowded = false
		r.room.set()
	}
}

// recorded tells of what the queue has now, and returns what is to be tried again
// at once in another form. What it could not store is set aside, and told.
func (r *run) recorded(batch []outcome, result []queue.Settled) (left []outcome, again []queue.Settlement) {
	for i := range batch {
		o, err := &batch[i], result[i].Err
		var (
			wrong *queue.ResultError
			bad   *queue.MessageError
		)
		switch {
		case err == nil, errors.Is(err, queue.ErrLeaseLost), errors.As(err, &wrong):
			r.done(&o.settlement.Lease)
			r.due(o.again())
			r.due(time.Time{}, len(o.settlement.Create) > 0)
			r.agent.tell(o, &result[i])
		case errors.As(err, &bad) && len(o.settlement.Create) > 0:
			// A report that is no message keeps no mail from being settled.
			if !o.withoutSignature(err) {
				o.settlement.Create = nil
			}
			left, again = append(left, *o), append(again, o.settlement)
		default:
			if o.pause == 0 {
				r.agent.events.add(o.unsettled(err))
			}
			r.settler.setAside(*o)
		}
	}
	return left, again
}

// unsettled is what is told of a settlement that could not be stored.
func (o *outcome) unsettled(cause error) Event {
	e := troubleEvent(cause)
	m := &o.delivery.Message
	e.ID, e.From, e.Destination, e.Tenant, e.Metadata = m.ID, m.From, o.delivery.Lease.Destination, m.Tenant, m.Metadata
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
	}
	return time.Now().After(*end)
}
