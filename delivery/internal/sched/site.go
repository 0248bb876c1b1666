package sched

import "time"

// site is what is known of the hosts of a name, and the mail that waits for them.
type site struct {
	key        string
	prev, next *site // in the list of all, by when they were used last

	lanes     map[*tenant]*lane
	turn      heap[*lane]          // those with mail that waits, by whose turn it is
	byMessage map[string]*shipment // waiting, for others of the message to join
	waiting   int                  // shipments
	held      int                  // deliveries that wait or are in flight
	inFlight  int

	most           int     // attempts in flight, by the settings
	rate           float64 // a second, by the settings
	groups         []*group
	blocked, waits bool // in a group's list of those that would begin, that would be given mail

	window
	backoff
	paced    time.Time // no attempt before: a rate, or a pace
	alarm    time.Time // when to look at it again
	alarmAt  int
	class    class
	known    bool          // an attempt has ended
	took     time.Duration // an attempt, on average
	last     time.Duration // the last one
	progress time.Time     // when an attempt ended, or began where none was in flight

	kept     map[string]*kept // destinations whose mail stays in the queue because of the site
	keptList []*kept
	parked   int       // of kept
	likely   time.Time // when the last of what it had no room for would have its turn
	turned   []*tenant // whose mail has been turned away, and waits in the queue
	turnedAt int       // in Scheduler.turning, absent where nobody's has been
	skipped  bool      // its destinations were left out of a claim
	refill   bool      // waits for a claim of its own
	vain     time.Time // no such claim before: nothing has come of the last one yet
	inNewest bool
}

// class is whether a site is quick. Sites of both kinds have their turns apart.
type class uint8

const (
	quick class = iota
	slow
	classes
)

// quickTime is what an attempt at a quick site takes at most.
const quickTime = 5 * time.Second

// Bounds of what a site holds.
const (
	firstAhead = 128 // until an attempt has ended
	minAhead   = 16  // of one that is well
	fewAhead   = 4   // of one that is tried, or paced; and of each tenant
	fewWaiting = 2   // of a tenant: where it holds more there is enough of its mail
	aheadTime  = 500 * time.Millisecond

	// stuckAfter is how long nothing may have ended at a site before what waits
	// there is taken to be in the others' way.
	stuckAfter = 2 * time.Second

	// maxSites is how many sites without mail are remembered for what they did.
	maxSites = 20_000
)

// site is the site of a name, a new one where it is not known.
func (s *Scheduler) site(now time.Time, key string) *site {
	t := s.sites[key]
	if t == nil {
		if len(s.sites) >= maxSites {
			s.forgetSites()
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

// used puts a site last among those that may be forgotten.
func (s *Scheduler) used(t *site) {
	if s.sites[t.key] == t && s.known.tail != t {
		s.known.remove(t)
		s.known.add(t)
	}
}

// forgetSites makes room: of sites without mail, those that were used longest ago.
// Each costs one more attempt to be known again.
func (s *Scheduler) forgetSites() {
	for t := s.known.head; t != nil && len(s.sites) > maxSites*3/4; {
		next := t.next
		s.forgetSite(t)
		t = next
	}
}

// forgetSite forgets a site that has no mail.
func (s *Scheduler) forgetSite(t *site) {
	if t.held > 0 || t.inFlight > 0 || t.refill || t.parked > 0 {
		return
	}
	if t.alarmAt != absent {
		s.alarms.remove(t)
	}
	s.welcome(t, nil)
	s.join(t, nil)
	s.known.remove(t)
	delete(s.sites, t.key)
}

// siteList is sites in order.
type siteList struct{ head, tail *site }

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

// ahead is how many deliveries the site may hold: what it can do in half a second,
// so that a slow one does not fill the memory that the others need.
func (t *site) ahead() int {
	if t.careful() {
		return fewAhead
	}
	if t.took == 0 {
		return max(min(firstAhead, inTime(t.rate)), minAhead)
	}
	turns := int(min(max(aheadTime/t.took, 2), 1000))
	return max(min(int(t.size)*turns, inTime(t.rate)), minAhead)
}

// unbounded is more deliveries than are ever held.
const unbounded = 1 << 30

// inTime is how many attempts may begin in aheadTime by a rate.
func inTime(rate float64) int {
	if wait := interval(rate); wait > 0 {
		return int(aheadTime / wait)
	}
	return unbounded
}

// careful reports whether attempts are made one at a time: to find out whether the
// site works again, or because it defers everything.
func (t *site) careful() bool { return t.failures > 0 || t.refused || t.pace > 0 }

// full reports whether no more is to be claimed for the site just now.
func (t *site) full() bool { return t.held >= max(t.ahead()*3/4, 1) || t.groupFull() }

// limit is how many attempts may be in flight.
func (t *site) limit() int {
	if t.careful() {
		return 1
	}
	return max(int(t.size), 1)
}

// stuck reports whether the site holds more than it can do.
func (t *site) stuck(now time.Time) bool {
	return t.waiting > fewAhead && t.inFlight > 0 && now.Sub(t.progress) > stuckAfter
}

// tried notes how long an attempt took; timed, one in which hosts answered.
func (t *site) tried(d time.Duration) { t.known, t.last = true, d }

func (t *site) timed(d time.Duration) {
	t.tried(d)
	d = max(d, time.Microsecond)
	if t.took == 0 {
		t.took = d
		return
	}
	t.took += (d - t.took) / 8
}

// isQuick is what class says, by now.
func (t *site) isQuick(now time.Time) bool {
	return t.known && t.last < quickTime && (t.inFlight == 0 || now.Sub(t.progress) < quickTime)
}

// classify puts a site into its class.
func (s *Scheduler) classify(now time.Time, t *site) {
	c := slow
	if t.isQuick(now) {
		c = quick
	}
	if c == t.class {
		return
	}
	var listed []*lane
	for _, l := range t.turn.list {
		if l.at != absent {
			s.unlist(l)
			listed = append(listed, l)
		}
	}
	sign := 1
	if t.class = c; c == quick {
		sign = -1
	}
	s.heldSlow += sign * t.held
	for u, l := range t.lanes {
		u.heldSlow += sign * l.held
	}
	for _, l := range listed {
		s.list(l)
	}
	s.moveRefill(t)
}

// count changes how many deliveries a lane holds, and its site.
func (s *Scheduler) count(l *lane, n int) {
	l.held += n
	if l.site.held += n; l.site.class == slow {
		s.heldSlow += n
		l.tenant.heldSlow += n
	}
	for _, g := range l.site.groups {
		g.count(l.tenant, n)
	}
	if n < 0 && l.held < fewWaiting && l.tenant.turned > 0 {
		s.claims.search = true
	}
}

// slowAhead is how many deliveries may be held for sites that are not quick.
func (s *Scheduler) slowAhead() int { return s.settings.Ahead / 2 }

// slowRoom reports whether one more may be held for a tenant at a site that is not
// quick.
func (s *Scheduler) slowRoom(u *tenant) bool {
	return u.heldSlow < memoryShare*(s.slowAhead()-s.heldSlow)
}

// hasRoom reports whether a site can hold one more delivery.
func (s *Scheduler) hasRoom(now time.Time, t *site, m *item) bool {
	if t.held >= t.ahead()+fewAhead {
		if l := t.lanes[m.tenant]; l != nil && l.held >= fewAhead {
			return false
		}
	}
	if !t.groupRoom(m.tenant) {
		return false
	}
	if s.classify(now, t); t.class == quick || s.slowRoom(m.tenant) {
		return true
	}
	return t.held == 0 && !t.known && s.makeWay(now)
}

// makeWay gives back the mail of the site of which nothing is known and that has
// waited longest.
func (s *Scheduler) makeWay(now time.Time) bool {
	for len(s.newest) > 0 {
		t := s.newest[0]
		s.newest = s.newest[1:]
		t.inNewest = false
		if t.known || t.waiting == 0 || t.inFlight > 0 {
			continue
		}
		for _, m := range s.empty(t) {
			s.parkAt(now, t, m)
		}
		return true
	}
	return false
}

// trim gives back what is in the others' way, where the memory is wanted.
func (s *Scheduler) trim(now time.Time) {
	if !s.crowded() || now.Before(s.claims.trimmed) {
		return
	}
	s.claims.trimmed = now.Add(stuckAfter)
	for t := s.known.head; t != nil; t = t.next {
		if !t.stuck(now) {
			continue
		}
		t.took = max(t.took, now.Sub(t.progress))
		for _, m := range s.empty(t) {
			s.parkAt(now, t, m)
		}
	}
}
