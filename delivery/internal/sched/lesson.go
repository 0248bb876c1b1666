package sched

import "time"

// Learned notes what an attempt has taught about its site. A shipment may be offered
// in several attempts, one after the other.
func (s *Scheduler) Learned(now time.Time, n Ship, l Lesson) Notice {
	sh := s.ships[n]
	if sh == nil {
		return NoNotice
	}
	t := sh.site
	sh.unsent = sh.unsent || l.Again
	if l.Kind == Ours {
		sh.unsent = true
		s.Troubled(now, l.Cause)
		return NoNotice
	}
	s.provenBy(now, n, l.Kind)
	t.progress = now
	switch l.Kind {
	case Works:
		t.timed(now.Sub(l.Began))
		t.grow(now, t.most)
		s.revive(now, t)
		s.judge(now, t, l.Began, l.Deferred)
	case Later:
		t.timed(now.Sub(l.Began))
		s.revive(now, t) // it answers
		t.deferred(rcptPace)
		if t.deferrals >= manyDeferrals {
			t.shrink(l.Began, now)
		}
		if l.Deferred > 0 {
			s.judge(now, t, l.Began, l.Deferred)
		}
	case Busy:
		t.timed(now.Sub(l.Began))
		s.revive(now, t)
		alone := t.limit() == 1 || t.inFlight == 1 || t.grant.rate > 0
		t.shrink(l.Began, now)
		t.deferred(slowPace)
		if alone && !l.Again { // the host cannot want fewer at a time
			s.judge(now, t, l.Began, 1)
		}
	case Unreachable:
		t.tried(now.Sub(l.Began))
		t.said = l.Said
		if t.fail(l.Began, now, l.Wait) {
			s.leaveAlone(now, t)
		}
	case Remembered:
		if !t.closed(now) {
			t.until = now.Add(l.Wait)
		}
		s.leaveAlone(now, t)
	case LoginRefused:
		if l.Began.Before(s.configured) {
			return NoNotice // the attempt may have used another login
		}
		s.refuse(now, t, l.Said)
	}
	if t.pace > 0 && t.waiting > fewAhead {
		s.parkWaiting(now, t)
	}
	return s.notice(now, t, l.Kind)
}

// refuse notes that a login was refused.
func (s *Scheduler) refuse(now time.Time, t *site, said string) {
	until := now.Add(refusedFor)
	if t.until.After(until) { // the host answers, so mail that is kept back is due sooner
		s.liftAll(now, t)
	}
	t.said, t.until = said, until
}

// judge notes the part of an attempt that was deferred for what may be the rate. If a
// rate has been found, mail that would wait long goes back.
func (s *Scheduler) judge(now time.Time, t *site, began time.Time, deferred float64) {
	if t.grant.judge(began, now, deferred, pressed{t.waiting > 0, t.took}) && t.held > t.ahead()+fewAhead {
		s.parkWaiting(now, t)
	}
}

// parkWaiting gives back the mail that waits at a site.
func (s *Scheduler) parkWaiting(now time.Time, t *site) {
	for _, m := range s.empty(t) {
		s.parkAt(now, t, m)
	}
}

// notice returns what to tell the operator: once that a login was refused, and once that
// the site works again.
func (s *Scheduler) notice(now time.Time, t *site, k Kind) Notice {
	switch {
	case k == LoginRefused:
		told := t.refused
		t.refused = true
		s.leaveAlone(now, t)
		if told {
			return NoNotice
		}
		return LoginOut
	case k > LoginRefused && t.refused:
		t.refused = false
		return LoginBack
	default:
		return NoNotice
	}
}

// revive notes that a host of the site works. Mail that was kept back for it may be
// claimed now.
func (s *Scheduler) revive(now time.Time, t *site) {
	t.alive = now
	if t.failures == 0 && !t.refused && !t.closed(now) {
		return
	}
	t.failures, t.until = 0, time.Time{}
	t.threshold = float64(t.most)
	s.liftAll(now, t)
}

// leaveAlone gives back the mail that waits at a site that is left alone.
func (s *Scheduler) leaveAlone(now time.Time, t *site) {
	for _, m := range s.empty(t) {
		s.keepAt(now, t, m)
	}
}

// absolve forgets what is known against a site, so that it may be tried at once.
func (s *Scheduler) absolve(now time.Time, t *site) {
	t.failures, t.until, t.deferrals, t.pace = 0, time.Time{}, 0, 0
	t.paced, t.began = time.Time{}, time.Time{}
	t.threshold = float64(t.most)
	t.grant = grant{}
	s.liftAll(now, t)
	s.touch(now, t)
}

// Flush forgets what is known against the site of a name, and against all sites because
// of which mail of a destination is kept back.
func (s *Scheduler) Flush(now time.Time, name, destination string) {
	for t := s.known.head; t != nil; t = t.next {
		if t.key == name || t.key == noRouteKey(destination) || t.kept[destination] != nil {
			s.absolve(now, t)
		}
	}
	s.claims.again(now)
}

// FlushAll forgets what is known against all sites.
func (s *Scheduler) FlushAll(now time.Time) {
	for t := s.known.head; t != nil; t = t.next {
		s.absolve(now, t)
	}
	s.claims.again(now)
}

// Ended tells that the attempts of a shipment have ended. Deliveries of which the caller
// has said nothing are gone, unless trouble of our own prevented the attempt: these wait
// as before.
func (s *Scheduler) Ended(now time.Time, n Ship) {
	sh := s.ships[n]
	if sh == nil {
		return
	}
	delete(s.ships, n)
	t, l := sh.site, sh.lane
	t.progress = now
	t.inFlight--
	s.inFlight--
	s.leaveGroups(now, t)
	l.inFlight--
	l.tenant.inFlight--
	if sh.slow {
		s.slow--
	}
	if sh.trial {
		s.trials--
	}
	s.fixTenant(l.tenant)
	if l.turnAt != absent {
		t.turn.fix(l)
	}
	for len(sh.items) > 0 {
		m := sh.items[len(sh.items)-1]
		if !sh.unsent {
			s.leave(now, m)
			continue
		}
		s.part(now, m)
		switch {
		case s.drained:
			s.giveBack(now, m, Back{Why: Draining})
		case t.closed(now):
			s.keepAt(now, t, m)
		default:
			s.push(now, t, m)
		}
	}
	s.probeOverShip(now, n)
	s.handOn = handOn{t, sh.turns + 1}
	*sh = shipment{items: sh.items[:0]}
	s.spareShips = append(s.spareShips, sh)
	s.forgetLane(l)
	s.used(t)
	s.classify(now, t)
	s.touch(now, t)
	s.eased(now, t)
}

// Failures returns how often in a row no host of a shipment's site could be asked.
func (s *Scheduler) Failures(n Ship) int {
	if sh := s.ships[n]; sh != nil {
		return sh.site.failures
	}
	return 0
}

// Beside returns how many other attempts are in flight at a shipment's site.
func (s *Scheduler) Beside(n Ship) int {
	if sh := s.ships[n]; sh != nil {
		return sh.site.inFlight - 1
	}
	return 0
}

// Window returns how many attempts may be in flight at a shipment's site.
func (s *Scheduler) Window(n Ship) int {
	if sh := s.ships[n]; sh != nil {
		return sh.site.limit()
	}
	return 1
}

// Until returns when a shipment's site is tried again, if it is left alone.
func (s *Scheduler) Until(n Ship) time.Time {
	if sh := s.ships[n]; sh != nil {
		return sh.site.until
	}
	return time.Time{}
}
