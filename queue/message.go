package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Message is one piece of mail: an envelope (From and Recipients, RFC 5321 section 2.3.1)
// and its content. It belongs to the caller; nexthop does not change it.
type Message struct {
	// ID names the message in events, traces and administration. A queue sets it at Put. A
	// Sender uses it as it is; it may be empty there.
	ID string

	// From is the reverse-path, a mailbox without angle brackets. If empty, it is the
	// null reverse-path of notifications (RFC 5321 section 4.5.5).
	From string

	// Recipients are the forward-paths, at least one.
	Recipients []Recipient

	// Content is the header and body. It is stored once, even if there are many
	// recipients.
	Content Content

	// Key makes Put idempotent: a queue that still knows a message with the
	// same tenant and key answers ErrDuplicate (rule P6). It may be empty.
	Key string

	// Metadata belongs to the application. nexthop stores it and returns it in events, but
	// does not interpret it.
	Metadata map[string]string

	// Tenant names whose mail this is, for fairness between tenants. The empty
	// name is a tenant like any other.
	Tenant string

	// Priority orders messages that are due, from -9 to 9, the highest first (RFC 6710
	// section 4.1). Default: 0, ordinary mail. Time spent waiting makes up for a lower
	// priority (PriorityStep), so that no mail waits for ever.
	Priority int

	// Arrived is when the message was accepted. Default: the time of Put.
	Arrived time.Time

	// NotBefore is the earliest time of the first attempt. Default: at once.
	NotBefore time.Time

	// Expires is when to give up. Default: the end of the retry schedule.
	Expires time.Time

	// TLS is what the message itself requires of the transport.
	TLS TLSRequirement

	// UTF8 declares the message to be internationalized mail, as SMTPUTF8 at MAIL does
	// (RFC 6531 section 3.4): octets beyond ASCII in its header are UTF-8, and it is not
	// sent to hosts without SMTPUTF8. An address beyond ASCII declares the same. Without
	// either, the meaning of such octets is not known, and the message goes to any host
	// that accepts 8-bit content.
	UTF8 bool

	// Guarantee says what to do if it is not known whether a host accepted the message.
	// Default: AtLeastOnce.
	Guarantee Guarantee

	// Submitter is the authenticated identity that submitted the message, such as an
	// address. If empty, it is unknown. A next hop with a login is told it with the AUTH
	// parameter of MAIL, as AUTH=<> if it is unknown (RFC 4954 section 5). Other hosts are
	// not told.
	Submitter string

	// EnvelopeID is the ENVID parameter, decoded (RFC 3461 section 4.4). Return says what
	// a failure report should contain (section 4.3).
	EnvelopeID string
	Return     Return
}

// Recipient is one forward-path of a message with its DSN parameters.
type Recipient struct {
	// Address is a mailbox without angle brackets, as the sender wrote it. Its
	// local part is never changed (RFC 5321 section 2.4).
	Address string

	// Notify says when the sender wants a report (RFC 3461 section 4.1). Default: not
	// specified.
	Notify Notify

	// OriginalType and Original are the ORCPT parameter, decoded (RFC 3461
	// section 4.2): "rfc822" and an address. They may be empty.
	OriginalType, Original string
}

// Notify is the set of occasions on which the sender wants a report.
type Notify uint8

// The occasions of RFC 3461 section 4.1. NotifyNever cannot be combined with others. An
// agent reports failure and delay. Success is reported by the host that has the mailbox,
// to which the parameter is passed on. If a host on the way does not support DSN, success
// is not reported.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

var notifyNames = [...]string{"never", "success", "failure", "delay"}

// String returns the occasions, separated by commas: never, success, failure, delay.
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

// MarshalText returns the text of String. It fails for a set with unknown occasions.
func (n Notify) MarshalText() ([]byte, error) {
	if n>>len(notifyNames) != 0 {
		return nil, fmt.Errorf("%v has no name", n)
	}
	return []byte(n.String()), nil
}

// UnmarshalText reads the form that MarshalText writes, in any order and case, as in the
// NOTIFY parameter.
func (n *Notify) UnmarshalText(text []byte) error {
	var set Notify
	if len(text) > 0 {
		for word := range strings.SplitSeq(string(text), ",") {
			i := slices.IndexFunc(notifyNames[:], func(name string) bool { return strings.EqualFold(name, word) })
			if i < 0 {
				return fmt.Errorf("queue.Notify: unknown occasion %.40q; use %s", word, strings.Join(notifyNames[:], ", "))
			}
			set |= 1 << i
		}
	}
	*n = set
	return nil
}

// Return is how much of the message a failure report contains.
type Return uint8

// The values of RFC 3461 section 4.3. The zero value leaves the choice to the reporter.
const (
	ReturnUnspecified Return = iota
	ReturnFull
	ReturnHeaders
)

var returnNames = [...]string{"unspecified", "full", "headers"}

// String returns unspecified, full or headers.
func (r Return) String() string { return enum.String("queue.Return", returnNames[:], r) }

// MarshalText returns the text of String. It fails for a value without a name.
func (r Return) MarshalText() ([]byte, error) { return enum.Marshal("queue.Return", returnNames[:], r) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (r *Return) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.Return", returnNames[:], r, text)
}

// TLSRequirement is what a message requires of the transport. It takes precedence over the
// destination's policy.
type TLSRequirement uint8

// The requirements of RFC 8689. The zero value leaves the choice to the policy of the
// destination.
const (
	TLSByPolicy TLSRequirement = iota
	TLSRequired                // REQUIRETLS: verified TLS at every hop, or a bounce
	TLSOptional                // TLS-Required: No: policies of the recipients' domains are ignored, to have it delivered
)

var tlsNames = [...]string{"by-policy", "required", "optional"}

// String returns by-policy, required or optional.
func (r TLSRequirement) String() string { return enum.String("queue.TLSRequirement", tlsNames[:], r) }

// MarshalText returns the text of String. It fails for a value without a name.
func (r TLSRequirement) MarshalText() ([]byte, error) {
	return enum.Marshal("queue.TLSRequirement", tlsNames[:], r)
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (r *TLSRequirement) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.TLSRequirement", tlsNames[:], r, text)
}

// Guarantee says what happens after an attempt with an unknown outcome.
type Guarantee uint8

// The two guarantees. If a reply was lost, AtLeastOnce may deliver the message twice, and
// AtMostOnce may leave it undelivered.
const (
	AtLeastOnce Guarantee = iota
	AtMostOnce
)

var guaranteeNames = [...]string{"at-least-once", "at-most-once"}

// String returns at-least-once or at-most-once.
func (g Guarantee) String() string { return enum.String("queue.Guarantee", guaranteeNames[:], g) }

// MarshalText returns the text of String. It fails for a value without a name.
func (g Guarantee) MarshalText() ([]byte, error) {
	return enum.Marshal("queue.Guarantee", guaranteeNames[:], g)
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (g *Guarantee) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.Guarantee", guaranteeNames[:], g, text)
}
