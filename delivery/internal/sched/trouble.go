package sched

import "time"

const (
	firstProbe = time.Second
	lastProbe  = 5 * time.Second
)

// troubled reports whether there is trouble of our own.
func (s *Scheduler) troubled() bool { return s.trouble.cause != NoTrouble }

// Troubled tells that something of our own has failed.
func (s *Scheduler) Troubled(now time.Time, c Cause) {
	r := &s.trouble
	if s.troubled() || c == NoTrouble {
		return
	}
	r.cause, r.since, r.pause, r.at = c, now, firstProbe, now.Add(firstProbe)
	r.notices = append(r.notices, TroubleNotice{Cause: c, Since: now})
}

// Recovered tells that it works again.
func (s *Scheduler) Recovered(now time.Time, c Cause) {
	r := &s.trouble
	if !s.troubled() || r.cause != c {
		return
	}
	r.notices = append(r.notices, TroubleNotice{Cause: c, Over: true, Since: r.since})
	*r = trouble{notices: r.notices}
	s.claims.again(now)
}

// failed notes that a probe failed and sets the time of the next one.
func (r *trouble) failed(now time.Time) {
	if !now.Before(r.at) {
		r.pause = min(2*r.pause, lastProbe)
		r.at = now.Add(r.pause)
	}
	r.probeID, r.probeShip = 0, 0
}

// probes reports whether a delivery can find out if the trouble is over.
func (s *Scheduler) probes() bool {
	return s.trouble.cause != QueueFails && s.trouble.cause != StoreFails
}

// mayProbeByClaim reports whether a claim is to find out if the trouble is over, or to
// bring a delivery that can.
func (s *Scheduler) mayProbeByClaim() bool {
	return s.trouble.cause == QueueFails || s.probes() && s.trouble.probeID == 0 && s.trouble.probeShip == 0 && len(s.unrouted) == 0 && !s.anyReady()
}

// mayClaim reports whether a claim may be made now.
func (s *Scheduler) mayClaim() bool {
	return s.claims.under == noClaim && !s.drained && !s.stopped && (!s.troubled() || s.mayProbeByClaim())
}

// anyReady reports whether there may be a shipment to begin.
func (s *Scheduler) anyReady() bool {
	return len(s.boards[quick].list)+len(s.boards[slow].list) > 0
}

// probeFailed notes that a delivery, which may be the probe, met trouble of our own.
func (s *Scheduler) probeFailed(now time.Time, id ID) {
	if id == s.trouble.probeID {
		s.trouble.failed(now)
	}
}

// probeOver notes that a delivery, which may be the probe, has come to another end.
func (s *Scheduler) probeOver(id ID) {
	if id == s.trouble.probeID {
		s.trouble.probeID = 0
	}
}

// probeOverShip notes that an attempt, which may be the probe, has shown nothing.
func (s *Scheduler) probeOverShip(now time.Time, n Ship) {
	if n == s.trouble.probeShip {
		s.trouble.failed(now)
	}
}

// routeFound notes that DNS works again.
func (s *Scheduler) routeFound(now time.Time, _ ID) { s.Recovered(now, DNSFails) }

// provenBy ends trouble of our own if a lesson shows that it is over.
func (s *Scheduler) provenBy(now time.Time, n Ship, k Kind) {
	if s.probes() && (k >= LoginRefused || k == Unreachable && n == s.trouble.probeShip) {
		s.Recovered(now, s.trouble.cause)
	}
}
