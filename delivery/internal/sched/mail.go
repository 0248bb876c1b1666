package sched

import "time"

// Claimed takes the deliveries that a claim has found. Those of one message must be next
// to each other. If more is set, the queue has more mail that is due; otherwise next is
// when it will have some, or zero if it has no other mail.
func (s *Scheduler) Claimed(now time.Time, list []Mail, more bool, next time.Time) {
	s.Recovered(now, QueueFails)
	var g *party
	for i := range list {
		if i == 0 || list[i].Message != list[i-1].Message {
			g = nil
			if i+1 < len(list) && list[i+1].Message == list[i].Message {
				g = &party{until: now.Add(gatherTime)}
				s.parties = append(s.parties, g)
			}
		}
		s.hold(now, &list[i], g)
	}
	s.answered(now, len(list), more, next)
}

// hold takes one delivery of a claim.
func (s *Scheduler) hold(now time.Time, mail *Mail, g *party) {
	m := s.newItem()
	m.Mail, m.state, m.party = *mail, unrouted, g
	m.rank = mail.Due.Add(-time.Duration(mail.Priority) * s.settings.PriorityStep)
	m.tenant = s.tenant(mail.Tenant)
	m.tenant.held++
	s.held++
	p := s.places[mail.Destination]
	if p == nil {
		p = &place{name: mail.Destination}
		p.index = len(s.placeList)
		s.placeList = append(s.placeList, p)
		s.places[p.name] = p
	}
	p.held++
	m.place = p
	s.items[m.ID] = m
	if g != nil {
		g.left++
	}
	switch t := s.sites[noRouteKey(p.name)]; {
	case s.drained:
		s.giveBack(now, m, Back{Why: Draining})
	case t != nil && t.closed(now):
		s.keep(now, t, m, Back{Why: NoRoute, Whole: true, Until: t.until, Said: t.said})
	default:
		s.unrouted = append(s.unrouted, m.ID)
		return
	}
	s.notToCome(now, m)
}

func (s *Scheduler) newItem() *item {
	if last := len(s.spareItems) - 1; last >= 0 {
		m := s.spareItems[last]
		s.spareItems = s.spareItems[:last]
		return m
	}
	return &item{}
}

// Routed tells where a delivery goes.
func (s *Scheduler) Routed(now time.Time, id ID, r Route) {
	m := s.items[id]
	if m == nil || m.state != routing {
		return
	}
	s.routeFound(now, id)
	if t := s.sites[noRouteKey(m.Destination)]; t != nil {
		s.revive(now, t)
		s.forgetSite(now, t)
	}
	m.to, m.join, m.own = r.Site, r.Join, r.Own
	g := m.party
	if g == nil || g.done {
		s.arrive(now, m)
		s.touch(now, m.place.site)
		return
	}
	m.state = gathering
	g.ready = append(g.ready, m)
	s.expectLess(now, g)
}

// Gone tells that the caller settles a delivery: it has expired, has no route, or an
// attempt has decided about it.
func (s *Scheduler) Gone(now time.Time, id ID) {
	if m := s.items[id]; m != nil {
		s.takeOut(now, m)
	}
}

// Unroutable tells that a delivery has no route for now, and that the caller settles
// it. Its destination is left alone for as long as wait says.
func (s *Scheduler) Unroutable(now time.Time, id ID, wait time.Duration, said string) {
	m := s.items[id]
	if m == nil {
		return
	}
	t := s.site(now, noRouteKey(m.Destination))
	t.said = said
	t.fail(now, now, wait)
	s.used(t)
	s.takeOut(now, m) // others of its message may go to new sites for which this one is forgotten
}

// Misses returns how often in a row a destination had no route.
func (s *Scheduler) Misses(destination string) int {
	if t := s.sites[noRouteKey(destination)]; t != nil {
		return t.failures
	}
	return 0
}

// Stalled tells that trouble of our own prevented the route of a delivery from being
// found, or from being found anew when its attempt was about to be made. The route is asked
// for again.
func (s *Scheduler) Stalled(now time.Time, id ID, c Cause) {
	m := s.items[id]
	if m == nil || m.state != routing && m.state != begun {
		return
	}
	s.Troubled(now, c)
	s.probeFailed(now, id)
	if m.state == begun {
		s.part(now, m)
	}
	m.state = unrouted
	if s.drained {
		s.giveBack(now, m, Back{Why: Draining})
		return
	}
	s.unrouted = append(s.unrouted, id)
}

// Moved tells that a delivery of a shipment has another route by now.
func (s *Scheduler) Moved(now time.Time, id ID, r Route) {
	m := s.items[id]
	if m == nil || m.state != begun {
		return
	}
	t := m.ship.site
	s.part(now, m)
	if k := t.kept[m.Destination]; k != nil {
		s.liftOne(t, k) // the other mail of the destination goes elsewhere as well
		s.claims.again(now)
	}
	m.to, m.join, m.own = r.Site, r.Join, r.Own
	s.arrive(now, m)
	s.touch(now, m.place.site)
}

// KeptBack tells that an attempt has decided nothing about a delivery because its
// site is left alone. The delivery goes back without having been tried.
func (s *Scheduler) KeptBack(now time.Time, id ID) {
	m := s.items[id]
	if m == nil || m.state != begun {
		return
	}
	t := m.ship.site
	if t.closed(now) {
		s.keepAt(now, t, m)
	} else {
		s.parkAt(now, t, m)
	}
}

// Settled tells that the queue has recorded what became of a delivery, or has lost it.
// If left is set, recipients remain that are due again at the given time, or at once if
// it is zero. The Scheduler need not have been told of the delivery before.
func (s *Scheduler) Settled(now time.Time, id ID, left bool, due time.Time) {
	if left {
		s.claims.expect(now, due)
	}
	m := s.items[id]
	if m == nil {
		return
	}
	s.takeOut(now, m)
	delete(s.items, id)
	s.held--
	m.tenant.held--
	s.released(now, m.tenant)
	s.forgetTenant(m.tenant)
	*m = item{}
	s.spareItems = append(s.spareItems, m)
}
