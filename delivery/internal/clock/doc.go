// Package clock tells an agent the time, on a machine whose wall clock may be set and
// which may sleep.
//
// A [Clock] uses the monotonic clock between two readings, and compares it with the
// wall clock at each:
//
//  1. It follows changes of the wall clock of less than a minute at once, such as
//     corrections by NTP or a leap second. The clock never goes back; it stops until
//     the wall clock has caught up.
//  2. A larger change is a jump: the clock was set, or the machine slept and the
//     monotonic clock with it. [Clock.News] reports it.
//  3. A jump ahead is followed when [Clock.Follow] says so, so that leases can be
//     extended before they seem to have ended. What fell due while the machine slept is
//     then due.
//  4. A jump back is never followed: everything that waits until a time would wait
//     longer by as much. The clock stays ahead of the wall clock by the length of the
//     jump, as long as the process lives or until the wall clock has jumped ahead
//     again.
//  5. The age of what was dated by the wall clock before a jump ahead does not change:
//     [Clock.Moved] says how much to add to its date. So a jump makes nothing expire. A
//     date in the future, from before the wall clock was set back, does not make
//     anything last longer either.
package clock
