package queue

import "github.com/nexthop-mail/nexthop/internal/enum"

// Outcome is the result of one attempt for one recipient. The zero value is Deferred, so a
// recipient without a decision is tried again.
type Outcome uint8

// The four outcomes.
const (
	// Deferred: not delivered yet, to be tried again.
	Deferred Outcome = iota
	// Delivered: the next hop took responsibility (2yz after the final dot).
	Delivered
	// Failed: refused for good, and the sender gets a bounce.
	Failed
	// Unknown: the reply to the final dot was lost; the message may have been
	// delivered (RFC 1047).
	Unknown
)

var outcomeNames = [...]string{"deferred", "delivered", "failed", "unknown"}

// String returns deferred, delivered, failed or unknown.
func (o Outcome) String() string { return enum.String("queue.Outcome", outcomeNames[:], o) }

// MarshalText returns the text of String. It fails for a value without a name.
func (o Outcome) MarshalText() ([]byte, error) {
	return enum.Marshal("queue.Outcome", outcomeNames[:], o)
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (o *Outcome) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.Outcome", outcomeNames[:], o, text)
}

// Reply is the answer for a recipient, by a host or by nexthop itself. Its fields are
// plain, so that a queue can store it without knowledge of SMTP.
type Reply struct {
	Host     string // the next hop's name; empty if no host was reached
	Addr     string // the address connected to; empty if there was no connection
	Code     int    // the SMTP reply code; 0 if no host replied
	Enhanced string // the enhanced status code, "5.1.1" (RFC 3463)
	Text     string // the reply's text with its status code, lines joined by "\n", or the local reason
}
