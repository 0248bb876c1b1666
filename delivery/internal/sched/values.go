package sched

import "time"

// ID is the number of a delivery. The caller gives each delivery that it claims a
// number that is not zero and not in use.
type ID uint64

// Mail describes a delivery to a Scheduler.
type Mail struct {
	ID                           ID
	Message, Destination, Tenant string
	Priority, Recipients         int
	Due                          time.Time // since when it has been due

	// Deadline is when the delivery must be looked at even if it cannot be sent. If
	// zero, there is no such time.
	Deadline time.Time
}

// Route is where a delivery goes.
type Route struct {
	// Site is the name of the hosts.
	Site string

	// Join is the same for deliveries of one message that may share an attempt at
	// the site. If empty, the delivery shares an attempt with no other.
	Join string

	// Own is set if other mail for the destination may have another route.
	Own bool
}

// Ship is the number of a shipment: deliveries of one message that share an attempt.
type Ship uint64

// Kind is the kind of thing that an attempt tells about its site. A later kind
// outweighs an earlier one.
type Kind uint8

// The kinds of lesson.
const (
	Nothing      Kind = iota // the result was about the message, or about us
	Ours                     // our own trouble kept the attempt from being made
	Remembered               // no host was asked, since all had failed a moment ago
	Unreachable              // no host could be asked
	LoginRefused             // the hosts refuse our login
	Later                    // recipients or the message were deferred
	Busy                     // a host takes no mail just now
	Works                    // a host took or refused something
)

// Lesson is what an attempt tells about its site.
type Lesson struct {
	Kind  Kind
	Began time.Time

	// Wait is how long to leave the site alone: if Unreachable, what the schedule says;
	// if Remembered, how long its hosts are still remembered as failed.
	Wait time.Duration

	// Said is the text of the failure. It is handed back with mail that goes back
	// because of it.
	Said string

	// Cause is the kind of trouble if Kind is Ours.
	Cause Cause

	// Deferred is the part of the recipients, from 0 to 1, that was deferred for what
	// may be the rate at which mail comes. Deferrals that name a mailbox as the reason
	// do not count.
	Deferred float64

	// Again says that the site had no room for the shipment. It waits at the site as
	// before, and the attempt does not count.
	Again bool
}

// Cause is a kind of trouble of our own.
type Cause uint8

// The causes.
const (
	NoTrouble    Cause = iota
	DNSFails           // no DNS server answers
	NetworkFails       // no route to any network
	MachineFails       // no descriptors, ports or memory for a connection
	QueueFails         // the queue hands nothing out
	StoreFails         // the queue stores nothing; the caller says when it stores again
)

// Output says what the caller is to do.
type Output struct {
	// Route lists the deliveries whose routes the caller is to find.
	Route []ID

	// Begin lists the attempts to make.
	Begin []Begin

	// Back lists the deliveries to settle as going back to the queue.
	Back []Back

	// Lift lists the destinations that the queue is no longer to keep back.
	Lift []Lift

	// Claim says what to claim now, if ToClaim is set.
	Claim   Claim
	ToClaim bool

	// Wake is when to call Decide again if nothing else happens. If zero, there is no
	// need to.
	Wake time.Time

	// Trouble lists what to tell the operator about our own trouble.
	Trouble []TroubleNotice

	ids []ID
}

// Begin is one attempt.
type Begin struct {
	Ship Ship
	Site string
	Mail []ID // valid until the next Decide with the same Output
}

// Claim says what to claim from the queue.
type Claim struct {
	Max, PerDestination, PerTenant int

	// If Destinations is not empty, only mail for these is claimed, including what this
	// agent has parked. Others claims mail for all destinations, including what this
	// agent has parked. Otherwise claims pass over parked mail.
	Destinations []string
	Others       bool

	// Except lists destinations to leave out, ExceptTenants tenants.
	Except, ExceptTenants []string
}

// Why is the reason for which a delivery goes back.
type Why uint8

// The reasons.
const (
	Parked   Why = iota // there is no room for it
	Down                // no host of its site could be asked
	Refused             // the hosts of its site refuse the login
	NoRoute             // its destination has no route for now
	Draining            // the agent is stopping
)

// Back is a delivery that goes back to the queue.
type Back struct {
	ID     ID
	Why    Why
	Whole  bool      // all mail of its destination waits, not this delivery alone
	Until  time.Time // the end of the wait; zero if Draining
	Likely time.Time // if Parked: when its turn is expected, for queues in which only single deliveries can wait
	Said   string    // the text of the site's last failure
}

// Lift is a destination that the queue is no longer to keep back.
type Lift struct {
	Destination string
	Parked      bool // it was kept back for this agent alone
	Each        bool // each of its deliveries waits by itself
}

// Notice is something to tell the operator about a site.
type Notice uint8

// The notices.
const (
	NoNotice  Notice = iota
	LoginOut         // the site refused the login for the first time; Until says when it is tried again
	LoginBack        // a site that refused the login works again
)

// TroubleNotice tells the operator that trouble of our own has begun or is over.
type TroubleNotice struct {
	Cause Cause
	Over  bool
	Since time.Time
}
