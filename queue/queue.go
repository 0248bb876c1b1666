package queue

import (
	"context"
	"time"
)

// Queue keeps messages until every recipient is settled. The package
// documentation is its contract, rule by rule; queuetest checks every rule.
//
// All methods are safe for concurrent use, by goroutines and, where an
// implementation says so, by processes. Any of them may answer ErrFailed. What
// else a queue can do (list, hold, flush, ...) are interfaces of their own, used
// through this package's functions: List, Hold, Flush and so on. They find the
// ability in a queue that another wraps, too (As).
type Queue interface { //nolint:interfacebloat // Mark is no option: at most once hangs on it
	// Put takes a message and returns the id it is given once nothing can lose
	// it any more (rules P1 to P8). It does not change m and keeps nothing of
	// it; m.ID is ignored.
	//
	// Errors: *MessageError where the message cannot be taken, ErrDuplicate
	// (with the id of the message already there), ErrFull, ErrClosed, ctx's
	// error, or the implementation's own where storage failed.
	Put(ctx context.Context, now time.Time, m *Message) (id string, err error)

	// Claim leases deliveries that are due and says when to ask again (rules
	// C1 to C9). It does not wait. Nothing due is an empty Claimed and no error.
	Claim(ctx context.Context, now time.Time, want ClaimOptions) (Claimed, error)

	// Extend moves the ends of leases to now plus d (rules L1 to L5). The result
	// has one element per lease, in order. An error of Extend itself means that it
	// is not known of any of them whether it was extended.
	Extend(ctx context.Context, now time.Time, leases []Lease, d time.Duration) ([]Extended, error)

	// Mark records that the deliveries of these leases are about to be sent,
	// where their messages are AtMostOnce; for others it does no more than to look
	// whether the leases are lost (rule L6). Whoever sends such a message calls it
	// right before the octets with which a host may take the message, and sends
	// them only if the error is nil. Errors: ErrLeaseLost, ErrClosed.
	Mark(ctx context.Context, leases []Lease) error

	// Settle records what became of claimed deliveries (rules S1 to S10). The
	// result has one element per settlement, in order. An error of Settle itself
	// means that it is not known of any of them whether it was recorded; settling
	// again is safe, and answers ErrLeaseLost for those that were.
	Settle(ctx context.Context, now time.Time, batch []Settlement) ([]Settled, error)

	// Open gives access to a message's content (rules O1 to O3). Errors:
	// ErrNotFound, ErrDamaged, ErrClosed.
	Open(ctx context.Context, id string) (Content, error)
}
