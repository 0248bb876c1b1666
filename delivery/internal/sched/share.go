package sched

import "time"

// noLimit is a number of attempts that are never in flight together.
const noLimit = 1 << 30

// shareOf returns this agent's share of a site's own limits: all, if they are not shared.
func (s *Scheduler) shareOf(now time.Time, t *site) Share {
	if !t.shared || s.settings.Share == nil {
		return Share{Most: t.most, Rate: t.rate}
	}
	return s.settings.Share(now, Shared{Name: t.key})
}

// groupShare returns this agent's share of a group's limits.
func (s *Scheduler) groupShare(now time.Time, g *group) Share {
	switch {
	case g.Shared && s.settings.Share != nil:
		return s.settings.Share(now, Shared{Name: g.Name, Group: true})
	case g.Connections > 0:
		return Share{Most: g.Connections, Rate: g.Rate}
	default:
		return Share{Most: noLimit, Rate: g.Rate}
	}
}

// mostIn is how many attempts may be in flight in a group: as many as its limit allows, and
// the share of it.
func (s *Scheduler) mostIn(now time.Time, g *group) int {
	most := s.groupShare(now, g).Most
	if g.Connections > 0 {
		most = min(most, g.Connections)
	}
	return most
}

// denied reports whether the shares of a site or of its groups allow no more attempts.
func (s *Scheduler) denied(now time.Time, t *site) bool {
	if t.shared && t.inFlight >= s.shareOf(now, t).Most {
		return true
	}
	for _, g := range t.groups {
		if g.Shared && g.inFlight >= s.groupShare(now, g).Most {
			return true
		}
	}
	return false
}
