package session

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// Error says why there is no session with a host that has sent nothing.
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
	Starting             // the dialogue: its configuration is invalid
)

// Findings of our own about a session.
var (
	// ErrSelf is a host that is this host under another address (RFC 5321 section
	// 6.3).
	ErrSelf = errors.New("mail loop: the host answers with a name of this host")
	// ErrNoTLS is a host that does not give the TLS which is required.
	ErrNoTLS = errors.New("the host does not offer STARTTLS, which is required")
	// errLeftOut is TLS that was offered and is known not to work.
	errLeftOut = errors.New("TLS did not come about a moment ago, and is left out")
)

// ConfigError is a mistake in the configuration, because of which no host can be sent
// to.
type ConfigError struct{ Err error }

// Error is the cause's.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// loginError is why nexthop does not log in; the host was not asked.
type loginError struct{ text string }

func (e *loginError) Error() string { return e.text }

// tokenError is a token source that gave no token.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "no token to log in with: " + e.err.Error() }

func (e *tokenError) Unwrap() error { return e.err }

// IsLogin reports whether an error is about a login that was not tried: it does not
// fit, or has no token just now.
func IsLogin(err error) bool {
	var l *loginError
	var t *tokenError
	return errors.As(err, &l) || errors.As(err, &t)
}

// IsOwnLogin reports whether nexthop does not log in for a reason that lasts: the
// login does not fit the host, or what the host offers.
func IsOwnLogin(err error) bool {
	_, ok := errors.AsType[*loginError](err)
	return ok
}

// loginOf returns the login of a host, or nil if there is none. It returns an error if
// the login is of an unknown kind.
func loginOf(host *mx.Host) (*smarthost.Login, error) {
	switch l := host.Login.(type) {
	case nil:
		return nil, nil
	case *smarthost.Login:
		if l != nil {
			return l, nil
		}
	}
	return nil, &loginError{fmt.Sprintf("a login of type %T, not *smarthost.Login", host.Login)}
}

// distrust is the error of a check that refused a host's certificate: a finding
// about who is at the other end, unlike a handshake that came to grief.
type distrust struct{ cause error }

func (d *distrust) Error() string { return d.cause.Error() }
func (d *distrust) Unwrap() error { return d.cause }

// Distrusted reports whether the error is about a certificate that was refused by a
// check of the application, of a policy or of package tls.
func Distrusted(err error) bool {
	if _, ok := errors.AsType[*distrust](err); ok {
		return true
	}
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}
