package queue

import "context"

// Holder is a queue whose messages can be held (rule A3).
type Holder interface {
	// Hold keeps a message from being claimed until it is released. Errors:
	// ErrNotFound, ErrClosed. Holding what is held is no error.
	Hold(ctx context.Context, id string) error

	// Release ends a hold. Errors: ErrNotFound, ErrClosed. Releasing what is not
	// held is no error.
	Release(ctx context.Context, id string) error
}

// Hold keeps a message of q from being claimed. It answers
// errors.ErrUnsupported for a queue that is no Holder.
func Hold(ctx context.Context, q Queue, id string) error {
	if h, ok := As[Holder](q); ok {
		return h.Hold(ctx, id)
	}
	return unsupported("hold")
}

// Release ends the hold on a message of q. It answers errors.ErrUnsupported for
// a queue that is no Holder.
func Release(ctx context.Context, q Queue, id string) error {
	if h, ok := As[Holder](q); ok {
		return h.Release(ctx, id)
	}
	return unsupported("release")
}
