package delivery

import (
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Schedule says how long to wait after an attempt that did not settle every recipient
// of a delivery. It may be called concurrently. Jitter is added to the delay. A delay
// of less than 100 ms counts as 100 ms, so that a mistake does not become a loop. The
// last attempt is due when the message expires.
type Schedule interface {
	Delay(Retry) time.Duration
}

// Retry describes an attempt to a Schedule.
type Retry struct {
	// Attempts is the number of attempts so far, including the last one.
	Attempts int

	// Outcome is Deferred or Unknown. Reply is the reply to the recipient that came
	// furthest in the dialogue.
	Outcome queue.Outcome
	Reply   queue.Reply

	// Destination is the recipients' domain in canonical form.
	Destination string

	// Arrived is when the message was accepted, Expires when it will be given up, and
	// Now when the attempt ended.
	Arrived, Expires, Now time.Time
}

// Delays is a Schedule that depends only on the number of attempts: the n-th entry is
// the wait after the n-th attempt, and the last entry repeats.
type Delays []time.Duration

// DefaultSchedule returns the default Schedule of an Agent. Most problems are over
// within an hour, and the others last longer: RFC 5321 section 4.5.4.1 advises two
// attempts in the first hour and one every two or three hours after that.
//
//	attempt   wait    after the first attempt
//	1st       5 m     5 m
//	2nd       15 m    20 m
//	3rd       30 m    50 m
//	4th       1 h     1 h 50 m
//	5th       2 h     3 h 50 m
//	6th on    4 h     7 h 50 m, ...
//
// A greylisting host accepts a message once some minutes have passed (RFC 6647 section
// 5). After a reply that may be greylisting, the retries are sooner, though not before
// five minutes:
//
//	1st       5 m     5 m
//	2nd       5 m     10 m
//	3rd       10 m    20 m
//	4th       15 m    35 m
//	5th       30 m    1 h 5 m
//	6th on    as above
//
// These replies are 450 and 451 with the status 4.7.0 or 4.7.1, with 4.2.0 or 4.3.0, or
// without a status. The text of a reply is not used.
func DefaultSchedule() Schedule { return byReply{} }

type byReply struct{}

func (byReply) Delay(r Retry) time.Duration {
	if soon := whereGreylisted(); r.Attempts <= len(soon) && greylisted(&r) {
		return soon.Delay(r)
	}
	return usually().Delay(r)
}

func usually() Delays {
	return Delays{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}
}

func whereGreylisted() Delays {
	return Delays{5 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute}
}

// greylisted goes by codes alone.
func greylisted(r *Retry) bool {
	if r.Outcome != queue.Deferred || r.Reply.Code != 450 && r.Reply.Code != 451 {
		return false
	}
	switch r.Reply.Enhanced {
	case "4.7.0", "4.7.1", "4.2.0", "4.3.0":
		return true
	default:
		return false
	}
}

// Delay returns the entry for the number of attempts. With an empty list it returns
// half an hour.
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
