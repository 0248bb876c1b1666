package reports

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Fate is what became of a recipient, as far as a report may have to tell.
type Fate uint8

// The fates.
const (
	Untold  Fate = iota // nothing to tell
	Failed              // refused for good
	Expired             // not delivered in time
	Delayed             // to be tried again, for so long that the sender is to know
)

// Subject is a settlement that reports may be about.
type Subject struct {
	Delivery *queue.Delivery
	Results  []queue.Result // one per recipient, as are Fates
	Fates    []Fate

	// MayTell is asked before a recipient's failure is told of; nil is yes.
	MayTell func(recipient int) bool

	// Whole is the message as the queue has it, so that a report of delay tells of all
	// who wait: they arrived together, and so are late together. Nil is a report of
	// this delivery alone.
	Whole *queue.Entry

	// Expiry is when the delivery is given up, and Now the time.
	Expiry, Now time.Time
}

// Notice is a report to a message's sender, to be created with the settlement it
// is about.
type Notice struct {
	Delay   bool // else of failure
	Message *queue.Message

	// Unsigned is why it is not signed, where it should be.
	Unsigned error

	plain queue.Content // what it says, unsigned
}

// Unsign makes the message what it was before it was signed, and reports whether
// there was anything to change.
func (n *Notice) Unsign() bool {
	if n.Message.Content == n.plain {
		return false
	}
	n.Message.Content = n.plain
	return true
}
