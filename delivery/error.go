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

// Error says why a recipient was not delivered, or why an attempt at one host failed.
// Either the host replied (Code is not zero), or Err is the cause.
type Error struct {
	// Stage is the stage at which the attempt failed.
	Stage Stage

	// Host is the next hop's name and Addr the address connected to. They are empty and
	// invalid if the attempt failed before.
	Host string
	Addr netip.AddrPort

	// Recipient is the recipient's address as it is in the message, or "" if the error
	// is about all recipients. If Send had several recipients, it is one that was not
	// delivered.
	Recipient string

	// Delivered says how many of the Recipients of the message were delivered
	// nevertheless; if the message were sent again to all, these would get a second
	// copy. Both are zero except in an error of Send about a message with several
	// recipients.
	Delivered, Recipients int

	// Code is the host's reply code. Lines is the text of its reply, one string per
	// line, with control characters escaped. Without a reply, Lines is empty and Code
	// is zero, or 556 for a null MX (RFC 7505 section 4.2).
	Code  int
	Lines []string

	// Enhanced is the status code of RFC 3463. It is the host's if the host gave a
	// valid one, and otherwise derived from stage and cause. It is never empty.
	Enhanced string

	// Verdict is the meaning of the failure.
	Verdict Verdict

	// AtMostOnce is true if the message may have been taken and may be sent at most
	// once. Then it must not be sent again.
	AtMostOnce bool

	// Remembered is true if the host was not asked because the same failure had just
	// happened.
	Remembered bool

	// Elsewhere says which other host will never take the message, and why, if this one
	// has failed for now. It is a part of Reason, but not of Reply.
	Elsewhere string

	// Err is the cause if no host replied.
	Err error
}

// Temporary reports whether another attempt may be made, and may succeed. If the
// message may have been taken, another attempt may deliver a second copy; Temporary is
// then false for a message that may be sent at most once.
func (e *Error) Temporary() bool {
	return e.Verdict == NotNow || e.Verdict == MaybeTaken && !e.AtMostOnce
}

// Replied reports whether the host itself gave the reply.
func (e *Error) Replied() bool { return len(e.Lines) > 0 }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Error returns one line with the host, the stage, and the reply or the cause.
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

// Reason returns the reply, or the cause if there was none, and Elsewhere.
func (e *Error) Reason() string {
	switch {
	case len(e.Lines) > 0:
		return e.elsewhere(strconv.Itoa(e.Code) + " " + strings.Join(e.Lines, " "))
	case e.Err != nil:
		return e.Err.Error()
	case e.Code != 0:
		return strconv.Itoa(e.Code)
	default:
		return e.Enhanced
	}
}

// elsewhere returns the text of the host's reply and Elsewhere.
func (e *Error) elsewhere(reply string) string {
	if e == nil || e.Elsewhere == "" || !e.Replied() {
		return reply
	}
	return reply + "; " + e.Elsewhere
}

// Status returns the reply for a server that passes the error on to its client: 4yz if
// the error is temporary, and otherwise 5yz, with an enhanced status code of the same
// class. It is the host's own reply if that is of the same class. Otherwise it is 451
// or 550, or a more specific code for errors of Submit: 552 for a message that is too
// long, 553 for an address.
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

// Reply returns the error in the flat form that a queue stores.
func (e *Error) Reply() queue.Reply {
	f := e.failure()
	return f.Reply()
}

// LoginRefused reports whether the host accepts no mail from us until something about
// the login changes: the credentials, the mechanism, the account, or the configuration
// (RFC 4954 section 6; requirement QUE-15). The message itself is fine and is never
// bounced because of it. But another attempt soon, with this message or another one on
// the same route, has the same result and may lock the account. A program that retries
// should pause the route and tell an operator.
//
// It is true if AUTH was answered with 5yz, if the host offers no mechanism that the
// login supports or did not prove its identity, if the TLS level does not permit a
// login, and if any command was answered with 530, 534, 535 or 538, or with 5yz and a
// status from 5.7.8 to 5.7.11. It is false for 454 and 432, and if a token source
// failed: these are temporary.
func (e *Error) LoginRefused() bool {
	f := e.failure()
	return f.LoginRefused()
}

// failure is the error as package attempt has it.
func (e *Error) failure() attempt.Failure {
	return attempt.Failure{
		Stage: attempt.Stage(e.Stage), Host: e.Host, Addr: e.Addr, Recipient: e.Recipient, Code: e.Code, Lines: e.Lines,
		Enhanced: e.Enhanced, Verdict: attempt.Verdict(e.Verdict),
		AtMostOnce: e.AtMostOnce, Remembered: e.Remembered, Elsewhere: e.Elsewhere, Err: e.Err,
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
		AtMostOnce: f.AtMostOnce, Remembered: f.Remembered, Elsewhere: f.Elsewhere, Err: f.Err,
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

// String returns the stage in one word: message, dns, connect, banner, ehlo, starttls,
// auth, mail, rcpt, data, content.
func (s Stage) String() string { return enum.String("delivery.Stage", stageNames[:], s) }

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (s Stage) MarshalText() ([]byte, error) { return enum.Marshal("delivery.Stage", stageNames[:], s) }

// UnmarshalText reads only the texts that MarshalText writes.
func (s *Stage) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Stage", stageNames[:], s, text)
}

// Stages are the durations of the stages of an attempt. A stage is zero if the attempt
// did not reach it, or skipped it because it used a kept session.
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

// Verdict is the result of one attempt at one host for one recipient. The zero value is
// a temporary failure, so anything unknown is tried again.
//
// The verdicts of all hosts that were asked for one recipient make one [queue.Outcome],
// in any order:
//
//	Taken > MaybeTaken > Refused > NotNow > HostRefuses
//
// A host's own permanent failure counts only if every host fails that way. Without any
// verdict the recipient is deferred.
type Verdict uint8

// The verdicts.
const (
	// NotNow is a temporary failure of the host, the message or the recipient. Another
	// host may be asked now, and this one later.
	NotNow Verdict = iota
	// HostRefuses is a permanent failure of that host only: its greeting, its size
	// limit, an extension it lacks. Another host is asked.
	HostRefuses
	// Refused is a permanent refusal of the message or the recipient. No other host is
	// asked (RFC 5321 section 4.2.1).
	Refused
	// MaybeTaken means that the reply to the final dot was lost (RFC 1047). No other
	// host is asked in the same attempt.
	MaybeTaken
	// Taken means that the recipient was delivered.
	Taken
)

// String returns the verdict in a few words.
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

// MarshalText returns one word for programs: not-now, host-refuses, refused,
// maybe-taken, taken. It fails for a value without a name.
func (v Verdict) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.Verdict", verdictWords[:], v)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (v *Verdict) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Verdict", verdictWords[:], v, text)
}

// Final reports whether the verdict ends the walk for its recipient.
func (v Verdict) Final() bool { return v >= Refused }

// Judge returns the verdict for a host's reply at a stage. A Sender uses it unless its
// field Judge is set. enhanced is the status code of the reply, or "". A reply that is
// invalid at its stage is NotNow.
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

// signError is a failure of the Sign hook, which may pass.
func signError(err error) *Error {
	return &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: "4.7.0", Err: err}
}
