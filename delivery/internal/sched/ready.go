package sched

import (
	"slices"
	"time"
)

// mostAt is how many attempts may be in flight at a site: as many as its window and its
// limit allow, and the share of it.
func (s *Scheduler) mostAt(now time.Time, t *site) int {
	return min(t.limit(), s.shareOf(now, t).Most)
}

// mostIn is how many attempts may be in flight in a group: as many as its limit allows, and
// the share of it.
func (s *Scheduler) mostIn(now time.Time, g *group) int {
	return s.groupShare(now, g).Most
}

// pacedAt returns the earliest time for the next attempt at a site by its pace, its rate and
// this agent's share of that, as they are now.
func (s *Scheduler) pacedAt(now time.Time, t *site) time.Time {
	return later(t.paced, t.began.Add(interval(s.shareOf(now, t).Rate)))
}

// pacedIn returns the earliest time for the next attempt in a group.
func (s *Scheduler) pacedIn(now time.Time, g *group) time.Time {
	return g.began.Add(interval(s.groupShare(now, g).Rate))
}

// pacedUntil returns the earliest time for an attempt at a site, by its rate and pace and
// the rates of its groups.
func (s *Scheduler) pacedUntil(now time.Time, t *site) time.Time {
	at := s.pacedAt(now, t)
	for _, g := range t.groups {
		at = later(at, s.pacedIn(now, g))
	}
	return at
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// busy reports whether at a site, or in a group of it, as many attempts are in flight as
// may be.
func (s *Scheduler) busy(now time.Time, t *site) bool {
	return t.inFlight >= s.mostAt(now, t) ||
		slices.ContainsFunc(t.groups, func(g *group) bool { return g.inFlight >= s.mostIn(now, g) })
}

// touch adds all lanes of a site to those that may begin an attempt, if the site is
// ready.
func (s *Scheduler) touch(now time.Time, t *site) {
	if !s.ready(now, t) {
		return
	}
	s.classify(now, t)
	for _, l := range t.turn.list {
		s.list(l)
	}
}

// ready reports whether the site, its limits and its groups allow an attempt now.
func (s *Scheduler) ready(now time.Time, t *site) bool {
	switch {
	case t.waiting == 0:
		return false
	case t.inFlight >= s.mostAt(now, t):
		return false
	}
	if at := s.pacedAt(now, t); now.Before(at) {
		s.alarmFor(t, at)
		return false
	}
	return s.groupsReady(now, t)
}

// groupsReady reports whether the groups of a site have room for an attempt there. If a
// group has none, the site is looked at again when that group has room, and not when
// the pace of another allows it.
func (s *Scheduler) groupsReady(now time.Time, t *site) bool {
	for _, g := range t.groups {
		if g.inFlight >= s.mostIn(now, g) {
			if !t.blocked {
				t.blocked = true
				g.blocked = append(g.blocked, t)
			}
			return false
		}
	}
	for _, g := range t.groups {
		if at := s.pacedIn(now, g); now.Before(at) {
			s.alarmFor(t, at)
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

// unblock looks again at the sites that waited for room in their group.
func (s *Scheduler) unblock(now time.Time, g *group) {
	if len(g.blocked) == 0 || g.inFlight >= s.mostIn(now, g) {
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
