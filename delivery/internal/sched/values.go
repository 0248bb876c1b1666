package sched

import "time"

// ID is a delivery's number. The caller gives each that it claims one of its own,
// which is not zero.
type ID uint64

// Mail is what a Scheduler knows of a delivery.
type Mail struct {
	ID                           ID
	Message, Destination, Tenant string
	Priority, Recipients         int
	Due                          time.Time // since when it has been due

	// Deadline is when it must be looked at even if it cannot be sent; zero is never.
	Deadline time.Time
}

// Route is where a delivery goes.
type Route struct {
	// Site is the name of the hosts.
	Site string

	// Join is the same for deliveries of one message that may share an attempt at
	// the site; empty is shared with no other.
	Join string

	// Own is set where other mail for the destination may have another route.
	Own bool
}

// Ship is a shipment's number: deliveries of one message that are in one attempt.
type Ship uint64

// Kind is what an attempt tells of the site it was made at, from the least to the
// one that outweighs the others.
type Kind uint8

// The kinds of lesson.
const (
	Nothing      Kind = iota // it was about the message, or about us
	Ours                     // our own trouble kept the attempt from being made
	Remembered               // every host had failed a moment ago and none was asked
	Unreachable              // no host could be asked
	LoginRefused             // the hosts do not take our login
	Later                    // recipients or the message were deferred
	Busy                     // a host takes no mail just now
	Works                    // a host took or refused something
)

// Lesson is what an attempt has taught.
type Lesson struct {
	Kind  Kind
	Began time.Time

	// Wait is for how long to leave the site alone, by the schedule, where
	// Unreachable, or until its hosts are no longer remembered for a failure.
	Wait time.Duration

	// Said is what was said, to be handed back with what goes back for it.
	Said string

	// Cause is what the trouble is, where Ours.
	Cause Cause

	// Deferred is which part of the recipients was deferred for what may be the rate at
	// which mail comes: not where it was said to be about a mailbox.
	Deferred float64

	// Again says that the site had no room for what was offered, which waits there as
	// before and is charged nothing.
	Again bool
}

// Cause is what our own trouble is. Zero is none.
type Cause uint8

// The causes.
const (
	NoTrouble    Cause = iota
	DNSFails           // no DNS server answers
	NetworkFails       // no route to any network
	MachineFails       // no descriptors, ports or memory for a connection
	QueueFails         // the queue hands nothing out
	StoreFails         // the queue stores nothing; the caller finds out when it does again
)

// Output is what is to be done.
type Output struct {
	// Route are deliveries whose routes are to be asked for.
	Route []ID

	// Begin are attempts to be made.
	Begin []Begin

	// Back are deliveries that go back to the queue, to be settled.
	Back []Back

	// Lift are destinations that are no longer to be kept back in the queue.
	Lift []Lift

	// Claim is what to claim now, if ToClaim.
	Claim   Claim
	ToClaim bool

	// Wake is when to call Decide again, if nothing happens before; zero is never.
	Wake time.Time

	// Trouble is what there is to tell about our own trouble.
	Trouble []TroubleNotice

	ids []ID
}

// Begin is one attempt.
type Begin struct {
	Ship Ship
	Site string
	Mail []ID // good until the next Decide with the same Output
}

// Claim is what to claim from the queue.
type Claim struct {
	Max, PerDestination, PerTenant int

	// Destinations are all that is wanted, if there are any, whether or not this
	// agent has parked them. Others says the same of all destinations. Else what is
	// parked is passed over.
	Destinations []string
	Others       bool

	// Except are destinations to be left out, and ExceptTenants tenants.
	Except, ExceptTenants []string
}

// Why is why a delivery goes back.
type Why uint8

// The reasons.
const (
	Parked   Why = iota // there is no room for it
	Down                // no host of its site could be asked
	Refused             // the hosts of its site refuse the login
	NoRoute             // nobody can say where it goes
	Draining            // the agent ends
)

// Back is a delivery that goes back to the queue.
type Back struct {
	ID     ID
	Why    Why
	Whole  bool      // its destination's other mail is to wait there, too
	Until  time.Time // so long; zero where Draining
	Likely time.Time // Parked: when its turn would be, where it can wait by itself alone
	Said   string    // what the site has taught, the last time
}

// Lift is a destination that is no longer to be kept back.
type Lift struct {
	Destination string
	Parked      bool // for this agent alone
	Each        bool // each delivery waits by itself
}

// Notice is what the operator is to be told of a site.
type Notice uint8

// The notices.
const (
	NoNotice  Notice = iota
	LoginOut         // the login was refused for the first time; Until says how long for
	LoginBack        // a site that refused the login works again
)

// TroubleNotice is what there is to tell about our own trouble.
type TroubleNotice struct {
	Cause Cause
	Over  bool
	Since time.Time
}
