package session

import (
	"context"
	"slices"
	"time"
)

// GroupLimits are limits that connections to several hosts have in common; zero is none.
type GroupLimits struct {
	Name        string
	Connections int
	Rate        float64 // messages a second
}

// group is what a gate counts for a group.
type group struct {
	open int
	next time.Time // no message before
}

// groupFull reports whether a group has as many connections as it may, and so many more.
func (g *Gate) groupFull(groups []GroupLimits, more int) bool {
	for i := range groups {
		if l := &groups[i]; l.Connections > 0 {
			if n := g.groups[l.Name]; n != nil && n.open >= l.Connections+more {
				return true
			}
		}
	}
	return false
}

// sharesGroup reports whether a connection counts in a group that another would.
func (p *pass) sharesGroup(want *pass) bool {
	limits := p.gate.limits()
	return slices.ContainsFunc(limits.at(want.site, want.host).Groups, func(l GroupLimits) bool {
		return slices.Contains(p.groups, l.Name)
	})
}

// countGroups counts a connection in its groups, and in no others. The caller holds g.mu.
func (g *Gate) countGroups(p *pass, open bool) {
	limits := g.limits()
	if limits.Rules == nil && len(p.groups) == 0 {
		return
	}
	for _, name := range p.groups {
		g.groups[name].open--
	}
	if p.groups = p.groups[:0]; !open {
		return
	}
	for _, l := range limits.at(p.site, p.host).Groups {
		if g.groups[l.Name] == nil {
			g.groups[l.Name] = &group{}
		}
		g.groups[l.Name].open++
		p.groups = append(p.groups, l.Name)
	}
}

// regroup counts all connections anew, since the limits have changed. The caller holds
// g.mu.
func (g *Gate) regroup() {
	for p := range g.passes {
		g.countGroups(p, true)
	}
	for name, n := range g.groups {
		if n.open == 0 && !n.next.After(time.Now()) {
			delete(g.groups, name)
		}
	}
}

// Pace waits until a message may be offered to a host by the rates of the groups that
// connections to it count in. A nil Gate has none.
func (g *Gate) Pace(ctx context.Context, site, host string) error {
	if g == nil {
		return nil
	}
	limits := g.limits()
	if limits.Rules == nil {
		return nil
	}
	wait := g.reserve(limits.at(site, host).Groups, time.Now())
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// reserve takes the next time at which all groups allow a message, and returns how long
// that is away.
func (g *Gate) reserve(groups []GroupLimits, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := now
	for i := range groups {
		if n := g.groups[groups[i].Name]; n != nil && n.next.After(at) {
			at = n.next
		}
	}
	for i := range groups {
		if l := &groups[i]; l.Rate > 0 {
			if g.groups[l.Name] == nil {
				g.groups[l.Name] = &group{}
			}
			g.groups[l.Name].next = at.Add(time.Duration(min(float64(time.Second)/l.Rate, float64(24*time.Hour))))
		}
	}
	return at.Sub(now)
}
