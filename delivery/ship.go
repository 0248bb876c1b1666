package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/internal/trouble"
	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// freshRoute is how old a route may be that an attempt goes by.
const freshRoute = 2 * time.Second

// ship makes the attempts at a shipment, and settles or returns all its deliveries. It
// returns the next shipment, or nil if there is none.
func (r *run) ship(sh *shipment) (next *shipment) {
	r.refresh(sh)
	sh.parts = r.holdBack(sh.parts)
	if len(sh.parts) == 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		now := time.Now()
		r.sched.Ended(now, sh.ship)
		return r.nextShipment(now)
	}
	for len(sh.parts) > 0 {
		group := r.group(sh)
		began := time.Now()
		report, cut := r.attempt(sh, group)
		next = r.landed(sh, group, report, r.lessonOf(sh, group, report, began), cut)
	}
	return next
}

// landed notes what an attempt has taught, and settles or gives back its deliveries.
// With the last of the shipment it returns the shipment that is next.
func (r *run) landed(sh *shipment, group []*part, report *Report, l sched.Lesson, cut bool) (next *shipment) {
	var (
		room     [1]outcome
		outcomes = room[:0]
		kept     []*part
	)
	var hasLost func(*part) bool
	lost := false
	if len(group) > 1 {
		hasLost = r.hasLost()
		lost = slices.ContainsFunc(group, hasLost)
	}
	lo := 0
	for _, p := range group {
		hi := lo + len(p.delivery.Message.Recipients)
		own := &Report{Recipients: report.Recipients[lo:hi:hi]}
		if lo = hi; l.Kind == sched.Ours || l.Again {
			continue // it waits as before, and goes back if the agent ends
		}
		if r.isKept(sh, own, cut) {
			kept = append(kept, p)
			continue
		}
		if !cut && r.mayGoAfterAll(p, own) {
			sh.parts = append(sh.parts, p)
			continue
		}
		if lost && !cut && !hasLost(p) && undecided(own) && unsent(own.Recipients[0].Err) {
			sh.parts = append(sh.parts, p) // at once, without those that stood in its way
			continue
		}
		outcomes = append(outcomes, r.landing(p, own, cut))
	}
	r.mu.Lock()
	now := time.Now()
	notice := r.sched.Learned(now, sh.ship, l)
	until := r.sched.Until(sh.ship)
	for _, p := range kept {
		r.sched.KeptBack(now, p.id)
	}
	for i := range outcomes {
		r.sched.Gone(now, outcomes[i].part.id)
	}
	if len(sh.parts) == 0 {
		r.sched.Ended(now, sh.ship)
		next = r.nextShipment(now)
	}
	r.mu.Unlock()
	r.settler.add(outcomes...)
	r.alarm(notice, group[0], report, until)
	return next
}

// isKept reports whether no host was asked about a delivery because its site is being
// left alone.
func (r *run) isKept(sh *shipment, report *Report, cut bool) bool {
	switch kindOf(report) {
	case sched.Remembered:
		return !cut
	case sched.LoginRefused:
		return r.refusal(sh.site, report) == sched.LoginRefused
	default:
		return false
	}
}

// landing is the outcome of a delivery that an attempt was made at. If the attempt
// was broken off before it decided anything the delivery goes back as it was.
func (r *run) landing(p *part, report *Report, cut bool) outcome {
	if undecided(report) && (cut || r.leases.Lost(&p.lease)) {
		return unchanged(p)
	}
	return r.conclude(p, report)
}

// refresh asks for the routes anew that were found too long ago. A delivery that
// now goes elsewhere, or nowhere, leaves the shipment.
func (r *run) refresh(sh *shipment) {
	if age.Since(sh.parts[0].asked) < freshRoute {
		return
	}
	sh.parts = slices.DeleteFunc(sh.parts, func(p *part) bool {
		route, err := r.ask(r.work, p)
		if err != nil {
			r.noRoute(p, err)
			return true
		}
		p.route, p.asked = route, time.Now()
		to := r.target(&route)
		if to.Site == sh.site {
			return false
		}
		r.inform(func(s *sched.Scheduler, now time.Time) { s.Moved(now, p.id, to) })
		return true
	})
}

// holdBack settles deliveries that are suspended, before they begin, and returns the
// others.
func (r *run) holdBack(list []*part) []*part {
	return slices.DeleteFunc(list, func(p *part) bool {
		o := r.keepSuspended(p)
		if o == nil {
			return false
		}
		r.inform(func(s *sched.Scheduler, now time.Time) { s.Gone(now, p.id) })
		r.settler.add(*o)
		return true
	})
}

// group takes those deliveries out of the shipment that may share a transaction:
// all of them, unless a policy asks different things for different destinations
// (SMTP-43, QUE-12), or their routes have changed or lead to other addresses.
func (r *run) group(sh *shipment) (group []*part) {
	if len(sh.parts) == 1 {
		group, sh.parts = sh.parts, nil
		return group
	}
	var first []session.Policy
	var hosts []mx.Host
	var join string
	sh.parts = slices.DeleteFunc(slices.Clone(sh.parts), func(p *part) bool {
		key := joinKey(&p.route)
		var policies []session.Policy
		ok := true
		if r.sender.Policy != nil {
			policies, ok = r.policies(&p.route)
		}
		switch {
		case len(group) == 0:
			first, join, hosts = policies, key, p.route.Hosts
		case !ok || key == "" || key != join || !slices.EqualFunc(first, policies, sameProtection),
			!sameAddresses(hosts, p.route.Hosts):
			return false
		}
		group = append(group, p)
		return true
	})
	return group
}

// policies returns the policies of the hosts of a route. ok is false if one of them is
// not known.
func (r *run) policies(route *mx.Route) (list []session.Policy, ok bool) {
	r.agent.guard(func() { list, ok = r.sender.policies(r.work, route) })
	return list, ok
}

// attempt sends a group. cut is if the agent broke it off.
func (r *run) attempt(sh *shipment, group []*part) (report *Report, cut bool) {
	m := messageOf(group, nil)
	committed := false
	defer func() {
		if v := recover(); v != nil {
			r.agent.panicked(v)
			verdict := NotNow
			if committed {
				verdict = MaybeTaken
			}
			report, cut = local(&m, verdict, "4.3.0", errPanic), false
		}
	}()
	var err error
	if m.Content, err = r.open(m.ID); err != nil {
		return local(&m, NotNow, "4.3.0", err), r.work.Err() != nil
	}
	report = newReport(&m)
	job := r.sender.job(r.work, &m, &attempt.Options{
		Together: true, Ready: r.agent.fresh.Take(m.ID), Gate: r.gate, Site: sh.site, Spread: r.spread(sh),
		Commit: func() error {
			err := r.mayCommit(group)
			if err == nil && !committed {
				err = r.mark(group)
			}
			committed = committed || err == nil
			return err
		},
	})
	defer job.Release()
	if refused := job.Accept(r.work); refused == nil {
		w := &job.Walks()[0]
		r.sender.tracesOf(r.work).Route(w.Domain(), group[0].route, nil)
		w.Asked(group[0].dns)
		w.Along(r.work, &group[0].route)
	}
	new(results).report(report, job.Results())
	return report, r.work.Err() != nil
}

// hasLost returns a function that reports whether a delivery now belongs to another
// agent.
func (r *run) hasLost() func(*part) bool {
	now := r.latest()
	return func(p *part) bool { return !r.leases.Valid(&p.lease, now) }
}

// open opens a message's content. If the queue itself fails, and not only for this
// message, no attempt is charged.
func (r *run) open(id string) (queue.Content, error) {
	c, err := r.queue.Open(r.work, id)
	switch {
	case errors.Is(err, queue.ErrDamaged), errors.Is(err, queue.ErrNotFound):
		return nil, err
	case r.work.Err() == nil:
		r.heed(trouble.Open, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnread, err)
	}
	return c, nil
}

// mayCommit is why the octets must not be sent that would make a host take the
// message, nil if they may: the leases still hold.
func (r *run) mayCommit(parts []*part) error {
	if r.work.Err() != nil {
		return context.Cause(r.work)
	}
	if slices.ContainsFunc(parts, r.hasLost()) {
		return errLeaseLost
	}
	return nil
}

// mark tells the queue that a message that may be sent at most once is about to be
// sent. If that cannot be recorded, nothing is sent.
func (r *run) mark(parts []*part) error {
	if parts[0].delivery.Message.Guarantee != queue.AtMostOnce {
		return nil
	}
	leases := make([]queue.Lease, len(parts))
	for i := range parts {
		leases[i] = parts[i].delivery.Lease
	}
	err := r.queue.Mark(r.work, leases)
	if r.work.Err() == nil {
		r.heed(trouble.Mark, err)
	}
	switch {
	case errors.Is(err, queue.ErrLeaseLost):
		r.renew(r.work, leases, r.agent.leaseLength()) // which says whose it is
		return errLeaseLost
	case err != nil:
		return fmt.Errorf("%w: %w", errUnmarked, err)
	default:
		return nil
	}
}

// spread puts equal hosts in the order in which the site should try them.
func (r *run) spread(sh *shipment) func([]mx.Host) {
	return func(hosts []mx.Host) {
		r.mu.Lock()
		size := r.sched.Window(sh.ship)
		r.mu.Unlock()
		r.gate.Spread(hosts, sh.site, func(equals []mx.Host) int {
			alive := 0
			for i := range equals {
				if r.sender.sessions.Reachable(&equals[i], time.Now()) {
					alive++
				}
			}
			return (size + max(alive, 1) - 1) / max(alive, 1)
		})
	}
}

// undecided reports whether no host has decided about any recipient.
func undecided(report *Report) bool {
	for i := range report.Recipients {
		rr := &report.Recipients[i]
		if rr.Outcome != queue.Deferred || rr.Err.Replied() {
			return false
		}
	}
	return true
}

// mayGoAfterAll reports whether a delivery that a policy holds back, and whose time is
// over, must be tried once more because its policy has changed since it was looked up
// (RFC 8461 section 5.1).
func (r *run) mayGoAfterAll(p *part, report *Report) bool {
	source, ok := r.sender.Policy.(PolicyRefresher)
	if !ok || p.policyLookedAt {
		return false
	}
	for i := range report.Recipients {
		rr := &report.Recipients[i]
		for j := range rr.Attempts {
			d := rr.Attempts[j].Decision
			if rr.Outcome != queue.Deferred || d == nil || d.Accepted {
				continue
			}
			if r.expiry(p.delivery).After(r.agent.clock.Read().Wall) {
				return false
			}
			p.policyLookedAt = true
			changed := false
			r.agent.guard(func() { changed = source.RefreshTLS(r.work, d) })
			if changed {
				return true
			}
		}
	}
	return false
}
