package sched

import "time"

// window limits the attempts in flight at a site. Like a congestion window, it grows
// with what the site takes, and halves if hosts fail or say "later". A size that was too
// much once is tried again after a second, one more at a time, and if it is still too
// much, after twice as long each time: so a host that limits connections is asked for
// one too many now and then, and not once for every few messages.
type window struct {
	size      float64
	threshold float64       // up to this size, each success adds one
	shrunk    time.Time     // when the window last shrank
	ceiling   float64       // one more than this was too much; zero if nothing was
	hold      time.Duration // how long after a failure no more than ceiling is tried
	tryAt     time.Time     // when more than ceiling may be tried again
	deferrals int           // attempts in a row without success
	pace      time.Duration // the least time between attempts
}

const (
	firstWindow = 2 // until something is known of a site

	firstHold = time.Second
	lastHold  = time.Minute

	// manyDeferrals in a row give the site a pace.
	manyDeferrals = 10
	firstPace     = 50 * time.Millisecond
	// rcptPace is the longest pace of a site that defers recipients: they may be
	// greylisted, and the time of a greylist begins with the first attempt. slowPace is
	// the longest pace of a site that defers before any recipient.
	rcptPace = 100 * time.Millisecond
	slowPace = 25 * time.Second
)

func newWindow(most int) window {
	return window{size: min(firstWindow, float64(most)), threshold: float64(most)}
}

// grow notes a success.
func (w *window) grow(now time.Time, most int) {
	w.deferrals, w.pace = 0, 0
	switch {
	case w.ceiling > 0 && w.size >= w.ceiling:
		if now.Before(w.tryAt) {
			return
		}
		if w.size > w.ceiling { // the larger size went well for as long as hold
			w.ceiling, w.hold = w.size, max(w.hold/2, firstHold)
		}
		w.size, w.tryAt = w.ceiling+1, now.Add(w.hold)
	case w.size < w.threshold:
		w.size++
	default:
		w.size += 1 / w.size
	}
	if w.size = min(w.size, float64(most)); w.ceiling > 0 && w.size < w.ceiling+1 {
		w.size = min(w.size, w.ceiling)
	}
}

// shrink notes that an attempt, begun at the given time, was too much. Attempts that
// were in flight together shrink the window once.
func (w *window) shrink(began, now time.Time) {
	if began.Before(w.shrunk) {
		return
	}
	w.shrunk = now
	if w.ceiling > 0 && w.size > w.ceiling {
		w.hold = min(2*w.hold, lastHold)
		w.size, w.tryAt = w.ceiling, now.Add(w.hold)
		return
	}
	w.ceiling = max(float64(int(w.size))-1, 1)
	w.size = max(w.size/2, 1)
	w.hold = max(w.hold, firstHold)
	w.tryAt = now.Add(w.hold)
}

// deferred notes an attempt without success. After many in a row the site gets a pace,
// which grows up to most.
func (w *window) deferred(most time.Duration) {
	w.deferrals++
	if over := w.deferrals - manyDeferrals; over >= 0 {
		w.pace = min(firstPace<<min(over, 10), most)
	}
}

// backoff says how long a site is left alone because no host of it could be asked, or
// its hosts refuse the login. After that one attempt is made, and others wait for its
// result.
type backoff struct {
	failures int       // in a row
	until    time.Time // no attempt begins before
	alive    time.Time // when a host last took or refused something
	refused  bool      // the hosts refuse the login
	said     string    // the text of the last failure
}

// refusedFor is the time between attempts at a site that refuses the login.
const refusedFor = 5 * time.Minute

// closed reports whether the site is left alone.
func (b *backoff) closed(now time.Time) bool { return now.Before(b.until) }
