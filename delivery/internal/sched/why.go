package sched

import "time"

// Standing tells why a delivery that is held, or the mail of a destination that is kept
// back, waits.
type Standing struct {
	// Site is the name of the hosts, empty if it is not known yet.
	Site string

	// InFlight is set if the delivery is in an attempt.
	InFlight bool

	// The reason for the wait: no host of the site could be asked; the destination has
	// no route for now; the hosts refuse the login; the site has enough mail; its rate or
	// pace allows no attempt yet. At most one of them is set.
	Down, NoRoute, Refused, Full, Paced bool

	// Until is the end of the wait, zero if it is not known.
	Until time.Time

	// Said is the text of the site's last failure.
	Said string
}

// Holds returns where a delivery stands. If the delivery is not held, ok is false.
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

// Keeps returns why mail of a destination stays in the queue because of a site. If none
// does, ok is false.
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

// standing returns the reason for which another attempt at a site may not begin.
func (s *Scheduler) standing(now time.Time, t *site) Standing {
	at := Standing{Site: t.key, Said: t.said}
	switch {
	case t.closed(now):
		at.Down, at.Refused, at.Until = !t.refused, t.refused, t.until
	case now.Before(s.pacedUntil(now, t)):
		at.Paced, at.Until = true, s.pacedUntil(now, t)
	case s.inFlight >= s.settings.Connections, t.full(), s.busy(now, t):
		at.Full = true
	}
	return at
}

// Trouble returns the cause of our own trouble, and when it began.
func (s *Scheduler) Trouble() (Cause, time.Time) { return s.trouble.cause, s.trouble.since }

// Idle reports whether a delivery is held that is in no attempt and whose route is not
// being asked for.
func (s *Scheduler) Idle(id ID) bool {
	m := s.items[id]
	return m != nil && m.state != routing && m.state < begun
}

// Withdraw removes a delivery if it is idle, and reports whether it was. The caller
// settles it.
func (s *Scheduler) Withdraw(now time.Time, id ID) bool {
	if !s.Idle(id) {
		return false
	}
	s.takeOut(now, s.items[id])
	return true
}

// Said returns the text of the last failure of a shipment's site, empty if a host of it
// could be asked since.
func (s *Scheduler) Said(n Ship) string {
	if sh := s.ships[n]; sh != nil && (sh.site.failures > 0 || sh.site.refused) {
		return sh.site.said
	}
	return ""
}

// SiteState tells what is known about one site.
type SiteState struct {
	Standing
	Waiting, InFlight, Window int
	Destinations              []string // those of mail that is held or kept back
}

// SiteStates returns the state of all sites that have mail, that are left alone, or that
// are wanted.
func (s *Scheduler) SiteStates(now time.Time, wanted map[string][]string) (list []SiteState) {
	by := map[*site][]string{}
	for _, p := range s.placeList {
		by[p.site] = append(by[p.site], p.name)
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
