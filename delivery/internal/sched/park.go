package sched

import "time"

// leave removes a delivery from everything but the count of those held.
func (s *Scheduler) leave(now time.Time, m *item) {
	switch m.state {
	case leaving:
		return
	case unrouted:
		s.unrouted = without(s.unrouted, m.ID)
	case routing:
		s.probeOver(m.ID)
	case gathering:
		m.party.ready = withoutItem(m.party.ready, m)
	case waiting:
		s.pull(now, m)
	case begun:
		s.part(now, m)
	}
	m.state = leaving
	p := m.place
	if p.held--; p.held == 0 {
		s.forgetPlace(p)
	}
}

func without(list []ID, id ID) []ID {
	for i := range list {
		if list[i] == id {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// forgetPlace forgets a destination without deliveries.
func (s *Scheduler) forgetPlace(p *place) {
	last := len(s.placeList) - 1
	s.placeList[p.index] = s.placeList[last]
	s.placeList[p.index].index = p.index
	s.placeList[last] = nil
	s.placeList = s.placeList[:last]
	delete(s.places, p.name)
}

// giveBack hands a delivery back to the queue.
func (s *Scheduler) giveBack(now time.Time, m *item, b Back) {
	s.leave(now, m)
	b.ID = m.ID
	s.back = append(s.back, b)
}

const (
	// parkedFor is the longest time for which a destination stays parked.
	parkedFor = 10 * time.Minute

	// minLikely is the shortest wait in queues in which only single deliveries can wait.
	minLikely = time.Second

	// maxKept is how many destinations are noted as kept back for a site. Others wait in
	// the queue until the time given with them.
	maxKept = 10_000
)

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

// likelyAt estimates when one more delivery, for which the site has no room, would have
// its turn.
func (t *site) likelyAt(now time.Time) time.Time {
	if t.likely.Before(now) {
		t.likely = now
	}
	if t.careful() {
		return now.Add(minLikely)
	}
	t.likely = t.likely.Add(max(t.pace, interval(t.speed()), t.took/time.Duration(t.limit())))
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

// note notes how a destination is kept back. If it is already paused until an earlier
// time, that time stays.
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

// liftOne lifts everything that keeps a destination back because of a site.
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

// unpark lifts what this agent alone keeps back of a destination.
func (s *Scheduler) unpark(t *site, k *kept) {
	if k.paused || k.each {
		k.parked = false
		t.parked--
		s.parked--
		s.lift = append(s.lift, Lift{Destination: k.destination, Parked: true})
		return
	}
	s.liftOne(t, k)
}

// liftAll lifts everything that is kept back because of a site.
func (s *Scheduler) liftAll(now time.Time, t *site) {
	for len(t.keptList) > 0 {
		s.liftOne(t, t.keptList[len(t.keptList)-1])
	}
	s.claims.again(now)
}
