package queue

import (
	"errors"
	"fmt"
	"io"
)

// Close closes q if q or a queue that it wraps is an io.Closer (rule X3). Otherwise it
// does nothing.
func Close(q Queue) error {
	if c, ok := As[io.Closer](q); ok {
		return c.Close()
	}
	return nil
}

// unsupported is the error for an optional interface that a queue does not have.
func unsupported(what string) error {
	return fmt.Errorf("queue: %s: %w", what, errors.ErrUnsupported)
}
