package sched

import "time"

// Claimed takes what a claim has found. The deliveries of one message stand
// together where they came together. more says that the queue has more that is due;
// else next is when something will be, zero where there is nothing.
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

// hold takes one delivery.
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

// Routed says where a delivery goes.
func (s *Scheduler) Routed(now time.Time, id ID, r Route) {
	m := s.items[id]
	if m == nil || m.state != routing {
		return
	}
	s.routeFound(now, id)
	if t := s.sites[noRouteKey(m.Destination)]; t != nil {
		s.revive(now, t)
		s.forgetSite(t)
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

// Gone says that the caller settles a delivery by itself: it has expired, has no
// route, or an attempt has decided about it.
func (s *Scheduler) Gone(now time.Time, id ID) {
	if m := s.items[id]; m != nil {
		s.takeOut(now, m)
	}
}

// Unroutable says that a delivery has no route for now, and that the caller settles
// it. Its destination is left alone for as long as wait says.
func (s *Scheduler) Unroutable(now time.Time, id ID, wait time.Duration, said string) {
	m := s.items[id]
	if m == nil {
		return
	}
	t := s.site(now, noRouteKey(m.Destination))
	t.said = said
	t.fail(now, now, wait)
	s.takeOut(now, m)
	s.used(t)
}

// Misses is how often in a row a destination had no route.
func (s *Scheduler) Misses(destination string) int {
	if t := s.sites[noRouteKey(destination)]; t != nil {
		return t.failures
	}
	return 0
}

// Stalled says that trouble of our own kept a delivery's route from being found. It
// is asked for again.
func (s *Scheduler) Stalled(now time.Time, id ID, c Cause) {
	m := s.items[id]
	if m == nil || m.state != routing {
		return
	}
	s.Troubled(now, c)
	s.probeFailed(now, id, 0)
	m.state = unrouted
	if s.drained {
		s.giveBack(now, m, Back{Why: Draining})
		return
	}
	s.unrouted = append(s.unrouted, id)
}

// Moved says that a delivery of a shipment has another route by now.
func (s *Scheduler) Moved(now time.Time, id ID, r Route) {
	m := s.items[id]
	if m == nil || m.state != begun {
		return
	}
	t := m.ship.site
	s.part(now, m)
	if k := t.kept[m.Destination]; k != nil {
		s.liftOne(t, k) // it goes elsewhere, too
		s.claims.again(now)
	}
	m.to, m.join, m.own = r.Site, r.Join, r.Own
	s.arrive(now, m)
	s.touch(now, m.place.site)
}

// KeptBack says that an attempt has decided nothing about a delivery because its
// site is left alone. It goes back without having been tried.
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

// Settled says that the queue has recorded what became of a delivery, or has lost
// it. If any of it is left, that is due again at the time given; zero is at once. The
// delivery may be one that the Scheduler was not told of.
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
