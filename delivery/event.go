package delivery

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Event is something that happened to a recipient, or to a message or a
// destination as a whole. Fields that do not apply are zero.
type Event struct {
	// Time is when the event was settled, by the wall clock.
	Time time.Time
	Kind EventKind

	// ID and From are those of the message. Recipient is empty if the event is about
	// the message as a whole or a destination.
	ID, From, Recipient string

	// Destination is the recipient's domain in canonical form.
	Destination string

	// Attempt is the number of the attempt, counted from 1.
	Attempt int

	// Host and Addr are the host that decided, Via is how it was found, and TLS is the
	// protection of the session.
	Host string
	Addr netip.AddrPort
	Via  mx.Via
	TLS  Protection

	// Code and Enhanced are the codes of the reply. Reply is its text, which begins with
	// the enhanced code if the host gave one, or the local reason.
	Code            int
	Enhanced, Reply string

	// Duration is how long the attempt took, from the first host to the last. Stages
	// are the durations of its stages, added up over all hosts.
	Duration time.Duration
	Stages   Stages

	// Age is how long the message had been in the queue, and Size the length of its
	// content in octets.
	Age  time.Duration
	Size int64

	// Next is when the recipient will be tried again.
	Next time.Time

	// Tenant and Metadata are those of the message.
	Tenant   string
	Metadata map[string]string

	// Decision is the decision of the PolicySource about the host that decided; nil if
	// it was not asked.
	Decision *Decision

	// Err is the error that decided, if the recipient was not delivered.
	Err *Error

	// BounceID is the id of the report that was queued, for Bounced and Delayed.
	BounceID string
}

// BadAddress reports whether the recipient has failed because no mail can be delivered to
// its address: the mailbox or the domain does not exist, is disabled or accepts no mail.
// Send no further mail to such an address.
//
// It goes by the enhanced status code (RFC 3463): 5.1.1, 5.1.2, 5.1.3, 5.1.6, 5.1.10 (RFC
// 7505) and 5.2.1. It is false if a host refused the mail for another reason, such as its
// content or the sender's own address (5.1.7, 5.1.8), if the host gave no status code, and
// if mail expired.
func (e Event) BadAddress() bool {
	if e.Kind != Failed || e.Err != nil && e.Err.Replied() && !strings.HasPrefix(e.Reply, e.Enhanced) {
		return false // Enhanced is derived from the stage if the reply has none
	}
	return isBadAddress(e.Enhanced)
}

// BadAddress is Event.BadAddress for an outcome that a queue has kept (queue.Outcomes), so
// that a program learns of the address even if it crashed before it heard of the event.
func BadAddress(o *queue.FinalOutcome) bool {
	r := &o.Reply
	if o.Outcome != queue.Failed || r.Host != "" && r.Code != 0 && !strings.HasPrefix(r.Text, r.Enhanced) {
		return false
	}
	return isBadAddress(r.Enhanced)
}

func isBadAddress(enhanced string) bool {
	switch enhanced {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1":
		return true
	}
	return false
}

// EventKind is the kind of an event.
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
	LoginRefused                    // a site refused the login: the operator must act
	LoginAccepted                   // a site that refused the login accepts it again
	Resumed                         // a suspension has ended
	Trouble                         // the queue, DNS, or the network on this side fails; reported once until it works again
	Suspended                       // a destination, a site (Host) or a tenant is left alone, until Next
	PolicyNotice                    // a notice about TLS policies: Err wraps a *TLSNotice, Destination and Host are its subject

	eventKinds // how many there are
)

var kindNames = [...]string{
	"queued", "delivered", "deferred", "unknown", "failed", "expired", "bounced", "delayed", "held", "dropped",
	"login-refused", "login-accepted", "resumed", "trouble", "suspended", "tls",
}

// String returns the kind in one word: queued, delivered, deferred, unknown, failed,
// expired, bounced, delayed, held, dropped, login-refused, login-accepted, resumed,
// trouble, suspended, tls.
func (k EventKind) String() string { return enum.String("delivery.EventKind", kindNames[:], k) }

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (k EventKind) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.EventKind", kindNames[:], k)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (k *EventKind) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.EventKind", kindNames[:], k, text)
}

// Counts has the number of events of each kind, such as counts[Delivered].
type Counts [eventKinds]uint64

// Since returns the counts of the events that came after before was taken.
func (c Counts) Since(before Counts) Counts {
	for k := range c {
		c[k] -= before[k]
	}
	return c
}

// Settled returns the number of recipients with a final outcome: delivered, failed or
// expired. With the number of submitted recipients it gives the progress.
func (c Counts) Settled() uint64 { return c[Delivered] + c[Failed] + c[Expired] }

// counter counts events. The zero value is ready to use.
type counter struct {
	mu     sync.Mutex
	counts Counts
}

// add counts events.
func (c *counter) add(list []Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		c.counts[list[i].Kind]++
	}
}

// tally counts n events of a kind.
func (c *counter) tally(k EventKind, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[k] += uint64(n)
}

// read returns the counts so far.
func (c *counter) read() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// Causes of trouble on our side.
var (
	errNoDNS     = errors.New("no DNS server answers")
	errNoNetwork = errors.New("no route to any network")
	errNoSockets = errors.New("the system has no descriptors, ports or memory for a connection")
)

func errorOf(c sched.Cause) error {
	switch c {
	case sched.DNSFails:
		return errNoDNS
	case sched.NetworkFails:
		return errNoNetwork
	default:
		return errNoSockets
	}
}

// troubleEvent returns the event for trouble on our side.
func troubleEvent(cause error) Event {
	e := &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: "4.3.0", Err: cause}
	return Event{Time: time.Now(), Kind: Trouble, Enhanced: e.Enhanced, Reply: e.Reason(), Err: e}
}

// ClockJump is the error of a Trouble event about a jump of the wall clock: it was set,
// or the machine slept.
//
// After a jump ahead, mail that waits for a time becomes due by the new time. No mail
// expires and no delay is reported because of a jump: the age of mail that had arrived
// before does not change. After a jump back, mail is retried after the same intervals
// as without the jump.
type ClockJump struct {
	// By is the length of the jump, negative if the clock was set back.
	By time.Duration
}

// Error returns the direction and length of the jump.
func (e *ClockJump) Error() string {
	if e.By < 0 {
		return fmt.Sprintf("the wall clock was put back by %v", (-e.By).Round(time.Second))
	}
	return fmt.Sprintf("the wall clock is ahead by %v: it was set, or the machine slept", e.By.Round(time.Second))
}
