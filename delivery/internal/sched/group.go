package sched

import (
	"slices"
	"time"
)

// limit gives a site its limits from the settings.
func (s *Scheduler) limit(t *site) {
	l := s.settings.site(t.key)
	t.most, t.rate, t.shared = l.PerSite, l.Rate, l.Shared && s.settings.Share != nil
	s.join(t, l.Groups)
}

// join moves a site from the groups that it was in to others.
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
		g.Shared = g.Shared && s.settings.Share != nil
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

// take adds a site to a group if sign is 1, and removes it if sign is -1.
func (g *group) take(t *site, sign int) {
	g.sites += sign
	g.inFlight += sign * t.inFlight
	for u, l := range t.lanes {
		g.count(u, sign*l.held)
	}
}

// count changes how many deliveries of a tenant a group holds.
func (g *group) count(u *tenant, n int) {
	g.held += n
	if g.tenants[u] += n; g.tenants[u] == 0 {
		delete(g.tenants, u)
	}
}

// enterGroups notes that an attempt at a site begins.
func (t *site) enterGroups(now time.Time) {
	for _, g := range t.groups {
		g.inFlight++
		g.began = now
	}
}
