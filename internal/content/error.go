package content

import (
	"fmt"
	"strings"
)

// Error is why content cannot be sent.
type Error struct {
	Reason   string
	Line     int    // the first line it is about, from 1; 0 for none
	Enhanced string // status code of RFC 3463: 5.6.0, or 4.3.0 where reading failed
	Err      error  // the source's error
}

// Error is the reason with the line it is about.
func (e *Error) Error() string {
	switch {
	case e.Err != nil:
		return e.Reason + ": " + e.Err.Error()
	case e.Line > 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
	default:
		return e.Reason
	}
}

// Unwrap is the source's error.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the fault is in the reading, not in the content.
func (e *Error) Temporary() bool { return strings.HasPrefix(e.Enhanced, "4.") }

func unreadable(err error) *Error {
	return &Error{Reason: "content cannot be read", Enhanced: "4.3.0", Err: err}
}

func refused(line int, reason string) *Error {
	return &Error{Reason: reason, Line: line, Enhanced: "5.6.0"}
}

// Content that is not what it was said to be, or was when it was scanned.
var (
	errLength  = &Error{Reason: "content is not as long as announced", Enhanced: "4.3.0"}
	errChanged = &Error{Reason: "content has changed since it was looked at", Enhanced: "4.3.0"}
)
