package sched

import "time"

// noLimit is more attempts than are ever in flight.
const noLimit = 1 << 30

// shareOf is the share of a site's own limits; all of them where nobody shares them.
func (s *Scheduler) shareOf(now time.Time, t *site) Share {
	if !t.shared || s.settings.Share == nil {
		return Share{Most: t.most, Rate: t.rate}
	}
	return s.settings.Share(now, Shared{Name: t.key})
}

// groupShare is the share of a group's limits.
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

// denied reports whether a site has no share of what an attempt needs.
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
