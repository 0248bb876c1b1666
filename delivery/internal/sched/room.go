package sched

import (
	"slices"
	"time"
)

// How many deliveries a site may hold.
const (
	firstAhead = 128 // until an attempt has ended there
	minAhead   = 16  // at least, if the site is well
	fewAhead   = 4   // if attempts are made one at a time; and of each tenant in any case
	fewWaiting = 2   // of a tenant, when the site has enough of its mail
	aheadTime  = 500 * time.Millisecond

	// stuckAfter is how long a site may go without the end of an attempt before the
	// mail that waits there gives up its memory to others.
	stuckAfter = 2 * time.Second
)

// claimMost is the most deliveries that one claim asks for, in all and for one destination.
const claimMost = 128

// memoryShare is how many times the free memory a tenant may hold.
const memoryShare = 4

// careful reports whether attempts are made one at a time: to find out if the site
// works again, or because it defers everything.
func (t *site) careful() bool { return t.failures > 0 || t.refused || t.pace > 0 }

// limit returns how many attempts may be in flight at the site.
func (t *site) limit() int {
	if t.careful() {
		return 1
	}
	return max(int(t.size), 1)
}

// ahead returns how many deliveries the site may hold: what it can do in half a second,
// so that a slow site does not fill the memory that others need.
func (t *site) ahead() int {
	if t.careful() {
		return fewAhead
	}
	if t.took == 0 {
		return max(min(firstAhead, inTime(t.speed())), minAhead)
	}
	turns := int(min(max(aheadTime/t.took, 2), 1000))
	return max(min(int(t.size)*turns, inTime(t.speed())), minAhead)
}

// unbounded is more deliveries than are ever held.
const unbounded = 1 << 30

// speed returns how many attempts a second may begin at the site, by the settings and
// by the rate found for it; zero if there is no limit.
func (t *site) speed() float64 { return lower(t.rate, t.grant.rate) }

// inTime returns how many attempts a rate allows in aheadTime.
func inTime(rate float64) int {
	if wait := interval(rate); wait > 0 {
		return int(aheadTime / wait)
	}
	return unbounded
}

// full reports whether no more mail should be claimed for the site now.
func (t *site) full() bool { return t.held >= max(t.ahead()*3/4, 1) || t.groupFull() }

// stuck reports whether the site holds more than it can do.
func (t *site) stuck(now time.Time) bool {
	return t.waiting > fewAhead && t.inFlight > 0 && now.Sub(t.progress) > stuckAfter
}

// ahead returns how many deliveries a group may hold: four for each attempt that may be
// in flight, but no more than may begin in half a second, and at least minAhead.
func (g *group) ahead() int {
	most := unbounded
	if g.Connections > 0 {
		most = fewAhead * g.Connections
	}
	return max(min(most, inTime(g.Rate)), minAhead)
}

func (g *group) full() bool { return g.held >= g.ahead()*3/4 }

// groupFull reports whether no more mail should be claimed for a site because of its
// groups.
func (t *site) groupFull() bool {
	return slices.ContainsFunc(t.groups, (*group).full)
}

// groupRoom reports whether the groups of a site can hold one more delivery of a
// tenant's.
func (t *site) groupRoom(u *tenant) bool {
	return !slices.ContainsFunc(t.groups, func(g *group) bool {
		return g.held >= g.ahead()+fewAhead && g.tenants[u] >= fewAhead
	})
}

// groupLeft returns how many more deliveries the groups of a site should get.
func (t *site) groupLeft() int {
	left := unbounded
	for _, g := range t.groups {
		left = min(left, g.ahead()-g.held)
	}
	return left
}

// slowAhead returns how many deliveries may be held for sites that are not quick.
func (s *Scheduler) slowAhead() int { return s.settings.Ahead / 2 }

// slowRoom reports whether one more may be held for a tenant at a site that is not
// quick.
func (s *Scheduler) slowRoom(u *tenant) bool {
	return u.heldSlow < memoryShare*(s.slowAhead()-s.heldSlow)
}

// hasEnough reports whether a site has no use for more mail of a tenant.
func (s *Scheduler) hasEnough(t *site, u *tenant) bool {
	l := t.lanes[u]
	return l != nil && l.held >= fewWaiting || t.class == slow && !s.slowRoom(u) || !t.groupRoom(u)
}

// crowded reports whether the memory is full.
func (s *Scheduler) crowded() bool { return s.held > s.settings.Ahead-claimMost }
