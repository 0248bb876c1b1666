package queue

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

// String is the outcome's name in lower case.
func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "delivered"
	case Failed:
		return "failed"
	case Unknown:
		return "unknown"
	default:
		return "deferred"
	}
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
