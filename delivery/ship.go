package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// freshRoute is how old a route may be that an attempt goes by.
const freshRoute = 2 * time.Second

// ship makes one attempt at a shipment, and settles or gives back every delivery
// of it.
func (r *run) ship(s *site, sh *shipment) {
	if !r.refresh(s, sh) {
		return
	}
	for len(sh.parts) > 0 {
		group := r.group(sh)
		began := time.Now()
		report, cut := r.attempt(s, group)
		r.learn(s, group, report, began)
		lo := 0
		for i := range group.parts {
			d := group.parts[i].delivery
			hi := lo + len(d.Message.Recipients)
			r.land(s, &group.parts[i], &Report{Recipients: report.Recipients[lo:hi:hi]}, cut)
			lo = hi
		}
	}
}

// refresh asks for the routes anew that were found too long ago. A delivery that
// now goes elsewhere, or nowhere, leaves the shipment. It reports whether any is
// left.
func (r *run) refresh(s *site, sh *shipment) bool {
	if time.Since(sh.parts[0].asked) < freshRoute {
		return true
	}
	sh.parts = slices.DeleteFunc(sh.parts, func(p part) bool {
		route, err := r.ask(r.work, p.delivery)
		if err == nil {
			p.route, p.asked = route, time.Now()
		}
		if err == nil && r.sameSite(s, &route) {
			return false
		}
		r.leave(s, p.delivery.Lease.Destination)
		if err != nil {
			r.noRoute(p.delivery, err)
		} else {
			r.enqueue(p)
		}
		return true
	})
	return len(sh.parts) > 0
}

func (r *run) sameSite(s *site, route *mx.Route) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.siteKey(route) == s.key
}

// group takes those deliveries out of the shipment that may share a transaction:
// all of them, unless a policy asks different things for different destinations
// (SMTP-43, QUE-12).
func (r *run) group(sh *shipment) *shipment {
	group := &shipment{}
	if len(sh.parts) == 1 || r.sender.Policy == nil {
		*group, sh.parts = *sh, nil
		return group
	}
	var first []session.Policy
	sh.parts = slices.DeleteFunc(sh.parts, func(p part) bool {
		policies, ok := r.policies(&p.route)
		switch {
		case len(group.parts) == 0:
			first = policies
		case !ok || !slices.EqualFunc(first, policies, sameProtection):
			return false
		}
		group.add(p)
		return true
	})
	return group
}

// policies are what the hosts of a route must give, in an order of their own.
// Not ok where somebody cannot say.
func (r *run) policies(route *mx.Route) (list []session.Policy, ok bool) {
	hosts := slices.Clone(route.Hosts)
	slices.SortStableFunc(hosts, func(a, b mx.Host) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		default:
			return int(a.Port) - int(b.Port)
		}
	})
	for i := range hosts {
		var p session.Policy
		err := errPanic
		r.agent.guard(func() { p, err = r.sender.sessions.PolicyFor(r.work, route, &hosts[i]) })
		if err != nil {
			return nil, false
		}
		list = append(list, p)
	}
	return list, true
}

// sameProtection reports whether a session made under one policy serves the
// other.
func sameProtection(a, b session.Policy) bool { return a.Serves(&b) }

// attempt sends a group. cut is where the agent broke it off.
func (r *run) attempt(s *site, group *shipment) (report *Report, cut bool) {
	first := group.parts[0].delivery
	m := group.message(nil)
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
	if m.Content, err = r.queue.Open(r.work, first.Message.ID); err != nil {
		return local(&m, NotNow, "4.3.0", err), r.work.Err() != nil
	}
	report = newReport(&m)
	job := r.sender.job(r.work, &m, &attempt.Options{
		Together: true, Gate: r.gate, Site: s.key, Spread: r.spread(s), Recipients: r.limits().Recipients,
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
	if refused := job.Accept(); refused == nil && len(job.Walks()) > 0 {
		w := &job.Walks()[0]
		r.sender.tracesOf(r.work).Route(w.Domain(), group.parts[0].route, nil)
		w.Along(r.work, &group.parts[0].route)
	}
	new(results).report(report, job.Results())
	return report, r.work.Err() != nil
}

// mayCommit is why the octets must not be sent that would make a host take the
// message, nil where they may: the leases still hold.
func (r *run) mayCommit(group *shipment) error {
	if r.work.Err() != nil {
		return context.Cause(r.work)
	}
	now := r.agent.clock.now()
	for i := range group.parts {
		if !r.leases.valid(&group.parts[i].delivery.Lease, now) {
			return errLeaseLost
		}
	}
	return nil
}

// mark tells the queue that a message is about to be sent that may be sent at most
// once. Where that cannot be recorded nothing is sent.
func (r *run) mark(group *shipment) error {
	if group.parts[0].delivery.Message.Guarantee != queue.AtMostOnce {
		return nil
	}
	leases := make([]queue.Lease, len(group.parts))
	for i := range group.parts {
		leases[i] = group.parts[i].delivery.Lease
	}
	err := r.queue.Mark(r.work, leases)
	if r.work.Err() == nil {
		r.heed(marking, err)
	}
	switch {
	case errors.Is(err, queue.ErrLeaseLost):
		return errLeaseLost
	case err != nil:
		return fmt.Errorf("%w: %w", errUnmarked, err)
	default:
		return nil
	}
}

// spread puts equal hosts in the order in which the site should try them.
func (r *run) spread(s *site) func([]mx.Host) {
	r.mu.Lock()
	size := s.limit()
	r.mu.Unlock()
	return func(hosts []mx.Host) {
		r.gate.Spread(hosts, s.key, func(equals []mx.Host) int {
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

// land settles a delivery with what an attempt found, or gives it back where the
// attempt decided nothing and nothing was wrong with it.
func (r *run) land(s *site, p *part, report *Report, cut bool) {
	d := p.delivery
	why := r.lessonOf(s, report)
	switch {
	case why == remembered && !cut, why == refusedLogin:
		r.uncount(s)
		r.later(s, p)
	case cut && undecided(report), r.leases.lost(&d.Lease) && undecided(report):
		r.depart(s, d)
		r.settler.add(outcome{delivery: d, settlement: queue.Settlement{Lease: d.Lease}})
	default:
		r.depart(s, d)
		r.settler.add(r.conclude(d, report, false))
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

// uncount takes a delivery out of what its site has, before it is kept back.
func (r *run) uncount(s *site) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.claimed--
}

// later returns a delivery to the queue until its site is tried again, or has room.
func (r *run) later(s *site, p *part) {
	now := time.Now()
	r.mu.Lock()
	until, closed := s.until, s.closed(now)
	if !closed {
		until = s.parkedUntil(now)
	}
	r.mu.Unlock()
	if closed {
		r.pause(s, p.delivery, until, dependsOnSender(&p.route))
	} else {
		r.park(s, p.delivery, until)
	}
}
