package delivery

import "time"

// site is the destinations that share their hosts, and what an agent knows of
// them: mail that waits, how many connections they take, how they fared lately.
// Its fields belong to the run's mutex.
type site struct {
	key string

	waiting   fifo                 // shipments, in order
	byMessage map[string]*shipment // those of waiting, for others of the message to join
	claimed   int                  // deliveries waiting or under way
	workers   int
	eligible  bool // waits for its turn: a limit of the whole agent is reached

	window
	backoff
	pacing time.Time   // no message before: a rate, or a site that defers everything
	alarm  *time.Timer // dispatches the site at that time

	took     time.Duration // an attempt, on average
	finished time.Time     // the last one

	// kept are destinations whose mail stays in the queue because of the site.
	// parked is when the last of the mail for which it had no room will have
	// its turn, as far as can be told.
	kept     map[string]kept
	parked   time.Time
	coming   int // lifted and not claimed yet, about
	refilled time.Time
	skipped  bool // its destinations were left out of the last claim
}

// kept is how a destination's mail is kept back: until when, and in which ways.
type kept struct {
	until  time.Time
	single bool // some deliveries each by itself, which takes a flush to undo
	parked bool // from this agent, which has no room for it
	paused bool // from everybody, because of what the site's hosts said
}

// Bounds of what a site has in memory.
const (
	minAhead  = 16 // deliveries claimed for a site that is well
	fewAhead  = 4  // and for one that is tried, or paced
	aheadTime = 500 * time.Millisecond

	maxKept = 10_000 // destinations of a site to be released at once
)

// ahead is how many deliveries the site may have claimed: what it can do in
// half a second, so that a slow one does not fill the memory that the others
// need.
func (s *site) ahead() int {
	if s.slow() {
		return fewAhead
	}
	if s.took == 0 {
		return claimMost
	}
	turns := int(min(max(aheadTime/s.took, 2), 1000))
	return max(int(s.size)*turns, minAhead)
}

// slow reports whether attempts are made one at a time: to find out whether the
// site works again, or because it defers everything.
func (s *site) slow() bool { return s.failures > 0 || s.paused || s.pace > 0 }

// full reports whether no more is to be claimed for the site just now.
func (s *site) full() bool { return s.claimed >= max(s.ahead()/2, 1) }

// parkedUntil is when mail for which the site has no room will have its turn,
// about: it stays in the queue until then.
func (s *site) parkedUntil(now time.Time) time.Time {
	if s.parked.Before(now) {
		s.parked = now
	}
	if s.slow() {
		return now.Add(maxCrowded) // refill sees to it
	}
	s.parked = s.parked.Add(max(s.pace, s.took/time.Duration(s.limit())))
	return clampTime(s.parked, now.Add(minCrowded), now.Add(maxCrowded))
}

func clampTime(t, least, most time.Time) time.Time {
	switch {
	case t.Before(least):
		return least
	case t.After(most):
		return most
	default:
		return t
	}
}

// limit is how many attempts may be under way.
func (s *site) limit() int {
	if s.slow() {
		return 1
	}
	return max(int(s.size), 1)
}

// stuckAfter is how long nothing may have come of a site that has mail before
// that mail is taken to be in the others' way.
const stuckAfter = 2 * time.Second

// stuck reports whether the site holds more than it can do.
func (s *site) stuck(now time.Time) bool {
	return s.waiting.len() > fewAhead && s.workers > 0 && now.Sub(s.finished) > stuckAfter
}

// timed notes how long an attempt took.
func (s *site) timed(d time.Duration) {
	if s.took == 0 {
		s.took = d
		return
	}
	s.took += (d - s.took) / 8
}

// worthKeeping reports whether the site has anything that a new one would not
// have.
func (s *site) worthKeeping(now time.Time) bool {
	return s.claimed > 0 || s.workers > 0 || s.eligible || len(s.kept) > 0 ||
		s.failures > 0 || s.paused || s.pace > 0 || now.Before(s.pacing)
}

// fifo is a queue of shipments.
type fifo struct {
	list []*shipment
	head int
}

func (f *fifo) len() int { return len(f.list) - f.head }

func (f *fifo) push(sh *shipment) {
	if f.head > 32 && f.head > len(f.list)/2 {
		n := copy(f.list, f.list[f.head:])
		clear(f.list[n:])
		f.list, f.head = f.list[:n], 0
	}
	f.list = append(f.list, sh)
}

func (f *fifo) pop() *shipment {
	if f.len() == 0 {
		return nil
	}
	sh := f.list[f.head]
	f.list[f.head] = nil
	f.head++
	return sh
}
