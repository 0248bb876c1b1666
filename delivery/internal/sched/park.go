package sched

import (
	"slices"
	"time"
)

const (
	// parkedFor is how long a destination stays parked at the longest.
	parkedFor = 10 * time.Minute

	// Where each delivery can wait by itself alone, it waits so long at least.
	minLikely = time.Second

	maxKept = 10_000 // destinations of a site to be lifted at once
)

// kept is a destination whose mail is kept back in the queue for a site.
type kept struct {
	destination string
	at          int // in the site's list
	until       time.Time
	parked      bool // for this agent alone
	paused      bool // for all
	each        bool // each delivery by itself
}

// keepAt gives a delivery back because its site is left alone.
func (s *Scheduler) keepAt(now time.Time, t *site, m *item) {
	b := Back{Why: Down, Whole: !m.own, Until: t.until, Said: t.said}
	if t.refused {
		b.Why = Refused
	}
	s.keep(now, t, m, b)
}

// parkAt gives a delivery back because its site has no room for it.
func (s *Scheduler) parkAt(now time.Time, t *site, m *item) {
	s.turnAway(t, m.tenant)
	s.keep(now, t, m, Back{Why: Parked, Whole: true, Until: now.Add(parkedFor), Likely: t.likelyAt(now), Said: t.said})
	s.wantRefill(now, t)
}

// likelyAt is when one more delivery for which the site has no room will have its
// turn, about.
func (t *site) likelyAt(now time.Time) time.Time {
	if t.likely.Before(now) {
		t.likely = now
	}
	if t.careful() {
		return now.Add(minLikely)
	}
	t.likely = t.likely.Add(max(t.pace, interval(t.rate), t.took/time.Duration(t.limit())))
	switch least, most := now.Add(minLikely), now.Add(parkedFor); {
	case t.likely.Before(least):
		return least
	case t.likely.After(most):
		return most
	default:
		return t.likely
	}
}

// keep gives a delivery back and notes that its destination is kept back for a site.
func (s *Scheduler) keep(now time.Time, t *site, m *item, b Back) {
	if d := m.Deadline; d.After(now) && d.Before(b.Until) {
		b.Until = d
	}
	k := t.kept[m.Destination]
	if k == nil && len(t.kept) < maxKept {
		if t.kept == nil {
			t.kept = make(map[string]*kept)
		}
		k = &kept{destination: m.Destination, at: len(t.keptList)}
		t.kept[m.Destination] = k
		t.keptList = append(t.keptList, k)
	}
	if k != nil {
		s.note(now, t, k, &b)
	}
	s.giveBack(now, m, b)
}

// note notes how a destination is kept back. One that is paused already, for a time
// before that, stays so.
func (s *Scheduler) note(now time.Time, t *site, k *kept, b *Back) {
	switch {
	case b.Why == Parked:
		if !k.parked {
			k.parked = true
			t.parked++
			s.parked++
		}
	case !b.Whole:
		k.each = true
	default:
		if k.paused && k.until.After(now) && k.until.Before(b.Until) {
			b.Until = k.until
		}
		k.paused, k.until = true, b.Until
	}
}

// liftOne lifts what keeps a destination back for a site.
func (s *Scheduler) liftOne(t *site, k *kept) {
	if k.parked {
		t.parked--
		s.parked--
		s.lift = append(s.lift, Lift{Destination: k.destination, Parked: true})
	}
	if k.paused {
		s.lift = append(s.lift, Lift{Destination: k.destination})
	}
	if k.each {
		s.lift = append(s.lift, Lift{Destination: k.destination, Each: true})
	}
	delete(t.kept, k.destination)
	last := len(t.keptList) - 1
	t.keptList[k.at] = t.keptList[last]
	t.keptList[k.at].at = k.at
	t.keptList[last] = nil
	t.keptList = t.keptList[:last]
}

// liftAll lifts everything that is kept back for a site.
func (s *Scheduler) liftAll(now time.Time, t *site) {
	for len(t.keptList) > 0 {
		s.liftOne(t, t.keptList[len(t.keptList)-1])
	}
	s.claims.again(now)
}

// eased does what is to be done when a site has room again.
func (s *Scheduler) eased(now time.Time, t *site) {
	s.easeGroups(now, t)
	if t.full() {
		return
	}
	if t.skipped {
		t.skipped = false
		s.claims.again(now)
	}
	s.wantRefill(now, t)
	if t.parked == 0 {
		s.welcome(t, nil)
	}
}

// turnAway notes that a site has no room for a tenant's mail.
func (s *Scheduler) turnAway(t *site, u *tenant) {
	if slices.Contains(t.turned, u) {
		return
	}
	if t.turnedAt == absent {
		t.turnedAt = len(s.turning)
		s.turning = append(s.turning, t)
	}
	t.turned = append(t.turned, u)
	u.turned++
}

// welcome forgets that a site has turned away mail of tenants, but for some.
func (s *Scheduler) welcome(t *site, but []*tenant) {
	left := t.turned[:0]
	for _, u := range t.turned {
		if slices.Contains(but, u) {
			left = append(left, u)
			continue
		}
		u.turned--
		s.claims.search = true // it may have been left out
		s.forgetTenant(u)
	}
	clear(t.turned[len(left):])
	if t.turned = left; len(left) > 0 || t.turnedAt == absent {
		return
	}
	last := len(s.turning) - 1
	moved := s.turning[last]
	s.turning[t.turnedAt], moved.turnedAt = moved, t.turnedAt
	s.turning[last] = nil
	s.turning, t.turned, t.turnedAt = s.turning[:last], nil, absent
}

// wantRefill puts a site in the line of those that are to be given mail of their
// parked destinations.
func (s *Scheduler) wantRefill(now time.Time, t *site) {
	if t.parked == 0 || t.refill || s.drained {
		return
	}
	if t.closed(now) {
		s.alarmFor(t, t.until)
		return
	}
	if now.Before(t.vain) {
		s.alarmFor(t, t.vain)
		return
	}
	if t.groupFull() {
		t.waitForGroup()
		return
	}
	if !t.full() {
		t.refill = true
		s.classify(now, t)
		s.claims.refills[t.class] = append(s.claims.refills[t.class], t)
	}
}

// moveRefill has a site wait for mail among those of its class, which has changed: one
// that has turned out to be quick does not wait for room that slow ones take.
func (s *Scheduler) moveRefill(t *site) {
	if !t.refill || t == s.claims.site {
		return
	}
	for k := range s.claims.refills {
		line := s.claims.refills[k]
		if i := slices.Index(line, t); i >= 0 {
			s.claims.refills[k] = slices.Delete(line, i, i+1)
		}
	}
	s.claims.refills[t.class] = append(s.claims.refills[t.class], t)
}
