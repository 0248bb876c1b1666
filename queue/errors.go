package queue

import (
	"errors"
	"fmt"
)

// The errors every queue tells apart, to be found with errors.Is.
var (
	// ErrNotFound: the queue has no such message.
	ErrNotFound = errors.New("queue: no such message")

	// ErrLeaseLost: the delivery was claimed again, settled, or dropped since
	// the lease was given. What the caller wanted was not done.
	ErrLeaseLost = errors.New("queue: lease lost")

	// ErrDuplicate: the queue has, or had not long ago, a message of the same
	// tenant and key. Put returns that message's id beside it.
	ErrDuplicate = errors.New("queue: duplicate key")

	// ErrClosed: the queue was closed.
	ErrClosed = errors.New("queue: closed")

	// ErrFull: there is no room for the message, by a bound or on the device.
	// There is again when mail has left.
	ErrFull = errors.New("queue: full")

	// ErrDamaged: what the queue stored of this message cannot be read back.
	// Other messages are not affected.
	ErrDamaged = errors.New("queue: damaged record")

	// ErrFailed: the queue has failed for good, and answers nothing else until it
	// is opened again (rule X5).
	ErrFailed = errors.New("queue: failed")
)

// MessageError is why a message was refused at the door. Nothing was stored.
type MessageError struct {
	// Field is the name of the field of Message that is wrong: "From",
	// "Recipients", "Content", "Key", ...
	Field string

	// Index is the position in Recipients if Field is "Recipients" and one
	// of them is meant; else -1.
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
