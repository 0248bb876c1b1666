package queue

import (
	"strconv"
	"strings"
	"time"
)

// Settlement is the result of one claimed delivery.
type Settlement struct {
	// Lease is the delivery's lease as Claim or Extend returned it.
	Lease Lease

	// Results are the outcomes, at most one per pending recipient. A recipient without a
	// result stays as it was and is not charged an attempt. A settlement without results
	// gives the delivery back.
	Results []Result

	// NotBefore is the time of the next attempt for the recipients that stay. Default: at
	// once. It is ignored if no recipient stays.
	NotBefore time.Time

	// Reason says why the recipients that stay have to wait, if their results do not say
	// it. Up to MaxReason bytes of it are kept (rule S11).
	Reason string

	// Warned records that the sender was told about the delay. It stays recorded.
	Warned bool

	// Create are messages that result from this settlement, such as bounces. They are put
	// in the same step. They must not be changed until Settle has returned.
	Create []*Message
}

// BoundedReason returns the reason cut to MaxReason bytes. If so, it is copied, so that it
// does not keep the longer string alive.
func (s *Settlement) BoundedReason() string { return boundReason(s.Reason) }

// Result is the outcome of one attempt for one recipient.
type Result struct {
	// Recipient is the State.Index of the recipient.
	Recipient int

	// Outcome ends the recipient if it is Delivered or Failed.
	Outcome Outcome

	// Reply is the host's answer. Up to MaxReplyText bytes of its text are kept.
	Reply Reply
}

// Settled is the result of recording one settlement.
type Settled struct {
	// Created are the ids of the messages in Create, in the same order. If the queue
	// already knew the tenant and key of a message, the message is not put again, and
	// the id is that of the known one.
	Created []string

	// NoRoom is set if there was no room for the messages of Create. None was
	// put. The recipients that had failed stay pending as they were, and are due
	// again at NotBefore, a minute from now at the earliest. Warned is not recorded.
	// The other results are.
	NoRoom bool

	// Err is nil if the settlement was recorded. Otherwise nothing was done, and Err is
	// ErrLeaseLost, a *MessageError about a message of Create, a *ResultError, or a
	// failure to store.
	Err error
}

// ResultError means that a settlement names a recipient that is not pending in the
// delivery, or names one twice.
type ResultError struct {
	// Recipient is the index in the settlement.
	Recipient int
}

// Error names the recipient.
func (e *ResultError) Error() string {
	return "queue: no pending recipient " + strconv.Itoa(e.Recipient) + " in the delivery"
}

// MaxReplyText is how many bytes a queue keeps of each string in a Reply.
const MaxReplyText = 2048

// Bounded returns r with its strings cut to MaxReplyText bytes. Strings that are cut are
// copied, so that they do not keep longer strings alive.
func (r Reply) Bounded() Reply {
	for _, s := range []*string{&r.Host, &r.Addr, &r.Enhanced, &r.Text} {
		if len(*s) > MaxReplyText {
			*s = strings.Clone((*s)[:MaxReplyText])
		}
	}
	return r
}
