package delivery

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// place is a destination that has claimed deliveries.
type place struct {
	name    string
	claimed int
	newly   []claimedItem // route not asked for yet
	routing bool
	site    *site // where the last one went
}

// take sends claimed deliveries on their way.
func (r *run) take(found []queue.Delivery) {
	r.leases.add(found)
	r.mu.Lock()
	r.claimed += len(found)
	r.mu.Unlock()
	items := r.coalesce(r.share(found))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, item := range items {
		d := item.delivery
		p := r.places[d.Lease.Destination]
		if p == nil {
			p = &place{name: d.Lease.Destination}
			r.places[p.name] = p
		}
		p.claimed++
		p.newly = append(p.newly, item)
		if !p.routing {
			p.routing = true
			r.workers.Go(func() { r.direct(p) })
		}
	}
}

// direct finds where the deliveries of a place go, one after the other, and
// hands them to their sites. It is a goroutine of its own, so that a destination
// whose DNS is slow holds up nobody else.
func (r *run) direct(p *place) {
	for {
		r.mu.Lock()
		list := p.newly
		p.newly = nil
		if len(list) == 0 {
			p.routing = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		for _, item := range list {
			route, ok := r.route(p, item.delivery)
			switch {
			case ok && item.group != nil:
				item.group.add(route)
			case ok:
				r.enqueue(route)
			case item.group != nil:
				item.group.less()
			}
		}
	}
}

// route finds where a delivery goes. One whose time is over, or that has no
// route, is settled here, and not ok.
func (r *run) route(p *place, d *queue.Delivery) (found part, ok bool) {
	now := r.agent.clock.now()
	switch {
	case r.ending():
		r.giveBack(d)
		return part{}, false
	case d.Interrupted:
		r.end(d, local(&d.Message, MaybeTaken, "4.4.7", errInterrupted), false)
		return part{}, false
	case !r.expiry(d).After(now):
		r.end(d, r.expired(d), true)
		return part{}, false
	}
	if s, until := r.unroutable(p.name); s != nil {
		r.pause(s, d, until, false)
		return part{}, false
	}
	route, err := r.ask(r.work, d)
	if err != nil {
		r.noRoute(d, err)
		return part{}, false
	}
	r.routed(p.name)
	return part{delivery: d, route: route, asked: time.Now()}, true
}

// ask asks the router. A panic in it is an error like any other.
func (r *run) ask(ctx context.Context, d *queue.Delivery) (route mx.Route, err error) {
	err = errPanic
	r.agent.guard(func() { route, err = r.sender.route(ctx, d.Message.From, d.Lease.Destination) })
	if err != nil {
		r.sender.tracesOf(ctx).Route(d.Lease.Destination, route, err)
	}
	return route, err
}

// enqueue puts deliveries into their sites' queues, or keeps them back where the
// site is left alone or has enough.
func (r *run) enqueue(list ...part) {
	var back []surplus
	now := time.Now()
	r.mu.Lock()
	for _, p := range list {
		s := r.site(r.siteKey(&p.route))
		if at := r.places[p.delivery.Lease.Destination]; at != nil {
			at.site = s
		}
		s.coming = max(s.coming-1, 0)
		switch {
		case r.draining:
			back = append(back, surplus{part: p})
		case s.closed(now):
			back = append(back, surplus{part: p, site: s, until: s.until})
		case s.claimed >= s.ahead()+fewAhead:
			back = append(back, surplus{part: p, site: s, until: s.parkedUntil(now), parked: true})
		default:
			s.push(p)
		}
	}
	for i := range list {
		if at := r.places[list[i].delivery.Lease.Destination]; at != nil && at.site != nil {
			r.dispatch(at.site)
		}
	}
	r.mu.Unlock()
	for _, b := range back {
		switch {
		case b.site == nil:
			r.giveBack(b.delivery)
		case b.parked:
			r.park(b.site, b.delivery, b.until)
		default:
			r.pause(b.site, b.delivery, b.until, dependsOnSender(&b.route))
		}
	}
}

// surplus is a delivery that its site cannot have now.
type surplus struct {
	part
	site   *site
	until  time.Time
	parked bool // for want of room; else the site is left alone
}

// unroutable is what stands for a destination that has no route just now and is
// not to be asked about again yet; nil where it is to be asked about.
func (r *run) unroutable(destination string) (*site, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sites[noRouteKey(destination)]; s != nil && s.closed(time.Now()) {
		return s, s.until
	}
	return nil, time.Time{}
}

// noRoute settles a delivery with what the router found. Where that passes, the
// destination is left alone for a while.
func (r *run) noRoute(d *queue.Delivery, err error) {
	destination := d.Lease.Destination
	began := time.Now()
	report := r.walkless(d, err)
	if r.work.Err() != nil {
		r.giveBack(d)
		return
	}
	if e := report.Recipients[0].Err; e.Temporary() {
		r.mu.Lock()
		s := r.site(noRouteKey(destination))
		failures := s.failures + 1
		r.mu.Unlock()
		wait := r.siteDelay(failures, destination, e.Reply(), began)
		r.mu.Lock()
		s.fail(began, time.Now(), wait, e.Reply())
		r.mu.Unlock()
	}
	r.end(d, report, false)
}

// routed notes that a destination has a route again.
func (r *run) routed(destination string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sites[noRouteKey(destination)]; s != nil {
		r.revive(s, time.Now())
		r.tidy(s)
	}
}
