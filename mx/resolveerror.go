package mx

import (
	"fmt"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// ResolveError says why a Resolver has no answer. It never means "no records", and it is
// always temporary (RFC 5321 section 5.1).
type ResolveError struct {
	// Name and Type are the question.
	Name string
	Type Type
	// Server is the DNS server that was asked, as host:port. It is empty if that is not
	// known.
	Server string
	// Kind tells the failures apart.
	Kind ResolveErrorKind
	// Err is the cause, such as a *net.OpError or the context's error; it may
	// be nil.
	Err error
}

// Error names the question, the failure, the server and the cause.
func (e *ResolveError) Error() string {
	s := fmt.Sprintf("%v of %s: %v", e.Type, printable(e.Name), e.Kind)
	if e.Server != "" {
		s += " from " + e.Server
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *ResolveError) Unwrap() error { return e.Err }

// Timeout reports whether the server did not answer in time, as in net.Error.
func (e *ResolveError) Timeout() bool { return e.Kind == Timeout }

// Temporary returns true.
func (e *ResolveError) Temporary() bool { return true }

// NoServer reports whether no server sent any response, not even an error. The cause may
// be on this machine; Probe finds out.
func (e *ResolveError) NoServer() bool { return e.Kind == Timeout || e.Kind == Unreachable }

// ResolveErrorKind says what kept a Resolver from answering.
type ResolveErrorKind uint8

// The failures.
const (
	NoAnswer     ResolveErrorKind = iota // no answer, for another reason or an unknown one
	Timeout                              // the server did not answer in time
	ServFail                             // the server failed (SERVFAIL)
	QueryRefused                         // REFUSED, NOTIMP, FORMERR or another code that is not an answer
	Lame                                 // a referral to other servers instead of an answer
	Malformed                            // a response that cannot be read, or whose records cannot
	Truncated                            // too long for UDP, and TCP did not work
	Bogus                                // DNSSEC validation failed (RFC 8914 codes 5 to 12)
	AliasLoop                            // a chain of aliases that ends in itself or is too long
	Unreachable                          // no connection to the server
	Canceled                             // the context ended first
)

// String describes the failure in a few words.
func (f ResolveErrorKind) String() string {
	switch f {
	case Timeout:
		return "timeout"
	case ServFail:
		return "server failure"
	case QueryRefused:
		return "refused"
	case Lame:
		return "lame referral"
	case Malformed:
		return "malformed response"
	case Truncated:
		return "truncated response"
	case Bogus:
		return "DNSSEC validation failure"
	case AliasLoop:
		return "alias loop or chain too long"
	case Unreachable:
		return "server unreachable"
	case Canceled:
		return "canceled"
	default:
		return "no answer"
	}
}

var failureWords = [...]string{
	"no-answer", "timeout", "servfail", "refused", "lame", "malformed", "truncated", "bogus", "alias-loop",
	"unreachable", "canceled",
}

// MarshalText returns a word for programs, such as "servfail". It fails for a value without a name.
func (f ResolveErrorKind) MarshalText() ([]byte, error) {
	return enum.Marshal("mx.ResolveErrorKind", failureWords[:], f)
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (f *ResolveErrorKind) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.ResolveErrorKind", failureWords[:], f, text)
}
