package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Message is one piece of mail: an envelope (From and Recipients, RFC 5321
// section 2.3.1) and its content. It is a value: it belongs to the caller that fills
// it in, and nexthop does not change it.
type Message struct {
	// ID names the message in events, traces and administration. A queue gives
	// it at Put. A Sender uses it as it is, and needs none.
	ID string

	// From is the reverse-path, a mailbox without angle brackets. If empty, it is the
	// null reverse-path of notifications (RFC 5321 section 4.5.5).
	From string

	// Recipients are the forward-paths, at least one.
	Recipients []Recipient

	// Content is the header and body, stored once however many recipients
	// there are.
	Content Content

	// Key makes Put idempotent: a queue that still knows a message with the
	// same tenant and key answers ErrDuplicate (rule P6). It may be empty.
	Key string

	// Metadata is the application's own: nexthop stores it, hands it back in
	// events, and never reads it.
	Metadata map[string]string

	// Tenant names whose mail this is, for fairness between tenants. The empty
	// name is a tenant like any other.
	Tenant string

	// Priority orders messages that are due, higher first, from -9 to 9 (RFC
	// 6710 section 4.1). Default: 0, ordinary mail. Waiting makes up for a lower
	// priority (PriorityStep), so that no mail is passed over for ever.
	Priority int

	// Arrived is when the message was accepted. Default: the time of Put.
	Arrived time.Time

	// NotBefore is the earliest time of the first attempt. Default: at once.
	NotBefore time.Time

	// Expires is when to give up. Default: as the retry schedule says.
	Expires time.Time

	// TLS is what the message itself asks of the transport.
	TLS TLSRequirement

	// UTF8 declares the message to be internationalized mail, as SMTPUTF8 at MAIL
	// does (RFC 6531 section 3.4): octets beyond ASCII in a header are UTF-8 then,
	// and hosts without SMTPUTF8 are not given it. An address beyond ASCII declares
	// it, too. Without either, nobody knows what such octets mean, and they go to any
	// host that takes 8-bit content.
	UTF8 bool

	// Guarantee says what to do when nobody knows whether a host took the
	// message. The zero value is AtLeastOnce.
	Guarantee Guarantee

	// Submitter is who submitted the message, an address or other identity that was
	// authenticated and that next hops may be told (RFC 4954 section 5). If empty, it
	// is unknown. Only a next hop with a login is told, by the parameter AUTH of MAIL:
	// AUTH=<> if it is unknown.
	Submitter string

	// EnvelopeID is the ENVID parameter, decoded (RFC 3461 section 4.4), and
	// Return what a failure report should contain (section 4.3).
	EnvelopeID string
	Return     Return
}

// Recipient is one forward-path of a message with its DSN parameters.
type Recipient struct {
	// Address is a mailbox without angle brackets, as the sender wrote it. Its
	// local part is never changed (RFC 5321 section 2.4).
	Address string

	// Notify says when the sender wants a report (RFC 3461 section 4.1). Default:
	// the sender did not say.
	Notify Notify

	// OriginalType and Original are the ORCPT parameter, decoded (RFC 3461
	// section 4.2): "rfc822" and an address. They may be empty.
	OriginalType, Original string
}

// Notify is a set of the occasions on which a report is wanted.
type Notify uint8

// The occasions of RFC 3461 section 4.1. NotifyNever stands alone. Failure and delay
// are reported by an agent. Success is reported by the host that has the mailbox: the
// parameter is passed on to hosts with DSN. Without DSN on the way, no report comes.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

var notifyNames = [...]string{"never", "success", "failure", "delay"}

// String is the occasions with commas between them: never, success, failure, delay. It is
// empty if there are none.
func (n Notify) String() string {
	var list []string
	for i, name := range notifyNames {
		if n&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	if rest := n >> len(notifyNames); rest != 0 {
		list = append(list, fmt.Sprintf("queue.Notify(%d)", rest<<len(notifyNames)))
	}
	return strings.Join(list, ",")
}

// MarshalText is String, for JSON and the like. It fails for a set with unknown occasions.
func (n Notify) MarshalText() ([]byte, error) {
	if n>>len(notifyNames) != 0 {
		return nil, fmt.Errorf("%v has no name", n)
	}
	return []byte(n.String()), nil
}

// UnmarshalText reads what MarshalText writes, in any order and in upper or lower case, as
// NOTIFY has it.
func (n *Notify) UnmarshalText(text []byte) error {
	var set Notify
	if len(text) > 0 {
		for word := range strings.SplitSeq(string(text), ",") {
			i := slices.IndexFunc(notifyNames[:], func(name string) bool { return strings.EqualFold(name, word) })
			if i < 0 {
				return fmt.Errorf("queue.Notify: %.40q is none of %s", word, strings.Join(notifyNames[:], ", "))
			}
			set |= 1 << i
		}
	}
	*n = set
	return nil
}

// Return is how much of the message a failure report carries back.
type Return uint8

// The values of RFC 3461 section 4.3. The zero value leaves it to the reporter.
const (
	ReturnUnspecified Return = iota
	ReturnFull
	ReturnHeaders
)

var returnNames = [...]string{"unspecified", "full", "headers"}

// String is unspecified, full or headers.
func (r Return) String() string { return enum.String("queue.Return", returnNames[:], r) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (r Return) MarshalText() ([]byte, error) { return enum.Marshal("queue.Return", returnNames[:], r) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (r *Return) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.Return", returnNames[:], r, text)
}

// TLSRequirement is what a message asks of the transport, whatever the
// destination's own policy says.
type TLSRequirement uint8

// The requirements a message can carry (RFC 8689). The zero value leaves it to
// the policy of the destination.
const (
	TLSByPolicy TLSRequirement = iota
	TLSRequired                // REQUIRETLS: verified TLS at every hop, or a bounce
	TLSOptional                // deliverability before secrecy: policies of domains are not asked
)

var tlsNames = [...]string{"by-policy", "required", "optional"}

// String is by-policy, required or optional.
func (r TLSRequirement) String() string { return enum.String("queue.TLSRequirement", tlsNames[:], r) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (r TLSRequirement) MarshalText() ([]byte, error) {
	return enum.Marshal("queue.TLSRequirement", tlsNames[:], r)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (r *TLSRequirement) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.TLSRequirement", tlsNames[:], r, text)
}

// Guarantee is what an unknown outcome means for the next attempt.
type Guarantee uint8

// The two guarantees. AtLeastOnce may deliver a message twice if a reply
// was lost; AtMostOnce may leave one undelivered.
const (
	AtLeastOnce Guarantee = iota
	AtMostOnce
)

var guaranteeNames = [...]string{"at-least-once", "at-most-once"}

// String is at-least-once or at-most-once.
func (g Guarantee) String() string { return enum.String("queue.Guarantee", guaranteeNames[:], g) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (g Guarantee) MarshalText() ([]byte, error) {
	return enum.Marshal("queue.Guarantee", guaranteeNames[:], g)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (g *Guarantee) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.Guarantee", guaranteeNames[:], g, text)
}
