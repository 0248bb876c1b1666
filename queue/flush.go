package queue

import (
	"context"
	"time"
)

// Flusher is a queue that can be told to try again now (rule A5).
type Flusher interface {
	// Flush makes what any of the selections names due at once and returns how
	// many deliveries they name that are neither on hold nor claimed: that many are
	// now due, or -1 where the queue does not know. Errors: ErrNotFound where a
	// message is not there, and then nothing was done; ErrClosed.
	Flush(ctx context.Context, now time.Time, what ...Selection) (int, error)
}

// Selection names deliveries: those of a message, or of a destination, or with
// both of the one message at the one destination. The zero value is everything.
type Selection struct {
	// Message is a message's id.
	Message string

	// Destination is a destination in canonical form.
	Destination string
}

// Flush makes deliveries of q due at once. It answers errors.ErrUnsupported for
// a queue that is no Flusher.
func Flush(ctx context.Context, q Queue, now time.Time, what ...Selection) (int, error) {
	if f, ok := As[Flusher](q); ok {
		return f.Flush(ctx, now, what...)
	}
	return 0, unsupported("flush")
}
