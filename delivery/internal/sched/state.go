package sched

import "time"

// Scheduler is what an agent has claimed, what it knows of sites, and what it does
// next. It is not safe for concurrent use.
type Scheduler struct {
	settings   Settings
	configured time.Time // when they were last changed

	items  map[ID]*item
	places map[string]*place
	sites  map[string]*site
	groups map[string]*group
	known  siteList // all of them, the one used last at the end

	tenants    map[string]*tenant
	tenantList []*tenant              // all of them
	placeList  []*place               // all of them
	boards     [classes]heap[*tenant] // tenants with something that may begin
	served     uint64                 // counts beginnings and arrivals
	alarms     heap[*site]            // sites with a time to look at them again
	parties    []*party               // messages whose routes are waited for
	unrouted   []ID                   // to be routed, in order

	held      int // deliveries claimed and not settled
	heldSlow  int // of these, at sites that are not quick
	inFlight  int
	slow      int // attempts in flight that began at a site that was not quick
	trials    int
	nextTrial time.Time
	newest    []*site // sites of which nothing is known, as mail came for them
	turning   []*site // sites that have turned mail away

	handOn   handOn
	lastShip Ship
	ships    map[Ship]*shipment

	claims  claims
	trouble trouble
	stopped bool // the caller has no room for what an attempt makes
	drained bool

	parked int // destinations, of all sites

	back []Back
	lift []Lift

	spareItems []*item
	spareShips []*shipment
}

// item is a delivery that is held.
type item struct {
	Mail
	state  state
	own    bool
	rank   time.Time // since when it counts as due, with its priority
	place  *place
	tenant *tenant
	party  *party
	join   string
	to     string // the site, while gathering
	ship   *shipment
}

// state is how far a delivery has come.
type state uint8

const (
	unrouted  state = iota // waits for its route to be asked for
	routing                // its route is being asked for
	gathering              // waits for those of its message
	waiting                // waits at its site
	begun                  // is in an attempt
	moving                 // has left its site
	leaving                // is being settled
)

// place is a destination with deliveries that are held.
type place struct {
	name  string
	held  int   // not leaving
	site  *site // where the last one went; nil where there was none yet
	index int   // in Scheduler.placeList
}

// noRouteKey names what stands for a destination as long as nobody can say where
// its mail goes. No host is called so.
func noRouteKey(destination string) string { return "? " + destination }

// party is the deliveries of one message that were claimed together. They wait for
// each other's routes, for a moment, so that those which lead to one site go in one
// attempt.
type party struct {
	left  int // without a route yet
	until time.Time
	ready []*item
	done  bool
}

// shipment is deliveries of one message that go to one site together.
type shipment struct {
	n     Ship // zero while it waits
	site  *site
	lane  *lane
	items []*item
	rcpts int
	rank  time.Time
	first ID
	at    int // in its lane

	slow, trial bool // begun at a site that is not quick, as a trial
	unsent      bool // trouble of our own kept it from being made
	turns       int  // so many went before it in the same turn
}

// tenant is one of those whose mail is held.
type tenant struct {
	name     string
	held     int
	heldSlow int // of these, at sites that are not quick
	inFlight int
	served   uint64 // when it began something the last time, or came
	lanes    [classes]heap[*lane]
	at       [classes]int
	sites    int  // where it has a lane
	turned   int  // sites that have turned its mail away
	left     bool // out of the claim that is being made
	index    int  // in Scheduler.tenantList
}

// lane is the mail of one tenant at one site.
type lane struct {
	tenant   *tenant
	site     *site
	waiting  heap[*shipment]
	held     int // deliveries that wait or are in flight
	inFlight int
	served   uint64
	key      time.Time // since when it waits for its turn, with the priority of its first
	since    time.Time
	at       int // among the lanes of the tenant that may begin
	turnAt   int // among those at the site
}

// site is what is known of the hosts of a name, and the mail that waits for them.
type site struct {
	key        string
	prev, next *site // in the list of all, by when they were used last

	lanes     map[*tenant]*lane
	turn      heap[*lane]          // those with mail that waits, by whose turn it is
	byMessage map[string]*shipment // waiting, for others of the message to join
	waiting   int                  // shipments
	held      int                  // deliveries that wait or are in flight
	inFlight  int

	most           int     // attempts in flight, by the settings
	rate           float64 // a second, by the settings
	shared         bool    // others share these
	groups         []*group
	blocked, waits bool // in a group's list of those that would begin, that would be given mail

	window
	backoff
	grant    grant
	paced    time.Time // no attempt before: a rate, or a pace
	alarm    time.Time // when to look at it again
	alarmAt  int
	class    class
	known    bool          // an attempt has ended
	took     time.Duration // an attempt, on average
	last     time.Duration // the last one
	progress time.Time     // when an attempt ended, or began where none was in flight

	kept     map[string]*kept // destinations whose mail stays in the queue because of the site
	keptList []*kept
	parked   int       // of kept
	likely   time.Time // when the last of what it had no room for would have its turn
	turned   []*tenant // whose mail has been turned away, and waits in the queue
	turnedAt int       // in Scheduler.turning, absent where nobody's has been
	skipped  bool      // its destinations were left out of a claim
	refill   bool      // waits for a claim of its own
	vain     time.Time // no such claim before: nothing has come of the last one yet
	inNewest bool
}

// class is whether a site is quick. Sites of both kinds have their turns apart.
type class uint8

const (
	quick class = iota
	slow
	classes
)

// siteList is sites in order.
type siteList struct{ head, tail *site }

// group is sites that have limits in common.
type group struct {
	GroupLimits
	sites    int
	inFlight int
	paced    time.Time // no attempt before

	held    int // deliveries that wait or are in flight
	tenants map[*tenant]int

	skipped bool    // sites of it were left out of a claim
	blocked []*site // that would begin if the group had room
	parked  []*site // with parked destinations, to be given mail if the group had room
}

// kept is a destination whose mail is kept back in the queue for a site.
type kept struct {
	destination string
	at          int // in the site's list
	until       time.Time
	parked      bool // for this agent alone
	paused      bool // for all
	each        bool // each delivery by itself
}

// claims are what was claimed when, and what is to be.
type claims struct {
	under    claimKind // way
	site     *site     // refill
	names    []string
	sated    []*tenant // that are left out of it
	general  due
	others   due
	meantime [2]due    // what came up for either while the claim was under way
	hiding   bool      // a general claim has left out what only others' claims find
	search   bool      // a tenant has room for that now
	bySite   bool      // the next such claim leaves out sites
	second   bool      // the one under way does: what came up before is for the other kind
	last     claimKind // whose turn it was
	withheld bool      // a general claim has left out tenants that hold too much
	before   time.Time // no claim before
	trimmed  time.Time // the memory is not trimmed before
	refills  [classes][]*site
}

// claimKind is what a claim is for.
type claimKind uint8

const (
	noClaim claimKind = iota
	general           // everything but what is parked
	others            // what is parked for the sake of other tenants
	refill            // for one site
	kinds
)

// due is when a claim is due; never where nothing but an event brings one about.
type due struct {
	at    time.Time
	never bool
}

// sooner has a claim be due at a time, if it is not before.
func (d *due) sooner(at time.Time) {
	if d.never || at.Before(d.at) {
		d.at, d.never = at, false
	}
}

// again says that there may be something to claim.
func (c *claims) again(now time.Time) { c.expect(now, now) }

// expect says that something will be due.
func (c *claims) expect(now, at time.Time) {
	if at.IsZero() || at.Before(now) {
		at = now
	}
	c.general.sooner(at)
	c.others.sooner(at)
	for i := range c.meantime {
		c.meantime[i].sooner(at)
	}
}

// handOn is the turn of an attempt that has ended: what its site has next may have it.
type handOn struct {
	site  *site
	turns int
}

// trouble is our own trouble.
type trouble struct {
	cause     Cause
	since     time.Time
	pause     time.Duration
	at        time.Time // the next probe
	probeID   ID        // the delivery that is the probe while it finds its route
	probeShip Ship      // the attempt that is
	notices   []TroubleNotice
}
