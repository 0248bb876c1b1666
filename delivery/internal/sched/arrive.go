package sched

import "time"

// gatherTime is how long the deliveries of a message wait for each other's routes.
const gatherTime = 20 * time.Millisecond

// expectLess notes that a party waits for one route less.
func (s *Scheduler) expectLess(now time.Time, g *party) {
	if g.left--; g.left == 0 {
		s.release(now, g)
	}
}

// notToCome notes that a delivery will have no route for which others of its message
// would wait.
func (s *Scheduler) notToCome(now time.Time, m *item) {
	if m.party != nil && !m.party.done {
		s.expectLess(now, m.party)
	}
}

// takeOut removes a delivery that the caller settles.
func (s *Scheduler) takeOut(now time.Time, m *item) {
	expected := m.state < gathering
	s.leave(now, m)
	if expected {
		s.notToCome(now, m)
	}
}

// release lets the deliveries of a party that have routes go on to their sites.
func (s *Scheduler) release(now time.Time, g *party) {
	if g.done {
		return
	}
	list := g.ready
	g.done, g.ready = true, nil
	for _, m := range list {
		m.state = moving
	}
	for _, m := range list {
		s.arrive(now, m)
	}
	for _, m := range list {
		if m.state == waiting {
			s.touch(now, m.ship.site)
		}
	}
}

// arrive lets a delivery wait at its site, unless the site is left alone or has no
// room.
func (s *Scheduler) arrive(now time.Time, m *item) {
	t := s.site(now, m.to)
	s.goesTo(now, m.place, t)
	switch {
	case s.drained:
		s.giveBack(now, m, Back{Why: Draining})
	case t.closed(now):
		s.keepAt(now, t, m)
	case !s.hasRoom(now, t, m):
		s.parkAt(now, t, m)
	default:
		s.push(now, t, m)
		if !t.vain.IsZero() {
			t.vain = time.Time{}
			s.wantRefill(now, t)
		}
	}
}

// goesTo notes where the last delivery for a destination went. If the site where the one
// before went had so much that claims left the destination out, there may be mail to claim.
func (s *Scheduler) goesTo(now time.Time, p *place, t *site) {
	if p.site != nil && p.site != t && p.site.skipped {
		s.claims.again(now)
	}
	p.site = t
}

// hasRoom reports whether a site can hold one more delivery.
func (s *Scheduler) hasRoom(now time.Time, t *site, m *item) bool {
	if t.held >= t.ahead()+fewAhead {
		if l := t.lanes[m.tenant]; l != nil && l.held >= fewAhead {
			return false
		}
	}
	if !t.groupRoom(m.tenant) {
		return false
	}
	if s.classify(now, t); t.class == quick || s.slowRoom(m.tenant) {
		return true
	}
	return t.held == 0 && !t.known && s.makeWay(now)
}

// makeWay gives back the mail of the untried site that has waited longest. It reports
// whether there was one.
func (s *Scheduler) makeWay(now time.Time) bool {
	for len(s.newest) > 0 {
		t := s.newest[0]
		s.newest = s.newest[1:]
		t.inNewest = false
		if t.known || t.waiting == 0 || t.inFlight > 0 {
			continue
		}
		for _, m := range s.empty(t) {
			s.parkAt(now, t, m)
		}
		return true
	}
	return false
}

// trim gives back mail that waits at stuck sites, if the memory is needed.
func (s *Scheduler) trim(now time.Time) {
	if !s.crowded() || !s.mayClaim() || now.Before(s.claims.trimmed) {
		return
	}
	s.claims.trimmed = now.Add(stuckAfter)
	for t := s.known.head; t != nil; t = t.next {
		if !t.stuck(now) {
			continue
		}
		t.took = max(t.took, now.Sub(t.progress))
		for _, m := range s.empty(t) {
			s.parkAt(now, t, m)
		}
	}
}
