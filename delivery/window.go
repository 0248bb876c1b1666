package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// window is how many attempts at a site may be under way: like a congestion
// window, it grows with what is taken and halves when hosts fail or say
// "later".
type window struct {
	size      float64
	threshold float64   // up to it the size grows by one with each success
	shrunk    time.Time // the last time
	deferrals int       // attempts in a row that nothing came of
	pace      time.Duration
}

const (
	firstWindow = 2 // until something is known of a site

	// manyDeferrals in a row make an agent ask less often.
	manyDeferrals = 10
	firstPace     = 50 * time.Millisecond
	// rcptPace is the longest wait between messages to a site that defers
	// recipients: they may be greylisted, and their time begins when they were
	// asked for. slowPace is that for one that defers before.
	rcptPace = 100 * time.Millisecond
	slowPace = 25 * time.Second
)

func newWindow(most int) window {
	return window{size: min(firstWindow, float64(most)), threshold: float64(most)}
}

// grow notes a success.
func (w *window) grow(most int) {
	w.deferrals, w.pace = 0, 0
	if w.size < w.threshold {
		w.size++
	} else {
		w.size += 1 / w.size
	}
	w.size = min(w.size, float64(most))
}

// shrink notes that an attempt begun then was too much. Those that were under
// way together shrink the window once.
func (w *window) shrink(began, now time.Time) {
	if began.Before(w.shrunk) {
		return
	}
	w.size = max(w.size/2, 1)
	w.threshold, w.shrunk = w.size, now
}

// deferred notes an attempt that nothing came of. After many in a row there is
// a wait between attempts, of most at the longest.
func (w *window) deferred(most time.Duration) {
	w.deferrals++
	if over := w.deferrals - manyDeferrals; over >= 0 {
		w.pace = min(firstPace<<min(over, 10), most)
	}
}

// backoff is for how long a site is left alone whose hosts are all down, or
// refuse our login. The waits are those of the schedule, as for one message:
// then one attempt is made, with whatever message is there, and the others wait
// for what becomes of it.
type backoff struct {
	failures int       // in a row
	until    time.Time // no attempt before
	last     queue.Reply
	alive    time.Time // when a host last took or refused something
	paused   bool      // the login was refused, and the application told
}

// pausedFor is the time between attempts at a site that refuses the login.
const pausedFor = 5 * time.Minute

// closed reports whether the site is left alone.
func (b *backoff) closed(now time.Time) bool { return now.Before(b.until) }

// fail leaves the site alone for a while, as long as wait says. Attempts that
// ran beside each other fail once; one beside which others succeeded says little
// about the site. It reports whether the site is left alone now. The caller
// holds r.mu.
func (s *site) fail(began, now time.Time, wait time.Duration, why queue.Reply) bool {
	s.last = why
	switch {
	case s.closed(now):
		return true
	case began.Before(s.alive):
		s.shrink(began, now)
		return false
	}
	s.failures++
	s.size, s.threshold, s.shrunk = 1, 1, now
	s.until = now.Add(wait)
	return true
}

// siteDelay is the schedule's wait after so many failures of a site. There is no
// jitter in it, so that the site is open when a message that was tried with it
// becomes due. The caller does not hold r.mu: the schedule is the application's.
func (r *run) siteDelay(failures int, destination string, why queue.Reply, now time.Time) time.Duration {
	wait := time.Hour // where the application's schedule panics
	r.agent.guard(func() {
		wait = r.agent.current().Schedule.Delay(Retry{
			Attempts: failures, Outcome: queue.Deferred, Reply: why, Destination: destination,
			Arrived: now, Now: now,
		})
	})
	return max(wait, 0)
}

// revive notes that a host of the site works. What was kept back for it is to be
// claimed now. The caller holds r.mu.
func (r *run) revive(s *site, now time.Time) {
	s.alive = now
	if s.failures == 0 && !s.paused {
		return
	}
	s.failures, s.until = 0, time.Time{}
	s.threshold = float64(r.limits().PerSite)
	r.lift(s, len(s.kept))
}
