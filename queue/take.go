package queue

import (
	"context"
	"time"
)

// Taker is a queue that hands out the deliveries of one message whether they are due
// or not (rule L7), to those who end them.
type Taker interface {
	// Take leases the deliveries of a message, with destinations only those, for so
	// long. Errors: ErrNotFound, ErrClosed.
	Take(ctx context.Context, now time.Time, id string, lease time.Duration, destinations ...string) (Taken, error)
}

// Taken is what Take found.
type Taken struct {
	// Deliveries are leased to the caller, in the order of their destinations.
	Deliveries []Delivery

	// Unreadable could not be read, and are leased too.
	Unreadable []Unreadable

	// Leased is how many others have a lease that has not ended.
	Leased int
}

// Take leases the deliveries of one message of q. It answers errors.ErrUnsupported
// for a queue that is no Taker.
func Take(
	ctx context.Context, q Queue, now time.Time, id string, lease time.Duration, destinations ...string,
) (Taken, error) {
	if t, ok := As[Taker](q); ok {
		return t.Take(ctx, now, id, lease, destinations...)
	}
	return Taken{}, unsupported("take")
}
