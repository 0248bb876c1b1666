package queue

import (
	"context"
	"time"
)

// Queue keeps messages until every recipient is settled. The package
// documentation is its contract, rule by rule; queuetest checks every rule.
//
// All methods are safe for concurrent use, by goroutines and, if an
// implementation says so, by processes. Any of them may answer ErrFailed. Other
// abilities of a queue (list, hold, flush, ...) are interfaces of their own, used
// through this package's functions List, Hold, Flush and so on, which also find them
// in a queue that another wraps (As).
type Queue interface { //nolint:interfacebloat // Mark is no option: at most once hangs on it
	// Put takes a message and returns the id it is given once nothing can lose
	// it any more (rules P1 to P8). It does not change m and keeps nothing of
	// it; m.ID is ignored.
	//
	// Errors: *MessageError if the message cannot be taken, ErrDuplicate
	// (with the id of the message already there), ErrFull, ErrClosed, ctx's
	// error, or the implementation's own if storage failed.
	Put(ctx context.Context, now time.Time, m *Message) (id string, err error)

	// Claim leases deliveries that are due and says when to ask again (rules
	// C1 to C9). It does not wait. Nothing due is an empty Claimed and no error.
	Claim(ctx context.Context, now time.Time, want ClaimOptions) (Claimed, error)

	// Extend moves the ends of leases to now plus d (rules L1 to L5). The result
	// has one element per lease, in order. An error of Extend itself means that it
	// is not known of any of them whether it was extended.
	Extend(ctx context.Context, now time.Time, leases []Lease, d time.Duration) ([]Extended, error)

	// Mark records that the deliveries of these leases are about to be sent,
	// if their messages are AtMostOnce; for others it only looks whether the leases
	// are lost (rule L6). The sender of such a message calls it right before the
	// octets with which a host may take the message, and sends them only if the error
	// is nil. Errors: ErrLeaseLost, ErrClosed.
	Mark(ctx context.Context, leases []Lease) error

	// Settle records what became of claimed deliveries (rules S1 to S10). The
	// result has one element per settlement, in order. An error of Settle itself
	// means that it is not known of any of them whether it was recorded. To settle
	// again is safe, and answers ErrLeaseLost for those that were.
	Settle(ctx context.Context, now time.Time, batch []Settlement) ([]Settled, error)

	// Open gives access to a message's content (rules O1 to O3). Errors:
	// ErrNotFound, ErrDamaged, ErrClosed.
	Open(ctx context.Context, id string) (Content, error)
}
