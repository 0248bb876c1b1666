package reports

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Fate is the result for a recipient, as far as reports are concerned.
type Fate uint8

// The fates.
const (
	Untold  Fate = iota // nothing to report
	Failed              // refused for good
	Expired             // not delivered in time
	Delayed             // to be tried again, for so long that the sender is to know
)

// Subject is a settlement that reports may be about.
type Subject struct {
	Delivery *queue.Delivery
	Results  []queue.Result // one per recipient, as are Fates
	Fates    []Fate

	// MayTell is called before a recipient's failure is reported. If nil, all are.
	MayTell func(recipient int) bool

	// Whole is the whole message in the queue, so that a report of delay is about all
	// recipients that wait: they arrived together, and so are late together. If nil,
	// the report is about this delivery only.
	Whole *queue.Entry

	// Expiry is when the delivery is given up, and Now the time.
	Expiry, Now time.Time
}

// Notice is a report to a message's sender, to be created with the settlement it
// is about.
type Notice struct {
	Delay   bool // else of failure
	Message *queue.Message

	// Unsigned says why it is not signed, if it should be.
	Unsigned error

	plain queue.Content // its content, unsigned
}

// Unsign restores the unsigned message, and returns false if it was not signed.
func (n *Notice) Unsign() bool {
	if n.Message.Content == n.plain {
		return false
	}
	n.Message.Content = n.plain
	return true
}
