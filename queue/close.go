package queue

import (
	"errors"
	"fmt"
	"io"
)

// Close closes q if it can be closed (rule X3); else it does nothing.
func Close(q Queue) error {
	if c, ok := As[io.Closer](q); ok {
		return c.Close()
	}
	return nil
}

// unsupported is the answer for an ability that a queue does not have.
func unsupported(what string) error {
	return fmt.Errorf("queue: %s: %w", what, errors.ErrUnsupported)
}
