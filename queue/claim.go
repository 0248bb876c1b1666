package queue

import "time"

// PriorityStep is for how much longer a delivery counts as having been due for
// each step of its message's priority (rule C3): mail of priority 1 comes before
// ordinary mail that became due up to 10 minutes earlier, and after what has
// waited for longer. From the lowest priority to the highest it is 3 hours.
const PriorityStep = 10 * time.Minute

// The values that zero stands for in ClaimOptions.
const (
	DefaultMax   = 100
	DefaultLease = 15 * time.Minute
)

// ClaimOptions says what to claim. The zero value asks for up to
// DefaultMax deliveries of any destination for DefaultLease.
type ClaimOptions struct {
	// Max is how many deliveries to return at most. Default: DefaultMax.
	Max int

	// Lease is how long the leases last. Default: DefaultLease.
	Lease time.Duration

	// Destinations restricts the claim to these, in canonical form. Default:
	// all. Except leaves these out, whatever Destinations says.
	Destinations, Except []string

	// ExceptTenants leaves out the mail of these tenants.
	ExceptTenants []string

	// PerDestination and PerTenant are how many deliveries of one destination
	// and of one tenant to return at most. Default: no bound. Fairness is made of
	// them: a tenant that may take so much in a round leaves the rest to others.
	PerDestination, PerTenant int

	// Owner is who claims: postponements of that owner bind the claim beside
	// everybody's (rule A8). It may be empty.
	Owner string
}

// WithDefaults returns o with the defaults for Max and Lease filled in.
func (o ClaimOptions) WithDefaults() ClaimOptions {
	if o.Max <= 0 {
		o.Max = DefaultMax
	}
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	return o
}

// Claimed is what a claim found.
type Claimed struct {
	// Deliveries are leased to the caller, in the order of rule C3.
	Deliveries []Delivery

	// Unreadable are deliveries that were due and whose record could not be
	// read. They are leased too, so that they do not come up with every claim,
	// and they count for Max.
	Unreadable []Unreadable

	// Next is when a claim with the same options may find more (rule C8). If it is
	// not after the time of the claim, there is more already. If zero, nothing
	// waits.
	Next time.Time

	// Seen is passed to Wait, so that nothing that came after this claim is missed.
	// It means nothing if the queue is no Waiter.
	Seen uint64
}

// Delivery is the pending recipients of one message at one destination, leased
// to whoever claimed it. The caller owns it.
type Delivery struct {
	// Lease is the right to settle this delivery. It names the message and the
	// destination.
	Lease Lease

	// Message is the message as it was put, with its ID, Arrived filled in, and
	// two differences: Recipients are the pending ones at this destination, in
	// the order in which they were put, and Content is nil. Open has it.
	Message Message

	// States tells what happened to each of Message.Recipients so far.
	States []State

	// Size is the number of bytes of the content.
	Size int64

	// Due is since when the delivery has been due: exactly the not-before time it
	// was given, unless the queue has a clock of its own (rule X1).
	Due time.Time

	// Warned is whether a settlement said that the sender was told of the delay.
	Warned bool

	// Interrupted is only ever set for a message with AtMostOnce: the delivery
	// was marked as about to be sent, and that lease ended without a settlement, so
	// nobody knows whether the content was sent.
	Interrupted bool
}

// State is what happened to one recipient so far.
type State struct {
	// Index is the recipient's position among the recipients of the message as
	// it was put. Settlements name recipients by it.
	Index int

	// Attempts is how many settlements had a result for the recipient.
	Attempts int

	// Outcome, Reply and Tried are the last result and when it was settled; all
	// zero before the first. The outcome is Deferred or Unknown: with any other
	// the recipient is no longer pending.
	Outcome Outcome
	Reply   Reply
	Tried   time.Time
}

// Lease is the right to settle one delivery, a message at a destination, until
// it ends or somebody else claims the delivery.
type Lease struct {
	// Message is the message's id, Destination the recipients' domain in
	// canonical form.
	Message, Destination string

	// Token is the fencing token: no two leases of a delivery share one. It
	// means nothing outside the queue that gave it.
	Token uint64

	// Until is when the lease ends, on the clock of whoever passed the time to
	// Claim or Extend.
	Until time.Time
}

// Extended is what became of a lease that was to be extended.
type Extended struct {
	// Lease is the lease as it stands now.
	Lease Lease

	// Err is nil if it was extended; else ErrLeaseLost, or what kept the queue
	// from it.
	Err error
}

// Unreadable is a delivery that was due and could not be read.
type Unreadable struct {
	Lease Lease
	// Err wraps ErrDamaged, or the error of the read.
	Err error
}
