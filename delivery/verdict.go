package delivery

import (
	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/queue"
)

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
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return "unknown"
}

// Verdict is what one attempt at one host means for one recipient. The zero
// value is a temporary failure: what is not understood is tried again.
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

// Final reports whether the verdict ends the walk for its recipient.
func (v Verdict) Final() bool { return v >= Refused }

// Decide makes one outcome of the verdicts of all hosts that were asked for one
// recipient, in any order:
//
//	delivered > unknown > a firm refusal > temporary > refused by the host
//
// so that a host's own permanent failure counts only if every host fails that
// way. No verdict at all is a deferral.
func Decide(verdicts ...Verdict) queue.Outcome {
	list := make([]attempt.Verdict, len(verdicts))
	for i, v := range verdicts {
		list[i] = attempt.Verdict(v)
	}
	return attempt.Decide(list...)
}

// Judge says what a host's reply at a stage means: the table every Sender goes
// by unless it is given its own. enhanced is the status code of the reply, or
// empty. A reply that makes no sense at its stage is NotNow.
func Judge(stage Stage, code int, enhanced string) Verdict {
	return Verdict(attempt.Judge(attempt.Stage(stage), code, enhanced))
}
