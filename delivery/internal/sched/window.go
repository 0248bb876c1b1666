package sched

import "time"

// window is how many attempts at a site may be in flight: like a congestion
// window, it grows with what is taken and halves when hosts fail or say "later". What
// was too much once is tried again after a second, by one more at a time, and after
// twice as long each time that it still is: a host that limits connections is asked for
// one too many now and then, not once for every few messages.
type window struct {
	size      float64
	threshold float64       // up to it the size grows by one with each success
	shrunk    time.Time     // the last time
	ceiling   float64       // one more was too much; zero where nothing was
	hold      time.Duration // for how long no more than that is tried
	tryAt     time.Time     // from when on it is
	deferrals int           // attempts in a row that nothing came of
	pace      time.Duration
}

const (
	firstWindow = 2 // until something is known of a site

	firstHold = time.Second
	lastHold  = time.Minute

	// manyDeferrals in a row make for a pace.
	manyDeferrals = 10
	firstPace     = 50 * time.Millisecond
	// rcptPace is the longest wait between attempts at a site that defers
	// recipients: they may be greylisted, and their time begins when they were
	// asked for. slowPace is that for one that defers before.
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
		if w.size > w.ceiling { // it has been taken for as long
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

// shrink notes that an attempt begun then was too much. Those that were in flight
// together shrink the window once.
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

// deferred notes an attempt that nothing came of. After many in a row there is a
// wait between attempts, of most at the longest.
func (w *window) deferred(most time.Duration) {
	w.deferrals++
	if over := w.deferrals - manyDeferrals; over >= 0 {
		w.pace = min(firstPace<<min(over, 10), most)
	}
}

// backoff is for how long a site is left alone of which no host could be asked, or
// whose hosts refuse the login. Then one attempt is made, and the others wait for
// what becomes of it.
type backoff struct {
	failures int       // in a row
	until    time.Time // no attempt before
	alive    time.Time // when a host last took or refused something
	refused  bool      // the login is
	said     string    // the last time
}

// refusedFor is the time between attempts at a site that refuses the login.
const refusedFor = 5 * time.Minute

// closed reports whether the site is left alone.
func (b *backoff) closed(now time.Time) bool { return now.Before(b.until) }
