package sched

import "time"

// noLimit is a number of attempts that are never in flight together.
const noLimit = 1 << 30

// shareOf returns what this agent may use of a site's own limits: all, or its share if they
// are shared.
func (s *Scheduler) shareOf(now time.Time, t *site) Share {
	all := Share{Most: t.most, Rate: t.rate}
	if t.shared {
		return all.atMost(s.settings.Share(now, Shared{Name: t.key}))
	}
	return all
}

// groupShare returns what this agent may use of a group's limits.
func (s *Scheduler) groupShare(now time.Time, g *group) Share {
	all := Share{Most: noLimit, Rate: g.Rate}
	if g.Connections > 0 {
		all.Most = g.Connections
	}
	if g.Shared {
		return all.atMost(s.settings.Share(now, Shared{Name: g.Name, Group: true}))
	}
	return all
}

// atMost returns what both of two shares allow: a share that was given before the limit
// became lower may be more than the whole.
func (s Share) atMost(other Share) Share {
	return Share{Most: min(s.Most, other.Most), Rate: lower(s.Rate, other.Rate)}
}
