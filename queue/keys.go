package queue

import "context"

// KeyCounter is a queue that counts the remembered keys of messages that have left (rule
// P6).
type KeyCounter interface {
	// CountKeys counts these keys. Errors: ErrClosed.
	CountKeys(ctx context.Context) (KeyCount, error)
}

// KeyCount counts the keys of messages that have left. Remembered is how many the queue
// remembers now. Forgotten is how many it has forgotten before their time, because there
// were too many, since it was opened.
type KeyCount struct {
	Remembered int
	Forgotten  uint64
}

// CountKeys counts the keys that q remembers of messages that have left. It returns
// errors.ErrUnsupported if q is not a KeyCounter.
func CountKeys(ctx context.Context, q Queue) (KeyCount, error) {
	if c, ok := As[KeyCounter](q); ok {
		return c.CountKeys(ctx)
	}
	return KeyCount{}, unsupported("count keys")
}
