package queue

import (
	"strconv"
	"strings"
	"time"
)

// Settlement is what became of one claimed delivery.
type Settlement struct {
	// Lease is the delivery's lease as Claim or Extend returned it.
	Lease Lease

	// Results are the outcomes, at most one per pending recipient. A recipient
	// without a result stays as it was and is not charged an attempt; no results
	// at all give the delivery back.
	Results []Result

	// NotBefore is the time of the next attempt for the recipients that stay.
	// Default: at once. It means nothing if none stays.
	NotBefore time.Time

	// Reason is why the recipients that stay wait until NotBefore, if their results
	// do not say it. Up to MaxReason bytes of it are kept (rule S11).
	Reason string

	// Warned records that the sender was told of the delay. It stays recorded.
	Warned bool

	// Create are messages that come of this settlement, such as bounces: put in
	// the same step as the settlement is recorded. Keep the Messages as they are
	// until Settle has returned.
	Create []*Message
}

// BoundedReason is s's reason, cut to MaxReason bytes and then copied, so that it does
// not keep a longer string alive.
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

// Settled is what became of a settlement.
type Settled struct {
	// Created are the ids of the messages in Create, in their order. One whose
	// tenant and key the queue knew already is not put again: its id is the one
	// of the message that is there.
	Created []string

	// NoRoom is set if there was no room for the messages of Create. None was
	// put. The recipients that had failed stay pending as they were, and are due
	// again at NotBefore, a minute from now at the earliest. Warned is not recorded.
	// The other results are.
	NoRoom bool

	// Err is nil if the settlement was recorded. Otherwise nothing of it was done,
	// and Err is ErrLeaseLost, a *MessageError about a message of Create, a
	// *ResultError, or a failure to store.
	Err error
}

// ResultError is a settlement that makes no sense: a recipient that is not
// pending in the delivery, or one named twice.
type ResultError struct {
	// Recipient is the index that was given.
	Recipient int
}

// Error says which recipient is meant.
func (e *ResultError) Error() string {
	return "queue: no pending recipient " + strconv.Itoa(e.Recipient) + " in the delivery"
}

// MaxReplyText is how many bytes of a reply's text, and of each of its other
// strings, a queue keeps.
const MaxReplyText = 2048

// Bounded returns r with its strings cut to MaxReplyText bytes, and copied
// if they are, so that they do not keep a longer string alive.
func (r Reply) Bounded() Reply {
	for _, s := range []*string{&r.Host, &r.Addr, &r.Enhanced, &r.Text} {
		if len(*s) > MaxReplyText {
			*s = strings.Clone((*s)[:MaxReplyText])
		}
	}
	return r
}
