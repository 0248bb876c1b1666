package sched

import "time"

// beginAll begins all attempts that may begin.
func (s *Scheduler) beginAll(now time.Time, out *Output) {
	for {
		l, trial := s.next(now)
		if l == nil {
			return
		}
		s.begin(now, l, trial, out)
	}
}

// next returns the lane whose turn it is, or nil if nothing may begin.
func (s *Scheduler) next(now time.Time) (l *lane, trial bool) {
	if s.inFlight >= s.settings.Connections || s.stopped || s.drained {
		return nil, false
	}
	l = s.best(now, quick)
	if t := s.handedOn(now); t != nil && (l == nil || l.tenant.inFlight > 0) {
		if other := s.best(now, slow); other == nil || other.tenant.inFlight > 0 || !s.slowMayBegin() {
			first, _ := t.turn.first()
			return first, false
		}
	}
	if s.slowMayBegin() {
		return s.first(l, s.best(now, slow)), false
	}
	if l == nil {
		if t := s.forTrial(now); t != nil {
			first, _ := t.turn.first()
			return first, true
		}
	}
	return l, false
}

// first returns the first of two lanes, either of which may be nil.
func (s *Scheduler) first(l, other *lane) *lane {
	if l == nil || other != nil && (tenantBefore(other.tenant, l.tenant) || other.tenant == l.tenant && laneBefore(other, l)) {
		return other
	}
	return l
}

// best returns the lane of a class whose turn it is, or nil.
func (s *Scheduler) best(now time.Time, c class) *lane {
	for {
		u, ok := s.boards[c].first()
		if !ok {
			return nil
		}
		l, _ := u.lanes[c].first()
		if !s.ready(now, l.site) {
			s.unlist(l)
			continue
		}
		if s.classify(now, l.site); l.site.class == c {
			return l
		}
	}
}

// reserve returns how many connections are kept for quick sites.
func (s *Scheduler) reserve() int { return s.settings.Connections / 4 }

// slowMayBegin reports whether an attempt may begin at a site that is not quick.
func (s *Scheduler) slowMayBegin() bool { return s.slow < s.settings.Connections-s.reserve() }

// maxTurns is how many attempts at a site may follow each other in one turn: another
// site may need a new connection.
const maxTurns = 16

// handedOn returns the site whose turn continues, or nil.
func (s *Scheduler) handedOn(now time.Time) *site {
	t := s.handOn.site
	if t == nil || s.handOn.turns >= maxTurns || !s.ready(now, t) {
		return nil
	}
	if s.classify(now, t); t.class == slow && !s.slowMayBegin() {
		return nil
	}
	return t
}

const firstTrial = 250 * time.Millisecond

// trialWaits reports whether a trial waits for nothing but its time.
func (s *Scheduler) trialWaits(now time.Time) bool {
	if s.inFlight >= s.settings.Connections || s.slowMayBegin() || s.trials >= s.reserve()/2 || s.stopped || s.drained {
		return false
	}
	t := s.newestReady()
	return t != nil && s.ready(now, t)
}

// newestReady returns the newest untried site with mail, or nil.
func (s *Scheduler) newestReady() *site {
	for last := len(s.newest) - 1; last >= 0; last-- {
		if t := s.newest[last]; !t.known && t.waiting > 0 && t.inFlight == 0 {
			s.newest = s.newest[:last+1]
			return t
		}
		s.newest[last].inNewest = false
		s.newest[last] = nil
	}
	s.newest = s.newest[:0]
	return nil
}

// forTrial returns the site that gets a trial now, or nil.
func (s *Scheduler) forTrial(now time.Time) *site {
	if s.trials >= s.reserve()/2 || now.Before(s.nextTrial) {
		return nil
	}
	t := s.newestReady()
	if t == nil || !s.ready(now, t) {
		return nil
	}
	return t
}

// begin begins an attempt at the site of a lane, with the mail whose turn it is there.
func (s *Scheduler) begin(now time.Time, l *lane, trial bool, out *Output) {
	t := l.site
	if first, _ := t.turn.first(); first.precedes(l) {
		l = first
	}
	sh, _ := l.waiting.first()
	s.unqueue(sh)
	if id := sh.items[0].Message; t.byMessage[id] == sh {
		delete(t.byMessage, id)
	}
	s.lastShip++
	if s.handOn.site == t {
		sh.turns = s.handOn.turns
	}
	s.handOn = handOn{}
	sh.n, sh.slow, sh.trial = s.lastShip, t.class == slow && !trial, trial
	s.ships[sh.n] = sh
	if sh.slow {
		s.slow++
	}
	if trial {
		s.trials++
		s.nextTrial = now.Add(firstTrial * time.Duration((s.trials+1)*(s.trials+1)))
	}
	if t.inFlight++; t.inFlight == 1 {
		t.progress = now
	}
	s.inFlight++
	t.enterGroups(now)
	s.served++
	l.inFlight++
	l.served, l.since = s.served, now
	l.tenant.inFlight++
	l.tenant.served = s.served
	if l.turnAt != absent {
		t.turn.fix(l)
		s.rekey(l)
	}
	s.fixTenant(l.tenant)
	t.paceOn(now)
	from := len(out.ids)
	for _, m := range sh.items {
		m.state = begun
		out.ids = append(out.ids, m.ID)
	}
	out.Begin = append(out.Begin, Begin{Ship: sh.n, Site: t.key, Mail: out.ids[from:len(out.ids):len(out.ids)]})
}

// paceOn notes that an attempt at a site begins, and when the next one may by its pace and
// the rate found for it.
func (t *site) paceOn(now time.Time) {
	t.began = now
	t.paced = later(now.Add(t.pace), t.grant.next(now, t.paced))
}
