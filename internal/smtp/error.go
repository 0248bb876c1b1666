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
	// Timeout: the server did not answer, or take what was sent, in time.
	Timeout
	// Closed: the connection ended.
	Closed
	// Protocol: the server said what makes no sense here.
	Protocol
	// Security: the server, or somebody between, sent octets that could pass
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
	// ChunkingBroken: the server offered CHUNKING and does not know BDAT. The
	// session is over, for the server may have taken content for commands; a
	// new one needs Config.NoChunking.
	ChunkingBroken
	// BadAuth: in AUTH, the server said what the mechanism knows no answer to,
	// or did not prove what it has to.
	BadAuth
)

var kindNames = [...]string{
	"refused", "timeout", "connection lost", "protocol error", "security violation", "TLS failure",
	"local failure", "canceled", "not possible here", "session used up", "BDAT does not work",
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

	// Reply is the server's, where Kind is Replied or ChunkingBroken.
	Reply Reply

	// Enhanced is the status code (RFC 3463) for an Unfit message; else empty.
	Enhanced string

	// Err is the cause where the server did not reply.
	Err error
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
