package attempt

import "github.com/nexthop-mail/nexthop/queue"

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

// Verdict is the result of one attempt at one host for one recipient. The zero value is
// a temporary failure, so anything unknown is tried again.
type Verdict uint8

// The verdicts.
const (
	NotNow      Verdict = iota // a failure for now: another host may be asked, and later this one
	HostRefuses                // a permanent failure that speaks for that host only
	Refused                    // a firm no to the message or the recipient
	MaybeTaken                 // the reply to the final dot was lost (RFC 1047)
	Taken                      // delivered
)

// Final reports whether the verdict ends the walk for its recipient.
func (v Verdict) Final() bool { return v >= Refused }

// Next is what a walk did after an attempt, and so why.
type Next uint8

// The ways a walk goes on or ends.
const (
	NextAddress  Next = iota // this address failed: the host's next one, else the next host
	NextHost                 // the host answered "not now" or "not here": the next host
	SameHost                 // the host is asked again: a session had gone stale, or its limits want another transaction
	InClear                  // TLS does not work there and is not required: once more without TLS
	StopSettled              // taken or refused for good
	StopUnknown              // the message may have been taken: no other host is asked
	StopHosts                // no host is left
	StopLimit                // a limit of the attempt is reached
	StopCanceled             // the caller's context ended
	NextFallback             // no host is left but the fallback hosts
	StopSelf                 // a host is this one: hosts of equal or worse preference are not asked
)

// Decide makes one outcome of the verdicts of all hosts that were asked for one
// recipient, in any order:
//
//	delivered > unknown > a firm refusal > temporary > refused by the host
//
// so that a host's own permanent failure counts only if every host fails that
// way. No verdict at all is a deferral.
func Decide(verdicts ...Verdict) queue.Outcome {
	if len(verdicts) == 0 {
		return queue.Deferred
	}
	decisive := verdicts[0]
	for _, v := range verdicts[1:] {
		if outranks(v, decisive) {
			decisive = v
		}
	}
	return decisive.outcome()
}

// outranks reports whether a takes precedence over b. The order is that of the
// constants, except that the lowest two are exchanged.
func outranks(a, b Verdict) bool { return a.rank() > b.rank() }

func (v Verdict) rank() uint8 {
	switch v {
	case HostRefuses:
		return 0
	case Refused:
		return 2
	case MaybeTaken:
		return 3
	case Taken:
		return 4
	default:
		return 1
	}
}

func (v Verdict) outcome() queue.Outcome {
	switch v {
	case HostRefuses, Refused:
		return queue.Failed
	case MaybeTaken:
		return queue.Unknown
	case Taken:
		return queue.Delivered
	default:
		return queue.Deferred
	}
}
