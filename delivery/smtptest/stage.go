package smtptest

import "github.com/nexthop-mail/nexthop/internal/enum"

// Stage is a point of the dialogue at which a Cue can act.
type Stage uint8

// The stages.
const (
	Banner    Stage = iota // the connection is made, nothing has been sent
	Hello                  // EHLO or HELO
	StartTLS               // STARTTLS
	Handshake              // the TLS handshake, after STARTTLS or at once
	HelloTLS               // EHLO or HELO after STARTTLS
	Auth                   // AUTH
	AuthReply              // a line of the exchange that AUTH begins
	Mail                   // MAIL FROM
	Rcpt                   // RCPT TO
	Data                   // DATA
	Content                // octets of the content have arrived: Cue.After, Cue.Every
	Chunk                  // a BDAT command and its octets have arrived, also with LAST
	Final                  // the final dot or the chunk with LAST has arrived
	Rset                   // RSET
	Quit                   // QUIT
	Other                  // NOOP, VRFY, HELP and unknown commands
)

var stageNames = [...]string{
	"banner", "hello", "starttls", "handshake", "hello-tls", "auth", "auth-reply", "mail", "rcpt",
	"data", "content", "chunk", "final", "rset", "quit", "other",
}

// String returns the stage in one word, in lower case.
func (s Stage) String() string { return enum.String("smtptest.Stage", stageNames[:], s) }

// MarshalText returns the text of String. It fails for a value without a name.
func (s Stage) MarshalText() ([]byte, error) { return enum.Marshal("smtptest.Stage", stageNames[:], s) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (s *Stage) UnmarshalText(text []byte) error {
	return enum.Unmarshal("smtptest.Stage", stageNames[:], s, text)
}

// precedes reports whether a reply at s is the last moment before a command of
// stage next may come, for cues with Early.
func (s Stage) precedes(next Stage) bool {
	switch next {
	case Hello:
		return s == Banner
	case StartTLS:
		return s == Hello
	case HelloTLS:
		return s == Handshake
	case Auth, Mail:
		return s == Hello || s == HelloTLS
	case Rcpt:
		return s == Mail
	case Data, Chunk:
		return s == Rcpt
	case Final:
		return s == Data
	case Rset, Quit:
		return s == Final
	default:
		return false
	}
}
