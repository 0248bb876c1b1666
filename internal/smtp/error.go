package smtp

import (
	"strconv"
)

// Kind says what sort of failure an Error is.
type Kind uint8

// The kinds of failure.
const (
	// Replied: the server said no. The Error has its Reply and no cause.
	Replied Kind = iota
	// Timeout: the server did not answer, or did not accept what was sent, in time.
	Timeout
	// Closed: the connection ended.
	Closed
	// Protocol: the server sent an invalid reply.
	Protocol
	// Security: the server, or an attacker in between, sent octets that could be taken
	// for protected ones (RFC 3207 section 6).
	Security
	// BadTLS: the TLS handshake failed.
	BadTLS
	// Local: the content could not be read, was not as long as announced, or
	// Transaction.Commit said no.
	Local
	// Canceled: the caller's context ended.
	Canceled
	// Unfit: the message needs something this server does not offer, and was
	// not sent. Enhanced says what.
	Unfit
	// Exhausted: the session may carry no more mail.
	Exhausted
	// Incapable: an option that the server offered does not work, and the session is
	// over. Doubt.Now has the options that a new session must leave out.
	Incapable
	// BadAuth: in AUTH, the server sent a challenge that the mechanism cannot answer,
	// or did not prove its identity.
	BadAuth
)

var kindNames = [...]string{
	"refused", "timeout", "connection lost", "protocol error", "security violation", "TLS failure",
	"local failure", "canceled", "not possible here", "session used up", "offered and does not work",
	"AUTH does not work",
}

// String is the kind in a few words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Error is why a step of a session failed. Either the server said so (Kind is
// Replied and Reply says what) or Err is the cause.
type Error struct {
	Stage Stage
	Kind  Kind

	// Reply is the server's, where Kind is Replied or Incapable.
	Reply Reply

	// Enhanced is the status code (RFC 3463) for an Unfit message; else empty.
	Enhanced string

	// Err is the cause if the server did not reply.
	Err error

	// Doubt is what may have been the cause among what the session could have
	// done without.
	Doubt Doubt
}

// maxErrorText bounds what a cause adds to an error's text: some repeat all the
// names in a certificate.
const maxErrorText = 512

// Error is one line: the stage, and the reply or the cause.
func (e *Error) Error() string {
	s := "smtp: " + e.Stage.String() + ": "
	if e.Reply.Code != 0 {
		s += e.Reply.String()
		if e.Kind == Replied {
			return s
		}
		s += ": "
	}
	s += e.Kind.String()
	if e.Err == nil {
		return s
	}
	text := e.Err.Error()
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "... (" + strconv.Itoa(len(text)) + " octets)"
	}
	return s + ": " + text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
