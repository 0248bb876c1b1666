package queue

import "github.com/nexthop-mail/nexthop/internal/enum"

// Outcome is what became of one recipient in one attempt. The zero value is
// Deferred: what nobody decided is tried again.
type Outcome uint8

// The four outcomes.
const (
	// Deferred: not delivered for now, to be tried again.
	Deferred Outcome = iota
	// Delivered: the next hop answered for the recipient (2yz after the final dot).
	Delivered
	// Failed: refused for good; a bounce is due.
	Failed
	// Unknown: the reply to the final dot was lost; the message may have been
	// delivered (RFC 1047).
	Unknown
)

var outcomeNames = [...]string{"deferred", "delivered", "failed", "unknown"}

// String is the outcome in one word: deferred, delivered, failed, unknown.
func (o Outcome) String() string { return enum.String("queue.Outcome", outcomeNames[:], o) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (o Outcome) MarshalText() ([]byte, error) {
	return enum.Marshal("queue.Outcome", outcomeNames[:], o)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (o *Outcome) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.Outcome", outcomeNames[:], o, text)
}

// Reply is what a host, or nexthop in its place, said of a recipient: flat, so
// that a queue can store it without knowing SMTP.
type Reply struct {
	Host     string // the next hop's name; empty where none was reached
	Addr     string // the address connected to; empty where none was
	Code     int    // the SMTP reply code; 0 where no host replied
	Enhanced string // the enhanced status code, "5.1.1" (RFC 3463)
	Text     string // the reply's text, lines joined by "\n", or the local reason
}
