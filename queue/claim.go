package queue

import "time"

// PriorityStep is what one step of priority is worth in time (rule C3). Mail of priority 1
// comes before ordinary mail that became due up to 10 minutes earlier, and after mail that
// has waited longer. From the lowest priority to the highest it is 3 hours.
const PriorityStep = 10 * time.Minute

// The defaults of ClaimOptions.
const (
	DefaultMax   = 100
	DefaultLease = 15 * time.Minute
)

// ClaimOptions says what to claim. The zero value asks for up to
// DefaultMax deliveries of any destination for DefaultLease.
type ClaimOptions struct {
	// Max is the maximum number of deliveries to return. Default: DefaultMax.
	Max int

	// Lease is how long the leases last. Default: DefaultLease.
	Lease time.Duration

	// Destinations restricts the claim to these destinations, in canonical form. Default:
	// all. Except leaves destinations out, even if Destinations lists them.
	Destinations, Except []string

	// ExceptTenants leaves out the mail of these tenants.
	ExceptTenants []string

	// PerDestination and PerTenant are the maximum numbers of deliveries to return for one
	// destination and for one tenant. Default: no bound. They make claims fair: a tenant
	// that has reached its bound leaves the rest of the claim to others.
	PerDestination, PerTenant int

	// Owner names the claimer. Postponements of that owner apply to the claim, in
	// addition to those without an owner (rule A8). It may be empty.
	Owner string

	// Limits asks for shares of limits together with the claim. A queue that is no Sharer
	// ignores it.
	Limits []LimitRequest
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

// Claimed is the result of a claim.
type Claimed struct {
	// Deliveries are leased to the caller, in the order of rule C3.
	Deliveries []Delivery

	// Unreadable are deliveries that were due but whose record could not be read. They are
	// leased, too, so that not every claim returns them. They count towards Max.
	Unreadable []Unreadable

	// Next is when a claim with the same options may find more (rule C8). If it is not
	// after the time of the claim, more is due already. If it is zero, no delivery waits.
	Next time.Time

	// Seen is passed to Wait, so that Wait misses nothing that happens after this claim.
	// It has no meaning if the queue is not a Waiter.
	Seen uint64

	// Limits answers ClaimOptions.Limits, in order. It is nil if the queue is no Sharer.
	Limits []LimitShare
}

// Delivery is the pending recipients of one message at one destination, leased to the
// claimer. The caller owns the value.
type Delivery struct {
	// Lease is the right to settle this delivery. It names the message and the
	// destination.
	Lease Lease

	// Message is the message as it was put, with ID and Arrived filled in. Recipients are
	// only the pending ones at this destination, in the order in which they were put.
	// Content is nil; Open returns it.
	Message Message

	// States has the state of each of Message.Recipients.
	States []State

	// Size is the number of bytes of the content.
	Size int64

	// Due is the time since which the delivery has been due. If the delivery had a
	// not-before time, Due is exactly that, unless the queue has a clock of its own (rule
	// X1).
	Due time.Time

	// Warned reports whether a settlement recorded that the sender was told about the
	// delay.
	Warned bool

	// Interrupted is set only for a message with AtMostOnce. The delivery was marked as
	// about to be sent, and its lease ended without a settlement, so it is not known
	// whether the content was sent.
	Interrupted bool
}

// State is the history of one recipient.
type State struct {
	// Index is the recipient's position among the recipients of the message as
	// it was put. Settlements name recipients by it.
	Index int

	// Attempts is the number of settlements that had a result for the recipient.
	Attempts int

	// Outcome, Reply and Tried are the last result and the time of its settlement. They
	// are zero before the first. The outcome is Deferred or Unknown, because a recipient
	// with any other outcome is no longer pending.
	Outcome Outcome
	Reply   Reply
	Tried   time.Time
}

// Lease is the right to settle one delivery, a message at a destination, until it ends
// or the delivery is claimed again.
type Lease struct {
	// Message is the message's id. Destination is the recipients' domain in canonical
	// form.
	Message, Destination string

	// Token is the fencing token. No two leases of a delivery have the same. It has no
	// meaning outside the queue that issued it.
	Token uint64

	// Until is when the lease ends, by the clock of the caller of Claim or Extend.
	Until time.Time
}

// Extended is the result of extending one lease.
type Extended struct {
	// Lease is the lease as it stands now.
	Lease Lease

	// Err is nil if the lease was extended. Otherwise it is ErrLeaseLost or the queue's
	// own error.
	Err error
}

// Unreadable is a delivery that was due and could not be read.
type Unreadable struct {
	Lease Lease
	// Err wraps ErrDamaged, or the error of the read.
	Err error
}
