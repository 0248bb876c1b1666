package delivery

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/queue"
)

// Error is why a recipient was not delivered, or why an attempt at one host
// failed. Either the host said so (Code is not zero) or Err is the cause.
type Error struct {
	// Stage is how far the attempt had come.
	Stage Stage

	// Host is the next hop's name and Addr the address connected to; empty and
	// invalid if the attempt had not come that far.
	Host string
	Addr netip.AddrPort

	// Recipient is the address it is about, as the message has it; empty if it is about
	// all. If Send had several recipients, it is that of one who was not delivered.
	Recipient string

	// Delivered is how many of the Recipients that a message had were delivered all the
	// same: sending it again to everybody would send these a second copy. Both are zero
	// but in an error about a message with several recipients, which Send returns.
	Delivered, Recipients int

	// Code is the host's reply code, Lines the text of its reply, a line each,
	// as received but for control characters, which are escaped. Without a
	// reply Lines is empty, and Code zero but for the 556 of a null MX (RFC 7505
	// section 4.2).
	Code  int
	Lines []string

	// Enhanced is the status code of RFC 3463: the host's if it gave a valid one,
	// else ours by stage and cause. It is never empty.
	Enhanced string

	// Verdict is what it means.
	Verdict Verdict

	// AtMostOnce is set if the message may be sent at most once and may have been
	// taken: then it must not be sent again.
	AtMostOnce bool

	// Remembered is set if the host was not asked because the same failure had just
	// happened.
	Remembered bool

	// Err is the cause if no host replied.
	Err error
}

// Temporary reports whether another attempt may be made, and may succeed. If the
// message may have been taken, a second copy is the price of it; a message that may be
// sent at most once has no other attempt then.
func (e *Error) Temporary() bool {
	return e.Verdict == NotNow || e.Verdict == MaybeTaken && !e.AtMostOnce
}

// Replied reports whether the host itself gave the reply.
func (e *Error) Replied() bool { return len(e.Lines) > 0 }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Error is one line: where, at what stage, and what was said.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Host != "" {
		b.WriteString(e.Host)
		if e.Addr.IsValid() {
			fmt.Fprintf(&b, " (%s)", e.Addr)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Stage.String())
	b.WriteString(": ")
	b.WriteString(e.Reason())
	// At the door the cause repeats the address already.
	if e.Recipient != "" && e.Stage != StageMessage {
		fmt.Fprintf(&b, " (%s)", e.Recipient)
	}
	if e.Recipients > 1 {
		fmt.Fprintf(&b, "; %d of %d delivered", e.Delivered, e.Recipients)
	}
	if e.Remembered {
		b.WriteString(" (a moment ago; not asked again)")
	}
	return b.String()
}

// Reason is the reply, or the cause if there was none.
func (e *Error) Reason() string {
	switch {
	case len(e.Lines) > 0:
		return strconv.Itoa(e.Code) + " " + strings.Join(e.Lines, " ")
	case e.Err != nil:
		return e.Err.Error()
	case e.Code != 0:
		return strconv.Itoa(e.Code)
	default:
		return e.Enhanced
	}
}

// Status is the reply of a server that passes the error on to its client: 4yz if the
// error is temporary, else 5yz, with an enhanced status code of the same class. It is the
// host's own reply where there is one of that class, else 451 or 550 or, at the door, what
// fits: 552 for a message that is too long, 553 for an address.
func (e *Error) Status() (code int, enhanced string) {
	class := 5
	if e.Temporary() {
		class = 4
	}
	enhanced = e.Enhanced
	if len(enhanced) < 2 || int(enhanced[0]-'0') != class {
		_, rest, ok := strings.Cut(enhanced, ".")
		if !ok {
			rest = "0.0"
		}
		enhanced = strconv.Itoa(class) + "." + rest
	}
	switch {
	case e.Code/100 == class && e.Code != 421:
		return e.Code, enhanced
	case class == 4:
		return 451, enhanced
	case e.Stage == StageMessage && strings.HasPrefix(enhanced, "5.1."):
		return 553, enhanced
	case enhanced == "5.3.4":
		return 552, enhanced
	default:
		return 550, enhanced
	}
}

// Reply is the error in the flat form a queue stores.
func (e *Error) Reply() queue.Reply {
	f := e.failure()
	return f.Reply()
}

// LoginRefused reports whether this host takes no mail from us until something
// about the login changes: the credentials, the mechanism, the account, the
// configuration (RFC 4954 section 6; requirement QUE-15). The mail stays good and
// is never bounced for it, but trying again soon, with this message or another one
// on the same route, leads to the same answer and perhaps to a locked account.
// A program that retries should pause the route and tell an operator.
//
// It reports true if AUTH was answered 5yz, if the host offers no mechanism that the
// login can serve or did not prove who it is, if the TLS level does not fit a login, and
// if any command was answered 530, 534, 535 or 538, or 5yz with the status 5.7.8 to
// 5.7.11. It reports false for 454 and 432, and for a token source that failed: these
// pass by themselves.
func (e *Error) LoginRefused() bool {
	f := e.failure()
	return f.LoginRefused()
}

// failure is the error as package attempt has it.
func (e *Error) failure() attempt.Failure {
	return attempt.Failure{
		Stage: attempt.Stage(e.Stage), Host: e.Host, Addr: e.Addr, Recipient: e.Recipient, Code: e.Code, Lines: e.Lines,
		Enhanced: e.Enhanced, Verdict: attempt.Verdict(e.Verdict),
		AtMostOnce: e.AtMostOnce, Remembered: e.Remembered, Err: e.Err,
	}
}

// newError is a failure as the package's users see it.
func newError(f *attempt.Failure) *Error {
	if f == nil {
		return nil
	}
	return &Error{
		Stage: Stage(f.Stage), Host: f.Host, Addr: f.Addr, Recipient: f.Recipient, Code: f.Code, Lines: f.Lines,
		Enhanced: f.Enhanced, Verdict: Verdict(f.Verdict),
		AtMostOnce: f.AtMostOnce, Remembered: f.Remembered, Err: f.Err,
	}
}

// Stage is the point of an attempt at which something happened.
type Stage uint8

// The stages, in the order an attempt passes through them.
const (
	StageMessage  Stage = iota // at the door: an address or the content is not mail
	StageDNS                   // finding the route or an address
	StageConnect               // the TCP connection
	StageBanner                // the greeting
	StageHello                 // EHLO or HELO
	StageStartTLS              // STARTTLS, the handshake, the TLS policy
	StageAuth                  // AUTH
	StageMail                  // MAIL FROM
	StageRcpt                  // RCPT TO
	StageData                  // DATA, until the server is ready for the content
	StageContent               // the content, the final dot or last chunk, and its reply
)

var stageNames = [...]string{
	"message", "dns", "connect", "banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "content",
}

// String is the stage in one word: message, dns, connect, banner, ehlo,
// starttls, auth, mail, rcpt, data, content.
func (s Stage) String() string { return enum.String("delivery.Stage", stageNames[:], s) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (s Stage) MarshalText() ([]byte, error) { return enum.Marshal("delivery.Stage", stageNames[:], s) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (s *Stage) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Stage", stageNames[:], s, text)
}

// Stages are how long the stages of an attempt took. One that the attempt did not come to,
// or left out because it used a session kept from before, is zero.
type Stages struct {
	DNS     time.Duration // finding the route; of the first step of a walk alone
	Connect time.Duration // the TCP connection
	Hello   time.Duration // the greeting, EHLO and AUTH
	TLS     time.Duration // STARTTLS and the handshake
	Mail    time.Duration // MAIL, RCPT and DATA, with content that goes along with them
	Content time.Duration // sending the content
	Reply   time.Duration // waiting for the reply to the content
}

// plus is the sum of each stage.
func (s Stages) plus(t Stages) Stages {
	return Stages{
		s.DNS + t.DNS, s.Connect + t.Connect, s.Hello + t.Hello, s.TLS + t.TLS, s.Mail + t.Mail, s.Content + t.Content, s.Reply + t.Reply,
	}
}

// Verdict is what one attempt at one host means for one recipient. The zero
// value is a temporary failure: what is not understood is tried again.
//
// The verdicts of all hosts that were asked for one recipient make one [queue.Outcome], in
// whatever order they came:
//
//	Taken > MaybeTaken > Refused > NotNow > HostRefuses
//
// A host's own permanent failure counts only if every host fails that way. Without any
// verdict the recipient is deferred.
type Verdict uint8

// The verdicts.
const (
	// NotNow is a temporary failure, the host's, the message's or the
	// recipient's: another host may be asked, and later this one.
	NotNow Verdict = iota
	// HostRefuses is a permanent failure that speaks for that host only: its
	// greeting, its size limit, an extension it lacks. Another host is asked.
	HostRefuses
	// Refused is a firm no to the message or the recipient. No other host is
	// asked (RFC 5321 section 4.2.1).
	Refused
	// MaybeTaken is the lost reply to the final dot (RFC 1047). No other host
	// is asked in the same attempt.
	MaybeTaken
	// Taken is delivered.
	Taken
)

// String is the verdict in a few words.
func (v Verdict) String() string {
	switch v {
	case HostRefuses:
		return "refused by this host"
	case Refused:
		return "refused"
	case MaybeTaken:
		return "may have been taken"
	case Taken:
		return "taken"
	default:
		return "not now"
	}
}

var verdictWords = [...]string{"not-now", "host-refuses", "refused", "maybe-taken", "taken"}

// MarshalText is one word for programs: not-now, host-refuses, refused, maybe-taken,
// taken. It fails for a value that has no name.
func (v Verdict) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.Verdict", verdictWords[:], v)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (v *Verdict) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Verdict", verdictWords[:], v, text)
}

// Final reports whether the verdict ends the walk for its recipient.
func (v Verdict) Final() bool { return v >= Refused }

// Judge says what a host's reply at a stage means: the table every Sender goes
// by unless it is given its own. enhanced is the status code of the reply, or
// empty. A reply that makes no sense at its stage is NotNow.
func Judge(stage Stage, code int, enhanced string) Verdict {
	return Verdict(attempt.Judge(attempt.Stage(stage), code, enhanced))
}

// saidBy is a reply in one line, with its code.
func saidBy(r queue.Reply) string {
	text := strings.ReplaceAll(r.Text, "\n", " ")
	if r.Code == 0 {
		return text
	}
	return strings.TrimSpace(strconv.Itoa(r.Code) + " " + text)
}
