package session

import "errors"

// Error is why there is no session with a host that has not said anything.
type Error struct {
	Step Step
	Err  error
}

// Error is the cause's.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Step is how far a session had come.
type Step uint8

// The steps before the dialogue.
const (
	Dialling Step = iota // the address
	Starting             // the dialogue: what it was told makes no sense
)

// Findings of our own about a session.
var (
	// ErrSelf is a host that is this host under another address (RFC 5321 section
	// 6.3).
	ErrSelf = errors.New("the host answers with our own name: mail loop")
	// ErrNoTLS is a host that does not give the TLS which is required.
	ErrNoTLS = errors.New("the host does not offer STARTTLS, which is required")
)

// ConfigError is a mistake in the configuration: nobody can be sent to.
type ConfigError struct{ Err error }

// Error is the cause's.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }
