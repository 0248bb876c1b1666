package sched

import (
	"slices"
	"time"
)

// Standing is where a delivery that is held stands, or the mail of a destination that
// is kept back.
type Standing struct {
	// Site is the name of the hosts; empty where it is not known yet.
	Site string

	// InFlight is set for a delivery that is in an attempt.
	InFlight bool

	// What keeps the mail back: no host of the site could be asked, or nobody can say
	// where the mail goes; the hosts refuse the login; the site has enough; it is not
	// to be asked more often. At most one of them is set.
	Down, NoRoute, Refused, Full, Paced bool

	// Until is until when, as far as that is known.
	Until time.Time

	// Said is what the site has taught, the last time.
	Said string
}

// Holds tells of a delivery that is held; false where it is none.
func (s *Scheduler) Holds(now time.Time, id ID) (at Standing, ok bool) {
	m := s.items[id]
	if m == nil {
		return at, false
	}
	switch m.state {
	case waiting:
		at = s.standing(now, m.ship.site)
	case begun:
		at.Site, at.InFlight = m.ship.site.key, true
	case gathering:
		at.Site = m.to
	}
	return at, true
}

// Keeps tells of the mail of a destination that stays in the queue because of a site;
// false where none does.
func (s *Scheduler) Keeps(now time.Time, destination string) (at Standing, ok bool) {
	if t := s.sites[noRouteKey(destination)]; t != nil && t.closed(now) {
		return Standing{NoRoute: true, Until: t.until, Said: t.said}, true
	}
	for t := s.known.head; t != nil; t = t.next {
		k := t.kept[destination]
		if k == nil {
			continue
		}
		switch at = s.standing(now, t); {
		case at.Down, at.Refused:
		case k.parked && !at.Paced:
			at.Full = true
		}
		return at, true
	}
	return at, false
}

// standing is what a site has against another attempt.
func (s *Scheduler) standing(now time.Time, t *site) Standing {
	at := Standing{Site: t.key, Said: t.said}
	switch {
	case t.closed(now):
		at.Down, at.Refused, at.Until = !t.refused, t.refused, t.until
	case now.Before(t.pacedUntil()):
		at.Paced, at.Until = true, t.pacedUntil()
	case t.inFlight >= min(t.limit(), t.most), s.inFlight >= s.settings.Connections, t.full(), t.groupBusy(), s.denied(now, t):
		at.Full = true
	}
	return at
}

// pacedUntil is before when no attempt at a site is to begin, its groups included.
func (t *site) pacedUntil() time.Time {
	at := t.paced
	for _, g := range t.groups {
		if g.paced.After(at) {
			at = g.paced
		}
	}
	return at
}

// groupBusy reports whether a group of a site has as many attempts in flight as it may.
func (t *site) groupBusy() bool {
	return slices.ContainsFunc(t.groups, func(g *group) bool { return g.Connections > 0 && g.inFlight >= g.Connections })
}

// Trouble is what our own trouble is, and since when.
func (s *Scheduler) Trouble() (Cause, time.Time) { return s.trouble.cause, s.trouble.since }

// Idle reports whether a delivery is held that is in no attempt and whose route is not
// being asked for.
func (s *Scheduler) Idle(id ID) bool {
	m := s.items[id]
	return m != nil && m.state != routing && m.state < begun
}

// Withdraw takes a delivery out that is idle, and reports whether it was: the caller
// settles it.
func (s *Scheduler) Withdraw(now time.Time, id ID) bool {
	if !s.Idle(id) {
		return false
	}
	s.takeOut(now, s.items[id])
	return true
}

// Said is what a shipment's site has taught the last time that none of its hosts could
// be asked; empty where one could be since.
func (s *Scheduler) Said(n Ship) string {
	if sh := s.ships[n]; sh != nil && (sh.site.failures > 0 || sh.site.refused) {
		return sh.site.said
	}
	return ""
}

// SiteState is what is known of one site.
type SiteState struct {
	Standing
	Waiting, InFlight, Window int
	Destinations              []string // of what is kept back and what is held
}

// SiteStates tells of all sites that have mail, that have something against attempts, or
// that are wanted.
func (s *Scheduler) SiteStates(now time.Time, wanted map[string][]string) (list []SiteState) {
	by := map[*site][]string{}
	for _, p := range s.placeList {
		if p.site != nil {
			by[p.site] = append(by[p.site], p.name)
		}
	}
	for t := s.known.head; t != nil; t = t.next {
		at := s.standing(now, t)
		names := by[t]
		for _, k := range t.keptList {
			if p := s.places[k.destination]; p == nil || p.site != t {
				names = append(names, k.destination)
			}
		}
		if t.held == 0 && len(names) == 0 && wanted[t.key] == nil && !at.Down && !at.Refused {
			continue
		}
		if len(t.key) > 1 && t.key[:2] == "? " {
			at.Site, at.Down, at.NoRoute = "", false, true
		}
		list = append(list, SiteState{Standing: at, Waiting: t.waiting, InFlight: t.inFlight, Window: t.limit(), Destinations: names})
	}
	return list
}
