package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/trouble"
	"github.com/nexthop-mail/nexthop/queue"
)

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
		if s.late(&end) {
			s.aside = nil // given up as well
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

// settle records a batch. While the queue fails it tries again: settling twice is safe,
// and the mail stays in its place. Settlements that cannot be stored while others can
// are set aside. If the run ends before the queue stores anything, the batch is given up:
// its leases end with the run, and the mail is claimed again.
func (s *settler) settle(r *run, batch []outcome, list []queue.Settlement, end *time.Time) {
	pause := firstPause
	for {
		result, err := r.queue.Settle(context.WithoutCancel(r.work), r.agent.clock.Now(), list)
		r.heed(trouble.Settle, err)
		if errors.Is(err, queue.ErrClosed) {
			r.pauseFor(nil)
			r.inform((*sched.Scheduler).MailCame) // the claim that follows ends the run
			return
		}
		if r.pauseFor(err); err == nil {
			if batch, list = r.recorded(batch, result); len(batch) == 0 {
				return
			}
			continue // without what could not be made of it
		}
		if errors.Is(err, queue.ErrFailed) || s.late(end) {
			return
		}
		s.recess(pause)
		pause = min(2*pause, lastPause)
	}
}

// pauseFor prevents all work from beginning while the queue cannot store.
func (r *run) pauseFor(err error) {
	switch {
	case err != nil: // each time, for there may have been other trouble that is over now
		r.settler.failing = true
		r.inform(func(s *sched.Scheduler, now time.Time) { s.Troubled(now, sched.StoreFails) })
	case r.settler.failing:
		r.settler.failing = false
		r.inform(func(s *sched.Scheduler, now time.Time) { s.Recovered(now, sched.StoreFails) })
	}
}

// postpone changes postponements in the queue, and reports whether any was lifted. If
// the queue does not implement Postponer, each delivery waits by itself.
func (r *run) postpone(w *work) (lifted bool) {
	if len(w.change) == 0 {
		return false
	}
	err := queue.Postpone(context.WithoutCancel(r.work), r.queue, r.agent.clock.Now(), w.change...)
	r.heed(trouble.Postpone, err)
	for i := range w.outcomes {
		if o := &w.outcomes[i]; o.postpone != nil && err != nil {
			o.settlement.NotBefore, o.postpone = o.alone, nil
		}
	}
	return slices.ContainsFunc(w.change, func(p queue.Postponement) bool { return p.Until.IsZero() })
}

// unpark lifts all that was parked.
func (r *run) unpark() {
	_ = queue.Postpone(context.WithoutCancel(r.work), r.queue, r.agent.clock.Now(), queue.Postponement{Owner: r.owner})
}

// done takes a delivery out of those that are claimed. settled says that the queue
// has its outcome. The caller holds r.mu.
func (r *run) done(now time.Time, o *outcome, settled bool) {
	r.leases.Release(&o.part.lease)
	at, ever := o.again()
	ever = ever && settled
	if ever && !at.IsZero() {
		at = now.Add(at.Sub(r.agent.clock.Now()))
	}
	if settled && len(o.settlement.Create) > 0 { // there is a report to send, or those who failed are left for want of room
		at, ever = time.Time{}, true
	}
	r.sched.Settled(now, o.part.id, ever, at)
	delete(r.parts, o.part.id)
	if r.untilIdle && len(r.parts) == 0 {
		r.stir.Set()
	}
}

// recorded passes on the events of recorded settlements, and returns those that must be
// tried again at once in another form. Settlements that could not be stored are set
// aside, with an event.
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
			done = append(done, o)
			r.agent.tell(o, &result[i])
		case errors.As(err, &bad) && len(o.settlement.Create) > 0:
			// An invalid report must not prevent the settlement.
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
	now := time.Now()
	for _, o := range done {
		r.done(now, o, true)
	}
	r.decide(now)
	return left, again
}
