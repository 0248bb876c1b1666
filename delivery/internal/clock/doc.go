// Package clock tells an agent the time, by a wall clock that may be set and a
// machine that may sleep.
//
// A [Clock] goes by the monotonic clock between two readings, and compares it with
// the wall clock at each:
//
//  1. What the wall clock has moved by less than a minute, it is followed by at
//     once: NTP that puts it right, a leap second. The clock never goes back; it
//     stands until the wall clock has come up to it.
//  2. More is a jump: the clock was set, or the machine slept and the monotonic
//     clock with it. [Clock.News] tells of it.
//  3. A jump ahead is followed when [Clock.Follow] says so, so that leases can be
//     extended before they seem to have ended. What fell due while the machine
//     slept is then due.
//  4. A jump back is never followed: what waits until a time would wait for as much
//     longer. The clock stays ahead of the wall clock by that, for as long as the
//     process lives or until the wall clock has jumped ahead again.
//  5. What was dated by the wall clock before it jumped ahead is as old as it was:
//     [Clock.Moved] says by how much its date would have to be put off. So a jump
//     makes nothing expire. Nor does a date in the future, left by a wall clock that
//     was put back, make anything last that much longer.
package clock
