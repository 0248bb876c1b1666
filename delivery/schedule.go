package delivery

import (
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Schedule says how long to wait after an attempt that did not settle every
// recipient of a delivery. It may be called concurrently. A wait that is not
// longer than zero makes the delivery due at once.
type Schedule interface {
	Delay(Retry) time.Duration
}

// Retry is what a Schedule may go by.
type Retry struct {
	// Attempts is how many there have been, with the last one.
	Attempts int

	// Outcome is Deferred or Unknown, Reply what was said to the recipient that
	// came furthest.
	Outcome queue.Outcome
	Reply   queue.Reply

	// Destination is the recipients' domain in canonical form.
	Destination string

	// Arrived is when the message was accepted, Now when the attempt ended.
	Arrived, Now time.Time
}

// Delays is a Schedule that sees nothing but the number of attempts: the n-th
// entry is the wait after the n-th attempt, and the last one repeats.
type Delays []time.Duration

// DefaultSchedule is what an agent goes by that is given no other. RFC 5321
// section 4.5.4.1 advises two attempts in the first hour and one every two or
// three hours after that.
//
//	attempt   wait    after the first attempt
//	1st       5 m     5 m
//	2nd       15 m    20 m
//	3rd       30 m    50 m
//	4th       1 h     1 h 50 m
//	5th       2 h     3 h 50 m
//	6th on    4 h     7 h 50 m, ...
func DefaultSchedule() Schedule {
	return Delays{
		5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour,
	}
}

// Delay is the entry for the attempts made; an empty list waits half an hour.
func (d Delays) Delay(r Retry) time.Duration {
	if len(d) == 0 {
		return 30 * time.Minute
	}
	return d[max(0, min(r.Attempts, len(d))-1)]
}

func (d Delays) problems() (list []error) {
	for i, wait := range d {
		if wait <= 0 {
			list = append(list, fmt.Errorf("delivery.Settings.Schedule: wait %d is %v", i+1, wait))
		}
	}
	return list
}

// nextAttempt is when to try again: by the schedule, with jitter. rnd answers
// with a number from 0 up to 1.
func (s *Settings) nextAttempt(r Retry, rnd func() float64) time.Time {
	wait := max(s.Schedule.Delay(r), 0)
	if s.Jitter > 0 {
		wait += time.Duration(float64(wait) * s.Jitter * rnd())
	}
	return r.Now.Add(wait)
}
