package sched

import "time"

// noLimit is a number of attempts that are never in flight together.
const noLimit = 1 << 30

// shareOf returns this agent's share of a site's own limits: all, if they are not shared.
func (s *Scheduler) shareOf(now time.Time, t *site) Share {
	if t.shared {
		return s.settings.Share(now, Shared{Name: t.key})
	}
	return Share{Most: t.most, Rate: t.rate}
}

// groupShare returns this agent's share of a group's limits. If they are not shared, only
// mostIn knows how many attempts these allow.
func (s *Scheduler) groupShare(now time.Time, g *group) Share {
	if g.Shared {
		return s.settings.Share(now, Shared{Name: g.Name, Group: true})
	}
	return Share{Most: noLimit, Rate: g.Rate}
}
