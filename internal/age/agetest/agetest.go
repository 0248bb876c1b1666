// Package agetest makes times of a machine that slept, or whose wall clock was set, for
// tests.
package agetest

import (
	"time"
	"unsafe"
)

// Slept is t with a wall clock that is ahead by so many whole seconds, and the same
// monotonic clock: what time.Now returns after the machine slept for so long, or, with a
// negative time, after the wall clock was put back. t must be of time.Now, outside
// a synctest bubble: inside one times have no monotonic reading.
func Slept(t time.Time, by time.Duration) time.Time {
	slept := t
	// A time with a monotonic reading has the seconds of the wall clock above 30 bits of
	// nanoseconds. TestSlept holds package time to that.
	(*struct{ wall uint64 })(unsafe.Pointer(&slept)).wall += uint64(by/time.Second) << 30
	return slept
}
