package delivery

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// handBack returns a delivery to the queue as it was.
func (r *run) handBack(p *part) {
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Gone(now, p.id) })
	r.settler.add(r.unchanged(p))
}

// unchanged is the outcome of a delivery that goes back as it was, to the place that
// it had.
func (r *run) unchanged(p *part) outcome {
	d := p.delivery
	return outcome{part: p, settlement: queue.Settlement{Lease: d.Lease, NotBefore: d.Due}}
}

// giveBack returns deliveries to the queue, to wait there, and lifts what they waited
// for. The caller holds r.mu.
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
	o := r.unchanged(p)
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
		// It waits by itself from here on: those behind it may have the same to be
		// told, and are looked at for that before anything holds them back.
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

// because is what is stored with mail that is kept back.
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

// warn adds what tells the sender of the delay of a delivery that waits, without
// charging it an attempt. now is the wall clock's.
func (r *run) warn(o *outcome, now time.Time) {
	d := o.part.delivery
	for i := range d.States {
		last := &d.States[i]
		reply := last.Reply
		if last.Attempts == 0 {
			reply = queue.Reply{Enhanced: "4.4.1", Text: attempt.ErrNoHost.Error()}
		}
		o.settlement.Results = append(o.settlement.Results, queue.Result{Recipient: last.Index, Reply: reply})
	}
	if r.agent.isLate(now, d) {
		fates := slices.Repeat([]reports.Fate{reports.Delayed}, len(d.States))
		r.agent.write(r.work, now, o, fates, r.expiry(d))
	}
	o.settlement.Results = nil
	o.settlement.Warned = true
}
