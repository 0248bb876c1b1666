// Package age tells how old something is that was learnt from outside and holds for a
// time: an answer of DNS for its TTL, a kept connection for as long as a host leaves it
// open.
//
// The rest of the world does not wait while this machine sleeps. On most systems the
// monotonic clock, which package time compares times by, stands still meanwhile. The wall
// clock goes on, but it can be set. So both are read here, and the longer time counts:
// nothing outlives its time because the machine slept or because the wall clock was put
// back. If the wall clock is put ahead, things end early and are learnt again.
//
// Times are those of time.Now, which have both readings, and what Add makes of them.
package age

import "time"

// Between is how much time has passed since then.
func Between(then, now time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}

// Past reports whether a time has come.
func Past(until, now time.Time) bool { return Between(until, now) >= 0 }

// Left is how much time there is until then; not positive if the time has come.
func Left(until, now time.Time) time.Duration { return -Between(until, now) }

// Since is how much time has passed since then.
func Since(then time.Time) time.Duration { return Between(then, time.Now()) }
