package delivery

import (
	"context"
	"errors"
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
	postpone   bool             // the whole destination until NotBefore, and not the delivery
	postponed  time.Time        // where that was done
	keeper     *site            // for which it is kept back; nil where nothing lifts that before its time
}

// settler hands outcomes to the queue: all that are ready at once, so that they
// share what a settlement costs, and none waits for another to become ready.
type settler struct {
	mu      sync.Mutex
	pending []outcome
	closed  bool
	more    signal
	done    chan struct{}
}

// Times between tries at a queue that fails.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second

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

// take waits for outcomes, and returns none when no more come.
func (s *settler) take(spare []outcome) []outcome {
	for {
		s.mu.Lock()
		batch, closed := s.pending, s.closed
		ready := len(batch) > 0 || closed
		if ready {
			s.pending = spare[:0] // once only: what is filled next must not be what is returned
		}
		s.mu.Unlock()
		if ready {
			return batch
		}
		<-s.more.seen()
	}
}

// run settles until close.
func (s *settler) run(r *run) {
	defer close(s.done)
	var batch, spare []outcome
	var list []queue.Settlement
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
		s.settle(r, batch, list)
		clear(list)
		clear(batch)
	}
}

// settle records a batch. While the queue fails, or a settlement in it, it is
// tried again: settling twice is safe, and the mail is where it was.
func (s *settler) settle(r *run, batch []outcome, list []queue.Settlement) {
	var (
		pause = firstPause
		end   time.Time
	)
	for {
		result, err := r.queue.Settle(context.WithoutCancel(r.work), r.agent.clock.now(), list)
		if err == nil {
			if batch, list = r.recorded(batch, result); len(batch) == 0 {
				return
			}
		}
		if errors.Is(err, queue.ErrClosed) || s.late(&end) {
			break
		}
		<-time.After(pause)
		pause = min(2*pause, lastPause)
	}
	for i := range batch {
		r.done(&batch[i].settlement.Lease)
	}
}

// postponement is until when a destination is kept back, and for whom.
type postponement struct {
	until  time.Time
	keeper *site
}

// postpone keeps back the destinations of what is given back to wait. Where the
// queue has no such ability each delivery waits by itself; where a destination
// has been let go again in the meantime nothing waits.
func (r *run) postpone(batch []outcome) {
	var list map[string]postponement
	for i := range batch {
		o := &batch[i]
		if !o.postpone {
			continue
		}
		if list == nil {
			list = make(map[string]postponement)
		}
		p, known := list[o.settlement.Lease.Destination]
		if !known || o.settlement.NotBefore.Before(p.until) {
			list[o.settlement.Lease.Destination] = postponement{o.settlement.NotBefore, o.keeper}
		}
	}
	for destination, p := range list {
		if !r.postponeOne(destination, &p) {
			delete(list, destination)
			continue
		}
		list[destination] = p
	}
	for i := range batch {
		o := &batch[i]
		if !o.postpone {
			continue
		}
		var done bool
		var p postponement
		if p, done = list[o.settlement.Lease.Destination]; done {
			o.postponed, o.settlement.NotBefore = p.until, time.Time{}
		} else {
			o.postpone = false
		}
	}
}

// postponeOne keeps one destination back, unless it has been let go again. It is
// false where the queue cannot.
func (r *run) postponeOne(destination string, p *postponement) bool {
	if !r.keeps(p.keeper, destination) {
		p.until = time.Time{}
		return true
	}
	ctx := context.WithoutCancel(r.work)
	if queue.Postpone(ctx, r.queue, r.agent.clock.now(), destination, p.until) != nil {
		return false
	}
	if !r.keeps(p.keeper, destination) {
		p.until = time.Time{}
		_ = queue.Postpone(ctx, r.queue, r.agent.clock.now(), destination, p.until)
	}
	return true
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
	if o.postpone {
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

// recorded tells of what the queue has now, and returns what it could not store.
func (r *run) recorded(batch []outcome, result []queue.Settled) (left []outcome, again []queue.Settlement) {
	for i := range batch {
		err := result[i].Err
		var (
			wrong *queue.ResultError
			bad   *queue.MessageError
		)
		switch {
		case err == nil, errors.Is(err, queue.ErrLeaseLost), errors.As(err, &wrong):
			r.done(&batch[i].settlement.Lease)
			r.due(batch[i].again())
			r.due(time.Time{}, len(batch[i].settlement.Create) > 0)
			r.agent.tell(&batch[i], &result[i])
		case errors.As(err, &bad):
			// A report that is no message keeps no mail from being settled.
			if !batch[i].withoutSignature(err) {
				batch[i].settlement.Create = nil
			}
			fallthrough
		default:
			left, again = append(left, batch[i]), append(again, batch[i].settlement)
		}
	}
	return left, again
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
