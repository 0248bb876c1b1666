package cli

import (
	"errors"
	"fmt"
	"io"
)

// Exit codes of sysexits.h, as sendmail uses them.
const (
	ExitOK          = 0
	ExitUsage       = 64 // the command line is invalid
	ExitData        = 65 // bad address or message
	ExitNoHost      = 68
	ExitUnavailable = 69
	ExitTempFail    = 75
	ExitConfig      = 78 // the configuration cannot work
)

// Error is an error of the command line with the exit code it leads to. A nil Err
// has been printed already.
type Error struct {
	Code int
	Err  error
}

// Error returns the message.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Usage returns an error about an invalid command line.
func Usage(format string, args ...any) error {
	return &Error{ExitUsage, fmt.Errorf(format, args...)}
}

// Config is an error of something that makes sense and cannot work.
func Config(format string, args ...any) error {
	return &Error{ExitConfig, fmt.Errorf(format, args...)}
}

// Complain prints an error of the command line and gives its exit code. An error
// of another type is one the flag package has printed already.
func Complain(stderr io.Writer, program string, err error) int {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return ExitUsage
	}
	if e.Err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", program, e.Err)
	}
	return e.Code
}
