package sched

import (
	"slices"
	"time"
)

// wantRefill adds a site to the line of those that are to get mail of their parked
// destinations.
func (s *Scheduler) wantRefill(now time.Time, t *site) {
	if t.parked == 0 || t.refill || s.drained {
		return
	}
	if t.closed(now) {
		s.alarmFor(t, t.until)
		return
	}
	if now.Before(t.vain) {
		s.alarmFor(t, t.vain)
		return
	}
	if t.groupFull() {
		t.waitForGroup()
		return
	}
	if !t.full() {
		s.classify(now, t)
		t.refill = true
		s.claims.refills[t.class] = append(s.claims.refills[t.class], t)
	}
}

// waitForGroup adds a site to the line of those that are to get mail when their group
// has room.
func (t *site) waitForGroup() {
	if i := slices.IndexFunc(t.groups, (*group).full); i >= 0 && !t.waits {
		t.waits = true
		t.groups[i].parked = append(t.groups[i].parked, t)
	}
}

// easeGroups makes claims due when the groups of a site may have room again.
func (s *Scheduler) easeGroups(now time.Time, t *site) {
	for _, g := range t.groups {
		if g.full() {
			continue
		}
		if g.skipped {
			g.skipped = false
			s.claims.again(now)
		}
		for begun := false; !begun && len(g.parked) > 0; {
			next := g.parked[0]
			g.parked[0] = nil
			g.parked = g.parked[1:]
			next.waits = false
			s.wantRefill(now, next)
			begun = next.refill
		}
	}
}

// eased makes claims due when a site may have room again.
func (s *Scheduler) eased(now time.Time, t *site) {
	s.easeGroups(now, t)
	s.wantRefill(now, t) // it may have to wait for room in its group as well
	if t.full() {
		return
	}
	if t.skipped {
		t.skipped = false
		s.claims.again(now)
	}
	if t.parked == 0 {
		s.welcome(t, nil)
	}
}

// turnAway notes that a site has no room for mail of a tenant.
func (s *Scheduler) turnAway(t *site, u *tenant) {
	if slices.Contains(t.turned, u) {
		return
	}
	if t.turnedAt == absent {
		t.turnedAt = len(s.turning)
		s.turning = append(s.turning, t)
	}
	t.turned = append(t.turned, u)
	u.turned++
}

// welcome forgets that a site has turned away mail of tenants, except for those given.
func (s *Scheduler) welcome(t *site, but []*tenant) {
	left := t.turned[:0]
	for _, u := range t.turned {
		if slices.Contains(but, u) {
			left = append(left, u)
			continue
		}
		u.turned--
		s.claims.search = true // the tenant may have been left out of claims
		s.forgetTenant(u)
	}
	clear(t.turned[len(left):])
	if t.turned = left; len(left) > 0 || t.turnedAt == absent {
		return
	}
	last := len(s.turning) - 1
	moved := s.turning[last]
	s.turning[t.turnedAt], moved.turnedAt = moved, t.turnedAt
	s.turning[last] = nil
	s.turning, t.turned, t.turnedAt = s.turning[:last], nil, absent
}

// released makes claims due for a tenant that was left out because it held too much, once
// it holds enough less.
func (s *Scheduler) released(now time.Time, u *tenant) {
	if u.held == minAhead-1 {
		s.claims.search = true
	}
	if s.claims.withheld && u.held < memoryShare*(s.settings.Ahead-s.held)*3/4 {
		s.claims.withheld = false
		s.claims.again(now)
	}
}
