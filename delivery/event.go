package delivery

import (
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Event is something that became of a recipient, or of a message or a
// destination as a whole. Fields that do not apply are zero.
type Event struct {
	// Time is when it was settled, by the wall clock.
	Time time.Time
	Kind EventKind

	// ID and From are the message's. Recipient is who it is about; empty where
	// it is about the message or a destination.
	ID, From, Recipient string

	// Destination is the recipient's domain in canonical form.
	Destination string

	// Attempt counts from 1.
	Attempt int

	// Host and Addr are the host that decided, Route is how it was found, and
	// TLS is what protected the session.
	Host  string
	Addr  netip.AddrPort
	Route mx.Kind
	TLS   Protection

	// Code and Enhanced are the reply's, Reply its text or the local reason.
	Code            int
	Enhanced, Reply string

	// Next is when the recipient is tried again.
	Next time.Time

	// Tenant and Metadata are the message's.
	Tenant   string
	Metadata map[string]string

	// Err is the deciding error where the recipient was not delivered.
	Err *Error

	// BounceID is the id of the report that was queued, for Bounced and Delayed.
	BounceID string
}

// EventKind is what happened.
type EventKind uint8

// The kinds of event.
const (
	Queued         EventKind = iota // the queue has the message
	Delivered                       // the next hop has answered for the recipient
	Deferred                        // not now; tried again at Next
	UnknownOutcome                  // the reply to the final dot was lost; tried again at Next
	Failed                          // refused for good
	Expired                         // not delivered in time
	Bounced                         // a report of failure was queued
	Delayed                         // a report of delay was queued
	Held                            // the message is on hold
	Dropped                         // the message was removed
	Paused                          // a route's login was refused: the operator must act
	Resumed                         // a paused route works again, or what was suspended is no longer
	Trouble                         // something of ours fails, the queue, DNS or the network: told once until it works again
	Suspended                       // a destination, a site (Host) or a tenant is left alone, until Next
)

var kindNames = [...]string{
	"queued", "delivered", "deferred", "unknown", "failed", "expired", "bounced", "delayed", "held", "dropped",
	"paused", "resumed", "trouble", "suspended",
}

// String is the kind in one word: queued, delivered, deferred, unknown, failed,
// expired, bounced, delayed, held, dropped, paused, resumed, trouble, suspended.
func (k EventKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "?"
}
