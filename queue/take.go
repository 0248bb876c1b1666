package queue

import (
	"context"
	"time"
)

// Taker is a queue that can lease the deliveries of one message, due or not, to a caller
// that wants to end them (rule L7).
type Taker interface {
	// Take leases the deliveries of a message for the duration lease. If there are
	// destinations, only those to them. Errors: ErrNotFound, ErrClosed.
	Take(ctx context.Context, now time.Time, id string, lease time.Duration, destinations ...string) (Taken, error)
}

// Taken is the result of Take.
type Taken struct {
	// Deliveries are leased to the caller, in the order of their destinations.
	Deliveries []Delivery

	// Unreadable are deliveries that could not be read. They are leased, too.
	Unreadable []Unreadable

	// Leased is the number of deliveries that were left out because another has a lease on
	// them.
	Leased int
}

// Take leases the deliveries of one message of q. It returns errors.ErrUnsupported if q is
// not a Taker.
func Take(
	ctx context.Context, q Queue, now time.Time, id string, lease time.Duration, destinations ...string,
) (Taken, error) {
	if t, ok := As[Taker](q); ok {
		return t.Take(ctx, now, id, lease, destinations...)
	}
	return Taken{}, unsupported("take")
}
