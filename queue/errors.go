package queue

import (
	"errors"
	"fmt"
)

// The errors that every queue returns. Find them with errors.Is.
var (
	// ErrNotFound: the queue has no such message.
	ErrNotFound = errors.New("queue: no such message")

	// ErrLeaseLost: the delivery was claimed again, settled, or dropped since the lease
	// was given. Nothing was done.
	ErrLeaseLost = errors.New("queue: lease lost")

	// ErrDuplicate: the queue has, or had not long ago, a message with the same tenant and
	// key. Put returns that message's id together with this error.
	ErrDuplicate = errors.New("queue: duplicate key")

	// ErrClosed: the queue was closed.
	ErrClosed = errors.New("queue: closed")

	// ErrFull: a bound is reached or the device is full. There is room again when mail has
	// left.
	ErrFull = errors.New("queue: full")

	// ErrDamaged: the stored data of this message cannot be read back. Other messages are
	// not affected.
	ErrDamaged = errors.New("queue: damaged record")

	// ErrFailed: the queue has failed for good. Every call returns this error until the
	// queue is opened again (rule X5).
	ErrFailed = errors.New("queue: failed")
)

// MessageError says why a queue refused a message. Nothing was stored.
type MessageError struct {
	// Field is the name of the field of Message that is wrong: "From",
	// "Recipients", "Content", "Key", ...
	Field string

	// Index is the position in Recipients if Field is "Recipients" and the fault is in one
	// of them. Otherwise it is -1.
	Index int

	// Enhanced is the enhanced status code that fits (RFC 3463), "5.1.3".
	Enhanced string

	// Err is the cause. If reading the content failed, it is the reader's.
	Err error
}

// Error names the field and the cause.
func (e *MessageError) Error() string {
	if e.Index >= 0 {
		return fmt.Sprintf("queue: %s[%d]: %v", e.Field, e.Index, e.Err)
	}
	return fmt.Sprintf("queue: %s: %v", e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *MessageError) Unwrap() error { return e.Err }
