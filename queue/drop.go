package queue

import "context"

// Dropper is a queue whose messages can be dropped (rule A4).
type Dropper interface {
	// Drop removes a message and all its deliveries, even if they are leased or held. No
	// bounce is made, and the sender is not told. Errors: ErrNotFound, ErrClosed.
	Drop(ctx context.Context, id string) error
}

// Drop removes a message from q without a bounce. It returns errors.ErrUnsupported if q is
// not a Dropper.
func Drop(ctx context.Context, q Queue, id string) error {
	if d, ok := As[Dropper](q); ok {
		return d.Drop(ctx, id)
	}
	return unsupported("drop")
}
