package delivery

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// askFor starts a lookup of a delivery's route on a goroutine of its destination, so
// that slow DNS for one destination does not delay the others. The caller holds r.mu.
func (r *run) askFor(p *part) {
	destination := p.delivery.Lease.Destination
	list, atWork := r.asking[destination]
	r.asking[destination] = append(list, p)
	if !atWork {
		r.workers.Go(func() { r.direct(destination) })
	}
}

// direct finds where the deliveries for a destination go, one after the other.
func (r *run) direct(destination string) {
	var list []*part
	for {
		r.mu.Lock()
		if list = r.asking[destination]; len(list) == 0 {
			delete(r.asking, destination)
			r.mu.Unlock()
			return
		}
		r.asking[destination] = list[:0:0]
		r.mu.Unlock()
		for _, p := range list {
			r.route(p)
		}
	}
}

// route finds the route of a delivery. A delivery without a route, or whose attempt was
// interrupted, is settled here.
func (r *run) route(p *part) {
	d := p.delivery
	if d.Interrupted {
		r.end(p, local(&d.Message, MaybeTaken, "4.4.7", errInterrupted))
		return
	}
	if r.ending() {
		r.handBack(p)
		return
	}
	began := time.Now()
	route, err := r.ask(r.work, p)
	if err != nil {
		p.dns = time.Since(began)
		r.noRoute(p, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.route, p.asked = route, time.Now()
	p.dns = p.asked.Sub(began)
	to := r.target(&p.route)
	r.noteSite(p.delivery.Lease.Destination, to.Site)
	if o := r.keepSuspended(p); o != nil {
		r.sched.Gone(p.asked, p.id)
		r.settler.add(*o)
		r.decide(p.asked)
		return
	}
	r.sched.Routed(p.asked, p.id, to)
	r.decide(p.asked)
}

// maxSites is of how many destinations it is remembered to which site their mail goes,
// for those who ask.
const maxSites = 20_000

// noteSite notes to which site a destination's mail goes. The caller holds r.mu.
func (r *run) noteSite(destination, site string) {
	if old, known := r.sites[destination]; known && old == site {
		return
	}
	if r.sites == nil || len(r.sites) >= maxSites {
		r.sites = make(map[string]string)
	}
	r.sites[destination] = site
}

// target converts a route to the form of the scheduler.
func (r *run) target(route *mx.Route) sched.Route {
	return sched.Route{Site: r.site(route), Join: joinKey(route), Own: dependsOnSender(route)}
}

// ask asks the router. A panic in it is an error like any other.
func (r *run) ask(ctx context.Context, p *part) (route mx.Route, err error) {
	d := p.delivery
	err = errPanic
	r.agent.guard(func() { route, err = r.sender.route(ctx, d.Message.From, d.Lease.Destination) })
	if err != nil {
		r.sender.tracesOf(ctx).Route(d.Lease.Destination, route, err)
	}
	return route, err
}

// noRoute settles a delivery with what the router found. If that passes, the
// destination is left alone for a while.
func (r *run) noRoute(p *part, err error) {
	d := p.delivery
	report := r.walkless(d, err, p.dns)
	if r.work.Err() != nil {
		r.handBack(p)
		return
	}
	e := report.Recipients[0].Err
	if !e.Temporary() {
		r.end(p, report)
		return
	}
	if c := r.dnsTrouble(err); c != sched.NoTrouble {
		r.inform(func(s *sched.Scheduler, now time.Time) { s.Stalled(now, p.id, c) })
		return
	}
	r.mu.Lock()
	failures := r.sched.Misses(d.Lease.Destination) + 1
	r.mu.Unlock()
	reply := e.Reply()
	wait := r.siteDelay(failures, d.Lease.Destination, reply, time.Now())
	o := r.conclude(p, report)
	said := waiting.Reason{Code: waiting.NoRoute, Since: r.agent.clock.Read().Wall, Text: saidBy(reply.Bounded())}
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Unroutable(now, p.id, wait, said.String()) })
	r.settler.add(o)
}

// walkless returns the report of a delivery that has no route.
func (r *run) walkless(d *queue.Delivery, err error, dns time.Duration) *Report {
	report := newReport(&d.Message)
	job := r.sender.job(r.work, &d.Message, &attempt.Options{Together: true})
	defer job.Release()
	job.Group()
	if walks := job.Walks(); len(walks) > 0 {
		walks[0].Asked(dns)
		walks[0].NoRoute(r.work, err)
	}
	new(results).report(report, job.Results())
	return report
}

// handBack returns a delivery to the queue as it was.
func (r *run) handBack(p *part) {
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Gone(now, p.id) })
	r.settler.add(unchanged(p))
}

// end settles a delivery that no host was asked about.
func (r *run) end(p *part, report *Report) {
	o := r.conclude(p, report)
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Gone(now, p.id) })
	r.settler.add(o)
}
