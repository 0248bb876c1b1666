package queue

import "context"

// KeyCounter is a queue that counts the keys it remembers of messages that have
// left (rule P6).
type KeyCounter interface {
	// CountKeys counts them. Errors: ErrClosed.
	CountKeys(ctx context.Context) (KeyCount, error)
}

// KeyCount is how many keys of messages that have left a queue remembers, and how
// many it has forgotten before their time since it was opened, because there were
// too many.
type KeyCount struct {
	Remembered int
	Forgotten  uint64
}

// CountKeys counts the keys that q remembers of messages that have left. It
// answers errors.ErrUnsupported for a queue that is no KeyCounter.
func CountKeys(ctx context.Context, q Queue) (KeyCount, error) {
	if c, ok := As[KeyCounter](q); ok {
		return c.CountKeys(ctx)
	}
	return KeyCount{}, unsupported("count keys")
}
