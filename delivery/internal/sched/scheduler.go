package sched

import "time"

// New returns a Scheduler that knows nothing yet.
func New(settings Settings) *Scheduler {
	s := &Scheduler{
		settings: settings, remember: maxSites,
		items: make(map[ID]*item), places: make(map[string]*place), sites: make(map[string]*site),
		groups:  make(map[string]*group),
		tenants: make(map[string]*tenant), ships: make(map[Ship]*shipment),
	}
	for c := range s.boards {
		s.boards[c] = heap[*tenant]{less: tenantBefore, at: func(u *tenant) *int { return &u.at[c] }}
	}
	s.alarms = heap[*site]{
		less: func(a, b *site) bool { return a.alarm.Before(b.alarm) }, at: func(t *site) *int { return &t.alarmAt },
	}
	return s
}

// Decide fills in out with what to do now. It overwrites what was there before.
func (s *Scheduler) Decide(now time.Time, out *Output) {
	out.Route, out.Begin, out.ids = out.Route[:0], out.Begin[:0], out.ids[:0]
	out.Trouble = append(out.Trouble[:0], s.trouble.notices...)
	s.trouble.notices = s.trouble.notices[:0]
	s.timePasses(now)
	if s.troubled() {
		s.probe(now, out)
	} else {
		out.Route = append(out.Route, s.unrouted...)
		for _, id := range s.unrouted {
			s.items[id].state = routing
		}
		s.unrouted = s.unrouted[:0]
		s.beginAll(now, out)
	}
	s.handOn = handOn{}
	s.trim(now)
	out.Claim, out.ToClaim = s.claim(now)
	out.Back = append(out.Back[:0], s.back...)
	out.Lift = append(out.Lift[:0], s.lift...)
	s.back, s.lift = s.back[:0], s.lift[:0]
	out.Wake = s.wake(now)
}

// timePasses does everything that was due before now.
func (s *Scheduler) timePasses(now time.Time) {
	for len(s.parties) > 0 && (s.parties[0].left == 0 || !s.parties[0].until.After(now)) {
		g := s.parties[0]
		s.parties[0] = nil
		s.parties = s.parties[1:]
		s.release(now, g)
	}
	for {
		t, ok := s.alarms.first()
		if !ok || t.alarm.After(now) {
			return
		}
		s.alarms.remove(t)
		s.touch(now, t)
		s.wantRefill(now, t)
	}
}

// probe begins a probe, if one is due: a route to ask for or an attempt.
func (s *Scheduler) probe(now time.Time, out *Output) {
	r := &s.trouble
	if r.probeShip != 0 || !s.probes() {
		return
	}
	if r.probeID != 0 {
		if !s.probeWaits() || s.beginProbe(now, out) || s.items[r.probeID] != nil {
			return // if nothing may begin yet, the attempt is the probe once it may
		}
		r.probeID = 0
	}
	switch {
	case now.Before(r.at):
	case len(s.unrouted) > 0 && !s.drained:
		id := s.unrouted[0]
		s.unrouted = s.unrouted[1:]
		s.items[id].state, r.probeID = routing, id
		out.Route = append(out.Route, id)
	default:
		s.beginProbe(now, out)
	}
}

// probeWaits reports whether no delivery is the probe whose route is being asked for.
func (s *Scheduler) probeWaits() bool {
	m := s.items[s.trouble.probeID]
	return m == nil || m.state == waiting
}

// beginProbe begins an attempt as the probe, and reports whether one may begin.
func (s *Scheduler) beginProbe(now time.Time, out *Output) bool {
	l, trial := s.next(now)
	if l == nil {
		return false
	}
	s.begin(now, l, trial, out)
	s.trouble.probeID, s.trouble.probeShip = 0, s.lastShip
	return true
}

// probeAt returns when the next probe begins. If ok is false, none may begin until
// something else happens.
func (s *Scheduler) probeAt(now time.Time) (at time.Time, ok bool) {
	r := &s.trouble
	switch {
	case !s.probes() || r.probeShip != 0 || !s.probeWaits() || s.drained:
		return at, false
	case r.probeID == 0 && len(s.unrouted) > 0:
		return r.at, true
	case s.inFlight >= s.settings.Connections || s.stopped:
		return at, false
	case len(s.boards[quick].list) > 0, len(s.boards[slow].list) > 0 && s.slowMayBegin():
		return r.at, true
	case s.trialWaits(now) && s.nextTrial.After(r.at):
		return s.nextTrial, true
	case s.trialWaits(now):
		return r.at, true
	default:
		return at, false
	}
}

// wake returns when Decide must be called if nothing else happens, or zero.
func (s *Scheduler) wake(now time.Time) (at time.Time) {
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if t, ok := s.alarms.first(); ok && !s.drained {
		sooner(t.alarm)
	}
	if len(s.parties) > 0 {
		sooner(s.parties[0].until)
	}
	if s.troubled() {
		if t, ok := s.probeAt(now); ok {
			sooner(t)
		}
	} else if s.trialWaits(now) {
		sooner(s.nextTrial)
	}
	if t, ok := s.claimAt(now); ok {
		sooner(t)
	}
	return at
}

// Configure changes the settings. What is in flight goes on; sites that were
// limited by the old ones may grow at once, and those that refuse the login are
// tried.
func (s *Scheduler) Configure(now time.Time, settings Settings) {
	s.settings, s.configured = settings, now
	for _, g := range s.groups {
		g.began = time.Time{}
	}
	for t := s.known.head; t != nil; t = t.next {
		s.limit(t)
	}
	for t := s.known.head; t != nil; t = t.next { // a second loop: only now do all groups have their sites
		if t.refused {
			s.absolve(now, t)
		}
		t.size = min(t.size, float64(t.most))
		t.threshold = max(t.threshold, float64(t.most))
		t.ceiling, t.grant = 0, grant{}
		t.paced, t.began = time.Time{}, time.Time{}
		s.touch(now, t)
	}
	for t := s.known.head; t != nil; t = t.next {
		s.eased(now, t)
	}
	s.MailCame(now)
}

// Stop tells whether the caller has no room for what attempts make. While it has none,
// nothing begins and nothing is claimed.
func (s *Scheduler) Stop(now time.Time, stop bool) {
	if s.stopped && !stop {
		s.claims.again(now)
	}
	s.stopped = stop
}

// Drain gives back all deliveries that have not begun. From here on nothing begins and
// nothing is claimed.
func (s *Scheduler) Drain(now time.Time) {
	s.drained = true
	for _, g := range s.parties {
		s.release(now, g)
	}
	s.parties = nil
	list := s.unrouted
	s.unrouted = nil
	for _, id := range list {
		s.giveBack(now, s.items[id], Back{Why: Draining})
	}
	for t := s.known.head; t != nil; t = t.next {
		for _, m := range s.empty(t) {
			s.giveBack(now, m, Back{Why: Draining})
		}
	}
}

// Stats are numbers about a Scheduler.
type Stats struct {
	InFlight, Held       int
	Sites, Down, Refused int
	Trouble              Cause     // NoTrouble if there is none
	Since                time.Time // when the trouble began
}

// Stats counts attempts, deliveries and sites.
func (s *Scheduler) Stats(now time.Time) Stats {
	n := Stats{InFlight: s.inFlight, Held: s.held, Trouble: s.trouble.cause, Since: s.trouble.since}
	for t := s.known.head; t != nil; t = t.next {
		n.Sites++
		switch {
		case t.refused:
			n.Refused++
		case t.closed(now):
			n.Down++
		}
	}
	return n
}
