package queue

import (
	"context"
	"time"
)

// Queue keeps messages until every recipient is settled. Its contract is in the package
// documentation; queuetest checks every rule of it.
//
// All methods are safe for concurrent use by goroutines and, if the implementation says
// so, by processes. Any of them may return ErrFailed. Everything else that a queue may be
// able to do, such as list, hold and flush, is an interface of its own. Use it through
// this package's functions List, Hold, Flush and so on: they also find the interface in a
// wrapped queue (As).
type Queue interface { //nolint:interfacebloat // Mark is not optional, because AtMostOnce needs it
	// Put stores a message and returns its id once it is safe (rules P1 to P8). No other
	// message gets that id, even after this one has left. Put does not change m and keeps
	// no reference to it. m.ID is ignored.
	//
	// Errors: *MessageError if the message cannot be accepted, ErrDuplicate (with the id
	// of the message already there), ErrFull, ErrClosed, ctx's error, or an error of the
	// implementation if storage failed.
	Put(ctx context.Context, now time.Time, m *Message) (id string, err error)

	// Claim leases deliveries that are due and says when to ask again (rules C1 to C9). It
	// does not wait. If nothing is due, there are no deliveries and no error.
	Claim(ctx context.Context, now time.Time, want ClaimOptions) (Claimed, error)

	// Extend moves the ends of leases to now plus d (rules L1 to L5). The result has one
	// element per lease, in order. If Extend itself returns an error, it is not known
	// which leases were extended.
	Extend(ctx context.Context, now time.Time, leases []Lease, d time.Duration) ([]Extended, error)

	// Mark records that the deliveries of these leases are about to be sent, if their
	// messages are AtMostOnce. For other messages it only checks whether the leases are
	// lost (rule L6). The sender of an AtMostOnce message calls Mark right before it sends
	// the octets after which a host may accept the message, and sends them only if the
	// error is nil. Errors: ErrLeaseLost, ErrClosed.
	Mark(ctx context.Context, leases []Lease) error

	// Settle records the results of claimed deliveries (rules S1 to S11). The result has
	// one element per settlement, in order. If Settle itself returns an error, it is not
	// known which settlements were recorded. It is safe to settle again: those that were
	// recorded get ErrLeaseLost.
	Settle(ctx context.Context, now time.Time, batch []Settlement) ([]Settled, error)

	// Open returns the content of a message (rules O1 to O3). Errors: ErrNotFound,
	// ErrDamaged, ErrClosed.
	Open(ctx context.Context, id string) (Content, error)
}
