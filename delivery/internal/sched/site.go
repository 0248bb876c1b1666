package sched

import (
	"slices"
	"time"
)

const (
	// maxSites is how many sites are known before some without mail are forgotten.
	maxSites = 20_000

	// forgetMost is how many sites are looked at for that with each new one.
	forgetMost = 64
)

// site returns the site of a name, a new one if it is not known.
func (s *Scheduler) site(now time.Time, key string) *site {
	t := s.sites[key]
	if t == nil {
		if len(s.sites) >= s.remember {
			s.forgetSites(now)
		}
		t = &site{key: key, progress: now, class: slow, alarmAt: absent, turnedAt: absent}
		t.turn = heap[*lane]{less: laneDue, at: func(l *lane) *int { return &l.turnAt }}
		s.limit(t)
		t.window = newWindow(t.most)
		s.sites[key] = t
		s.known.add(t)
	}
	return t
}

// used makes a site the last one to be forgotten.
func (s *Scheduler) used(t *site) {
	if s.known.tail != t {
		s.known.remove(t)
		s.known.add(t)
	}
}

// forgetSites makes room by forgetting the sites without mail that were used longest
// ago. To know such a site again takes one attempt. Those with mail are in use: it looks at
// them again after all others.
func (s *Scheduler) forgetSites(now time.Time) {
	for range min(forgetMost, len(s.sites)) {
		t := s.known.head
		s.used(t)
		s.forgetSite(now, t)
	}
}

// forgetSite forgets a site that has no mail, and whose rate would allow an attempt.
func (s *Scheduler) forgetSite(now time.Time, t *site) {
	if t.held > 0 || t.inFlight > 0 || t.refill || t.parked > 0 || s.keepsRate(now, t) {
		return
	}
	if t.alarmAt != absent {
		s.alarms.remove(t)
	}
	s.welcome(t, nil)
	s.join(t, nil)
	s.known.remove(t)
	delete(s.sites, t.key)
	for _, l := range t.lanes { // the last lane, which stays as long as the site does
		s.forgetLane(l)
	}
}

// keepsRate reports whether a rate would be forgotten with a site that does not allow an
// attempt yet: that of the site, or of a group of which it is the last site. A group that
// uses all of its rate hardly ever allows one.
func (s *Scheduler) keepsRate(now time.Time, t *site) bool {
	return now.Before(s.pacedAt(now, t)) ||
		slices.ContainsFunc(t.groups, func(g *group) bool { return g.sites == 1 && now.Before(s.pacedIn(now, g)) })
}

// tried notes how long an attempt took.
func (t *site) tried(d time.Duration) { t.known, t.last = true, d }

// timed notes how long an attempt took in which hosts answered.
func (t *site) timed(d time.Duration) {
	t.tried(d)
	d = max(d, time.Microsecond)
	if t.took == 0 {
		t.took = d
		return
	}
	t.took += (d - t.took) / 8
}

// fail leaves the site alone for as long as wait says. Attempts that were in flight
// together count as one failure, and an attempt that failed while others succeeded says
// little about the site. It reports whether the site is left alone now.
func (t *site) fail(began, now time.Time, wait time.Duration) bool {
	switch {
	case t.closed(now):
		return true
	case began.Before(t.alive):
		t.shrink(began, now)
		return false
	}
	t.failures++
	t.size, t.threshold, t.shrunk = 1, 1, now
	t.until = now.Add(wait)
	return true
}

// add puts a site at the end.
func (l *siteList) add(t *site) {
	t.prev, t.next = l.tail, nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
}

func (l *siteList) remove(t *site) {
	if t.prev == nil {
		l.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
}
