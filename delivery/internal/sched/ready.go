package sched

import "time"

// touch puts all lanes of a site among those that may begin, if they may.
func (s *Scheduler) touch(now time.Time, t *site) {
	if !s.ready(now, t) {
		return
	}
	s.classify(now, t)
	for _, l := range t.turn.list {
		s.list(l)
	}
}

// ready reports whether an attempt at a site may begin, as far as the site goes.
func (s *Scheduler) ready(now time.Time, t *site) bool {
	switch {
	case t.waiting == 0:
		return false
	case t.inFlight >= min(t.limit(), t.most):
		return false
	case s.denied(now, t):
		return false
	case now.Before(t.paced):
		s.alarmFor(t, t.paced)
		return false
	default:
		return s.groupsReady(now, t)
	}
}

// groupsReady reports whether the groups of a site have room for an attempt there. If one
// has none, the site is looked at when that has room, and not when another's pace allows.
func (s *Scheduler) groupsReady(now time.Time, t *site) bool {
	for _, g := range t.groups {
		if g.Connections > 0 && g.inFlight >= g.Connections {
			if !t.blocked {
				t.blocked = true
				g.blocked = append(g.blocked, t)
			}
			return false
		}
	}
	for _, g := range t.groups {
		if now.Before(g.paced) {
			s.alarmFor(t, g.paced)
			return false
		}
	}
	return true
}

// leaveGroups notes that an attempt at a site has ended.
func (s *Scheduler) leaveGroups(now time.Time, t *site) {
	for _, g := range t.groups {
		g.inFlight--
		s.unblock(now, g)
	}
}

// unblock has the sites looked at again that would begin if their group had room.
func (s *Scheduler) unblock(now time.Time, g *group) {
	if len(g.blocked) == 0 || g.inFlight >= g.Connections && g.Connections > 0 {
		return
	}
	list := g.blocked
	g.blocked = nil
	for _, t := range list {
		t.blocked = false
	}
	for _, t := range list {
		s.touch(now, t)
	}
}
