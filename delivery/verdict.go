package delivery

import "github.com/nexthop-mail/nexthop/queue"

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

// outranks reports whether a decides over b. The order is that of the
// constants but for the lowest two, which change places.
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
