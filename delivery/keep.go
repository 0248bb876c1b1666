package delivery

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Mail for which its site has no room stays in the queue for so long.
const (
	minCrowded = time.Second
	maxCrowded = 10 * time.Minute
)

// giveBack returns a delivery to the queue as it was.
func (r *run) giveBack(d *queue.Delivery) {
	r.depart(nil, d)
	r.settler.add(outcome{delivery: d, settlement: queue.Settlement{Lease: d.Lease}})
}

// park returns a delivery to the queue because this agent has no room for it at
// its site, and passes over its destination's other mail too, until the time given
// or until the site has room. That is the agent's own affair: it is nowhere stored,
// other agents go on, and it ends with the run.
func (r *run) park(s *site, d *queue.Delivery, until time.Time) {
	r.keepBack(s, d, until, kept{parked: true}, "")
}

// pause returns a delivery to the queue because its site is left alone, and keeps
// its destination's other mail from every agent too until the time given. single
// keeps back no more than this delivery: other mail for the destination may go
// elsewhere.
func (r *run) pause(s *site, d *queue.Delivery, until time.Time, single bool) {
	r.mu.Lock()
	why := s.reason()
	r.mu.Unlock()
	r.keepBack(s, d, until, kept{single: single, paused: !single}, why)
}

// reason is why a site is left alone. The caller holds r.mu.
func (s *site) reason() string {
	switch {
	case s.paused:
		return "login refused"
	case s.last.Text != "":
		return s.last.Bounded().Text
	default:
		return "no host could be reached"
	}
}

// keepBack returns a delivery to the queue, and keeps back what how says: until
// the time given, or until the delivery expires or its sender must be told of the
// delay.
func (r *run) keepBack(s *site, d *queue.Delivery, until time.Time, how kept, why string) {
	now := r.agent.clock.now()
	until = now.Add(time.Until(until))
	o := outcome{delivery: d, settlement: queue.Settlement{Lease: d.Lease}}
	if r.warnDue(d, now) {
		// It waits by itself from here on: those behind it may have the same to be
		// told, and are looked at for that before anything holds them back.
		r.warn(&o, now)
		how = kept{single: true}
	}
	if at := r.deadline(d); at.Before(until) && at.After(now) {
		until = at
	}
	destination := d.Lease.Destination
	r.mu.Lock()
	known := s.kept[destination]
	if known.until.After(now) && known.until.Before(until) && !how.single {
		until = known.until
	}
	if s.kept == nil {
		s.kept = make(map[string]kept)
	}
	if len(s.kept) < maxKept {
		s.kept[destination] = kept{
			until: until, single: known.single || how.single, parked: known.parked || how.parked, paused: known.paused || how.paused,
		}
		o.keeper = s
	}
	r.mu.Unlock()
	if !how.single {
		o.postpone = &queue.Postponement{Destination: destination, Until: until, Reason: why}
		if how.parked {
			o.postpone.Owner = r.owner
		}
	}
	o.settlement.NotBefore = until
	r.depart(nil, d)
	r.settler.add(o)
}

// deadline is when a delivery must be looked at even if it cannot be sent.
func (r *run) deadline(d *queue.Delivery) time.Time {
	at := r.expiry(d)
	if warn := r.warning(d); !d.Warned && !warn.IsZero() && warn.Before(at) {
		return warn
	}
	return at
}

// warning is when the sender is to be told of the delay; zero is never.
func (r *run) warning(d *queue.Delivery) time.Time {
	warn := r.agent.current().Warn
	if warn < 0 {
		return time.Time{}
	}
	return d.Message.Arrived.Add(warn)
}

func (r *run) warnDue(d *queue.Delivery, now time.Time) bool {
	at := r.warning(d)
	return !d.Warned && !at.IsZero() && !at.After(now)
}

// depart takes a delivery out of the counts of its place, and its site where it
// has come to one.
func (r *run) depart(s *site, list ...*queue.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range list {
		p := r.places[d.Lease.Destination]
		if p.claimed--; p.claimed == 0 {
			delete(r.places, p.name)
		}
		if s != nil {
			s.claimed--
		}
	}
	if s == nil {
		return
	}
	if s.full() {
		return
	}
	if now := time.Now(); len(s.kept) > 0 && !s.closed(now) {
		r.refill(s, now)
	}
	if s.skipped {
		s.skipped = false
		r.room.set()
	}
}

// dependsOnSender reports whether other mail for the destination may have
// another route.
func dependsOnSender(route *mx.Route) bool {
	return route.BySender || route.Kind == mx.ViaSmartHost || route.Kind == mx.ViaFallback
}

// warn adds what tells the sender of the delay of a delivery that waits, without
// charging it an attempt.
func (r *run) warn(o *outcome, now time.Time) {
	d := o.delivery
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
