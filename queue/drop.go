package queue

import "context"

// Dropper is a queue whose messages can be dropped (rule A4).
type Dropper interface {
	// Drop removes a message and all its deliveries, leased or held though they
	// be: nobody is told, no bounce is made. Errors: ErrNotFound, ErrClosed.
	Drop(ctx context.Context, id string) error
}

// Drop removes a message from q without a bounce. It answers
// errors.ErrUnsupported for a queue that is no Dropper.
func Drop(ctx context.Context, q Queue, id string) error {
	if d, ok := As[Dropper](q); ok {
		return d.Drop(ctx, id)
	}
	return unsupported("drop")
}
