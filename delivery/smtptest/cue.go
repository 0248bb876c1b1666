package smtptest

import (
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Cue makes a Host act differently at one point of the dialogue. The fields up to Every
// say when, the others what. A Host uses the first Cue of its Script that fits.
type Cue struct {
	// At is the stage at which the cue acts.
	At Stage

	// Address limits a Mail or Rcpt cue to one mailbox. Case is ignored. "<>" is the null
	// reverse-path. Default: any.
	Address string

	// Said limits the cue to commands that contain this text, such as " SIZE=". Case is
	// ignored. While content arrives, the command is DATA or BDAT. Default: any.
	Said string

	// Grouped limits the cue to commands that arrived together with the previous one (RFC
	// 2920).
	Grouped bool

	// Nth limits the cue to the nth time, starting at 1. RCPT and BDAT are counted in a
	// transaction, everything else in a connection. Default: every time.
	Nth int

	// Conn limits the cue to the nth connection to the Host, starting at 1. Default: all.
	Conn int

	// Times is how often the cue is used in all. After that, the next one that fits is
	// used. Default: no limit.
	Times int

	// Until limits the cue to the time since the Host saw the command for the first time
	// with the same client address, reverse-path and mailbox, as greylisting does:
	// {At: Rcpt, Until: 5 * time.Minute, Reply: "450 4.7.1 Greylisted"}. Attempts in
	// between do not prolong it. Default: no limit.
	Until time.Duration

	// After makes a Content cue act once, when octets arrive beyond this number. Every
	// makes it act each time this number of further octets has arrived.
	After, Every int

	// Delay is how long to wait before everything else. At Content, the Host does not read
	// meanwhile.
	Delay time.Duration

	// Reply is one or more replies, each a line without CRLF. The command takes effect if
	// the first reply begins with 2 or 3. Default: the Host's usual reply, or no reply if
	// Then ends the conversation. An enhanced status code is part of the text, as on the
	// wire: "550 5.1.1 No such user".
	Reply string

	// Raw is sent unchanged instead of Reply.
	Raw string

	// Drip is the time between two octets of the reply. Default: the reply is sent at
	// once.
	Drip time.Duration

	// When is the moment of the reply. Default: when the command has arrived.
	When When

	// Then is what the Host does after the reply. Default: it goes on.
	Then Then
}

// When is the moment of a reply.
type When uint8

// The moments.
const (
	InTurn      When = iota
	Early            // before the command, with the reply to the previous one; the command gets no other reply
	AfterClosed      // once the client has closed its side
)

var whenNames = [...]string{"in-turn", "early", "after-closed"}

// String returns in-turn, early or after-closed.
func (w When) String() string { return enum.String("smtptest.When", whenNames[:], w) }

// MarshalText returns the text of String. It fails for a value without a name.
func (w When) MarshalText() ([]byte, error) { return enum.Marshal("smtptest.When", whenNames[:], w) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (w *When) UnmarshalText(text []byte) error {
	return enum.Unmarshal("smtptest.When", whenNames[:], w, text)
}

// Then says how the dialogue goes on.
type Then uint8

// The ways to go on.
const (
	GoOn        Then = iota // as usual
	Skip                    // as if the command had been lost: no reply, no effect
	Close                   // close the connection
	Reset                   // reset the connection (RST)
	Stall                   // send nothing more, but read until the client closes
	StopReading             // send and read nothing more, so that the window fills
)

var thenNames = [...]string{"go-on", "skip", "close", "reset", "stall", "stop-reading"}

// String returns what is done in one word: go-on, skip, close, reset, stall, stop-reading.
func (t Then) String() string { return enum.String("smtptest.Then", thenNames[:], t) }

// MarshalText returns the text of String. It fails for a value without a name.
func (t Then) MarshalText() ([]byte, error) { return enum.Marshal("smtptest.Then", thenNames[:], t) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (t *Then) UnmarshalText(text []byte) error {
	return enum.Unmarshal("smtptest.Then", thenNames[:], t, text)
}

// usual reports whether the Host answers as it always does.
func (c *Cue) usual() bool {
	return c.Reply == "" && c.Raw == "" && c.Then == GoOn
}

// text is what goes over the wire.
func (c *Cue) text() string {
	if c.Raw != "" || c.Reply == "" {
		return c.Raw
	}
	return lines(c.Reply)
}

// lines ends every line of text with CRLF.
func lines(text string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		b.WriteString(strings.TrimSuffix(line, "\r"))
		b.WriteString("\r\n")
	}
	return b.String()
}

// Lines is a reply of n lines that all say text, such as
// Lines(250, 100_000, "more").
func Lines(code, n int, text string) string {
	var b strings.Builder
	for i := range n {
		sep := byte('-')
		if i == n-1 {
			sep = ' '
		}
		b.WriteByte(byte('0' + code/100%10))
		b.WriteByte(byte('0' + code/10%10))
		b.WriteByte(byte('0' + code%10))
		b.WriteByte(sep)
		b.WriteString(text)
		b.WriteByte('\n')
	}
	return b.String()
}
