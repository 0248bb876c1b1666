package delivery

import (
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Schedule says how long to wait after an attempt that did not settle every
// recipient of a delivery. It may be called concurrently. Jitter is added to the
// delay. Less than 100 ms is taken for 100 ms, so that a mistake does not become a
// loop. The last attempt is due when the message expires.
type Schedule interface {
	Delay(Retry) time.Duration
}

// Retry is what a Schedule is told of an attempt.
type Retry struct {
	// Attempts is how many there have been, with the last one.
	Attempts int

	// Outcome is Deferred or Unknown, and Reply is the reply to the recipient that
	// came furthest.
	Outcome queue.Outcome
	Reply   queue.Reply

	// Destination is the recipients' domain in canonical form.
	Destination string

	// Arrived is when the message was accepted, Expires when it is given up, and
	// Now when the attempt ended.
	Arrived, Expires, Now time.Time
}

// Delays is a Schedule that sees nothing but the number of attempts: the n-th
// entry is the wait after the n-th attempt, and the last one repeats.
type Delays []time.Duration

// DefaultSchedule is the Schedule of an agent that is given no other. Most trouble
// is over within the hour, and what is not lasts: RFC 5321 section 4.5.4.1
// advises two attempts in the first hour and one every two or three hours after.
//
//	attempt   wait    after the first attempt
//	1st       5 m     5 m
//	2nd       15 m    20 m
//	3rd       30 m    50 m
//	4th       1 h     1 h 50 m
//	5th       2 h     3 h 50 m
//	6th on    4 h     7 h 50 m, ...
//
// A host that greylists takes a message once some minutes have passed (RFC 6647 section
// 5). A reply that looks like it is followed up sooner, though not before five
// minutes:
//
//	1st       5 m     5 m
//	2nd       5 m     10 m
//	3rd       10 m    20 m
//	4th       15 m    35 m
//	5th       30 m    1 h 5 m
//	6th on    as above
//
// Such are the codes 450 and 451 with the status 4.7.0 or 4.7.1, or with 4.2.0 or
// 4.3.0, which is what they have if the host gives none. Texts are not looked
// at.
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
