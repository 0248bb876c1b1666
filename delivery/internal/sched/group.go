package sched

import (
	"slices"
	"time"
)

// group is sites that have limits in common.
type group struct {
	GroupLimits
	sites    int
	inFlight int
	paced    time.Time // no attempt before

	held    int // deliveries that wait or are in flight
	tenants map[*tenant]int

	skipped bool    // sites of it were left out of a claim
	blocked []*site // that would begin if the group had room
	parked  []*site // with parked destinations, to be given mail if the group had room
}

// limit has a site go by the settings.
func (s *Scheduler) limit(t *site) {
	l := s.settings.site(t.key)
	t.most, t.rate = l.PerSite, l.Rate
	s.join(t, l.Groups)
}

// join puts a site into groups, and out of those that it was in.
func (s *Scheduler) join(t *site, limits []GroupLimits) {
	before := t.groups
	t.groups = nil
	for i := range limits {
		g := s.groups[limits[i].Name]
		if g == nil {
			g = &group{tenants: make(map[*tenant]int)}
			s.groups[limits[i].Name] = g
		}
		g.GroupLimits = limits[i]
		t.groups = append(t.groups, g)
		g.take(t, 1)
	}
	for _, g := range before {
		g.take(t, -1)
		for _, list := range []*[]*site{&g.blocked, &g.parked} {
			*list = slices.DeleteFunc(*list, func(other *site) bool { return other == t })
		}
		if g.sites == 0 {
			delete(s.groups, g.Name)
		}
	}
	t.blocked, t.waits = false, false
}

// take adds a site to a group, or takes it out.
func (g *group) take(t *site, sign int) {
	g.sites += sign
	g.inFlight += sign * t.inFlight
	for u, l := range t.lanes {
		g.count(u, sign*l.held)
	}
}

// count changes how many deliveries of a tenant's a group holds.
func (g *group) count(u *tenant, n int) {
	g.held += n
	if g.tenants[u] += n; g.tenants[u] == 0 {
		delete(g.tenants, u)
	}
}

// groupsReady reports whether the groups of a site have room for an attempt there.
func (s *Scheduler) groupsReady(now time.Time, t *site) bool {
	for _, g := range t.groups {
		switch {
		case g.Connections > 0 && g.inFlight >= g.Connections:
			if !t.blocked {
				t.blocked = true
				g.blocked = append(g.blocked, t)
			}
			return false
		case now.Before(g.paced):
			s.alarmFor(t, g.paced)
			return false
		}
	}
	return true
}

// enterGroups and leaveGroups count an attempt at a site.
func (s *Scheduler) enterGroups(now time.Time, t *site) {
	for _, g := range t.groups {
		g.inFlight++
		if wait := interval(g.Rate); wait > 0 {
			g.paced = now.Add(wait)
		}
	}
}

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

// ahead is how many deliveries a group may hold: four for each attempt that may be in
// flight, and no more than may begin in half a second.
func (g *group) ahead() int {
	most := unbounded
	if g.Connections > 0 {
		most = fewAhead * g.Connections
	}
	return max(min(most, inTime(g.Rate)), minAhead)
}

func (g *group) full() bool { return g.held >= g.ahead()*3/4 }

// groupFull reports whether no more is to be claimed for a site because of its groups.
func (t *site) groupFull() bool {
	return slices.ContainsFunc(t.groups, (*group).full)
}

// groupRoom reports whether the groups of a site can hold one more delivery of a
// tenant's.
func (t *site) groupRoom(u *tenant) bool {
	return !slices.ContainsFunc(t.groups, func(g *group) bool {
		return g.held >= g.ahead()+fewAhead && g.tenants[u] >= fewAhead
	})
}

// groupLeft is how many more deliveries the groups of a site should be given.
func (t *site) groupLeft() int {
	left := unbounded
	for _, g := range t.groups {
		left = min(left, g.ahead()-g.held)
	}
	return left
}

// waitForGroup puts a site in the line of those that are to be given mail when their
// group has room.
func (t *site) waitForGroup() {
	if i := slices.IndexFunc(t.groups, (*group).full); i >= 0 && !t.waits {
		t.waits = true
		t.groups[i].parked = append(t.groups[i].parked, t)
	}
}

// easeGroups does what is to be done when the groups of a site may have room again.
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
