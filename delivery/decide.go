package delivery

import (
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/trouble"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// decide does what the scheduler says. The caller holds r.mu.
func (r *run) decide(now time.Time) {
	if sh := r.nextShipment(now); sh != nil {
		r.workers.Go(func() { r.attend(sh) })
	}
}

// nextShipment carries out the scheduler's decisions, but leaves one attempt to the
// caller, who holds r.mu. It returns nil if there is none.
func (r *run) nextShipment(now time.Time) (mine *shipment) {
	out := &r.out
	r.sched.Stop(now, !r.agent.events.Room())
	r.sched.Decide(now, out)
	for _, id := range out.Route {
		r.askFor(r.parts[id])
	}
	for i := range out.Begin {
		sh := r.shipment(&out.Begin[i])
		if mine == nil {
			mine = sh
			continue
		}
		r.workers.Go(func() { r.attend(sh) })
	}
	r.giveBack(now, out.Back, out.Lift)
	if out.ToClaim {
		claim := out.Claim
		r.claim = &claim
		r.stir.Set()
	}
	for _, n := range out.Trouble {
		r.tellTrouble(n)
	}
	r.arm(now, out.Wake)
	return mine
}

func (r *run) shipment(b *sched.Begin) *shipment {
	sh := &shipment{ship: b.Ship, site: b.Site}
	if len(b.Mail) == 1 {
		sh.parts = sh.one[:0]
	}
	for _, id := range b.Mail {
		sh.parts = append(sh.parts, r.parts[id])
	}
	return sh
}

// attend makes attempts as long as there are any to make.
func (r *run) attend(sh *shipment) {
	for sh != nil {
		sh = r.ship(sh)
	}
}

// arm has the scheduler called at a time; zero is never. A time that is armed for
// sooner stays: the call will be in vain, and costs less than to change it. The
// caller holds r.mu.
func (r *run) arm(now, at time.Time) {
	if at.IsZero() || r.ended || !r.armed.IsZero() && !at.Before(r.armed) {
		return
	}
	r.armed = at
	if r.timer == nil {
		r.timer = time.AfterFunc(at.Sub(now), r.wakeUp)
		return
	}
	r.timer.Reset(at.Sub(now))
}

func (r *run) wakeUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = time.Time{}
	if !r.ended {
		r.decide(time.Now())
	}
}

func (r *run) stopTimer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
}

// ending reports whether no more deliveries may begin.
func (r *run) ending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// beginNoMore returns deliveries that have not begun, and those that are claimed later.
func (r *run) beginNoMore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	now := time.Now()
	r.sched.Drain(now)
	r.decide(now)
}

// inform tells the scheduler something, and carries out its decisions.
func (r *run) inform(what func(s *sched.Scheduler, now time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	what(r.sched, now)
	r.decide(now)
}

// needShares says that a limit may need another share.
func (r *run) needShares() {
	if r.shares != nil && r.agent.current().rules.shared() {
		r.demand.Set()
	}
}

// reshare has everything go by new shares of limits.
func (r *run) reshare() {
	r.gate.Wake()
	if r.shares.Lessened() {
		r.sender.sessions.EndOver()
	}
	r.inform((*sched.Scheduler).Reshare)
}

// heard continues the work that waited for events to be passed on.
func (r *run) heard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decide(time.Now())
}

// withdraw settles the deliveries that are claimed, are in no attempt, and get an
// outcome from the given function.
func (r *run) withdraw(outcomeOf func(*part) *outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	var list []outcome
	for id, p := range r.parts {
		if !r.sched.Idle(id) {
			continue // its route may be changing, too
		}
		if o := outcomeOf(p); o != nil && r.sched.Withdraw(now, id) {
			list = append(list, *o)
		}
	}
	r.settler.add(list...)
	r.decide(now)
}

// forgiveAll forgets the failures of all hosts.
func (r *run) forgiveAll() {
	r.sender.sessions.Memory.Clear()
	r.inform((*sched.Scheduler).FlushAll)
}

// giveBack returns deliveries to the queue to wait there, and lifts postponements. The
// caller holds r.mu.
func (r *run) giveBack(now time.Time, list []sched.Back, lifts []sched.Lift) {
	if len(list)+len(lifts) == 0 {
		return
	}
	at := r.agent.clock.Read()
	outcomes := make([]outcome, 0, len(list))
	var change []queue.Postponement
	var flush []queue.Selection
	for i := range list {
		b := &list[i]
		o := r.backOutcome(r.parts[b.ID], b, now, at)
		if o.postpone != nil {
			change = append(change, *o.postpone)
		}
		outcomes = append(outcomes, o)
	}
	for _, l := range lifts {
		switch {
		case l.Each:
			flush = append(flush, queue.Selection{Destination: l.Destination})
		case l.Parked:
			change = append(change, queue.Postponement{Destination: l.Destination, Owner: r.owner})
		default:
			change = append(change, queue.Postponement{Destination: l.Destination})
		}
	}
	r.settler.change(outcomes, change, flush)
}

// backOutcome is the outcome of a delivery that goes back to wait. now and at are
// the same moment, on the scheduler's clock and on the agent's.
func (r *run) backOutcome(p *part, b *sched.Back, now time.Time, at clock.Time) outcome {
	o := unchanged(p)
	if b.Why == sched.Draining {
		return o
	}
	d := p.delivery
	until := at.Now.Add(b.Until.Sub(now))
	switch {
	case b.Why != sched.Parked && !r.expiry(d).After(at.Wall):
		// It would wait past its time for a site that is tried without it.
		o.expired = true
		return o
	case r.warnDue(d, at.Wall):
		// It waits by itself from here on. Other deliveries after it may also need a
		// report of delay, and are checked for that before they are held back.
		o.warn, o.settlement.NotBefore = true, until
		o.settlement.Reason = because(b)
		return o
	case !b.Whole:
		o.settlement.NotBefore = until
		o.settlement.Reason = because(b)
		return o
	}
	o.postpone = &queue.Postponement{Destination: d.Lease.Destination, Until: until, Reason: b.Said}
	o.alone = until
	if b.Why == sched.Parked {
		o.postpone.Owner, o.postpone.Reason = r.owner, ""
		o.alone = at.Now.Add(b.Likely.Sub(now))
	} else {
		o.postpone.Reason = because(b)
		o.settlement.Reason = o.postpone.Reason // where the queue cannot postpone
	}
	return o
}

// because returns the reason to store with mail that is held back.
func because(b *sched.Back) string {
	switch {
	case b.Why == sched.Parked:
		return ""
	case b.Said != "":
		return b.Said
	case b.Why == sched.Refused:
		return waiting.Reason{Code: waiting.LoginRefused}.String()
	case b.Why == sched.NoRoute:
		return waiting.Reason{Code: waiting.NoRoute}.String()
	default:
		return waiting.Reason{Code: waiting.SiteDown, Text: attempt.ErrNoHost.Error()}.String()
	}
}

// tellTrouble tells of trouble of our own that is not the queue's, once when it
// begins. The caller holds r.mu.
func (r *run) tellTrouble(n sched.TroubleNotice) {
	if n.Cause == sched.QueueFails || n.Cause == sched.StoreFails {
		return // heed tells
	}
	if n.Over {
		r.trouble.Works(trouble.Other)
		if n.Cause == sched.NetworkFails {
			r.sender.sessions.Memory.Clear() // failures in the meantime mean nothing
		}
		return
	}
	err := errorOf(n.Cause)
	r.trouble.Failed(trouble.Other, err)
	r.agent.note(troubleEvent(err))
}

// heed handles the result of a call of the queue: trouble is reported once until it is
// over, and a queue that has failed for good ends the run.
func (r *run) heed(what trouble.Call, err error) {
	switch {
	case err == nil:
		r.trouble.Works(what)
		return
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrLeaseLost):
		return
	}
	if r.trouble.Failed(what, err) {
		r.agent.note(troubleEvent(err))
	}
	if errors.Is(err, queue.ErrFailed) {
		r.giveUp(err)
	}
}

// giveUp ends the run because its queue has failed for good: results could no longer be
// recorded.
func (r *run) giveUp(cause error) {
	r.mu.Lock()
	first := r.failure == nil
	if first {
		r.failure = cause
	}
	r.mu.Unlock()
	if first {
		r.cut()
		r.stir.Set()
	}
}

// failed is why the run ends by itself, nil if it does not.
func (r *run) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}
