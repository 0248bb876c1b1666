package sched

import "time"

// Scheduler keeps what an agent has claimed and what it knows about sites, and decides
// what the agent does next. It is not safe for concurrent use.
type Scheduler struct {
	settings   Settings
	configured time.Time // when settings last changed

	items  map[ID]*item
	places map[string]*place
	sites  map[string]*site
	groups map[string]*group
	known  siteList // all sites, the one used last at the end

	remember int // how many sites are known before some are forgotten

	tenants    map[string]*tenant
	tenantList []*tenant              // all tenants
	placeList  []*place               // all places
	boards     [classes]heap[*tenant] // tenants with mail that may begin
	served     uint64                 // the number of beginnings and arrivals so far
	alarms     heap[*site]            // sites to look at again at a certain time
	parties    []*party               // messages that wait for routes
	unrouted   []ID                   // deliveries whose routes are yet to be asked for, in order

	held      int // deliveries claimed and not settled
	heldSlow  int // of these, at sites that are not quick
	inFlight  int
	slow      int // attempts in flight that began at a site that was not quick
	trials    int
	nextTrial time.Time
	newest    []*site // untried sites, in the order in which mail came for them
	turning   []*site // sites that have turned mail away

	handOn   handOn
	lastShip Ship
	ships    map[Ship]*shipment

	claims  claims
	trouble trouble
	stopped bool // the caller has no room for what an attempt makes
	drained bool // the agent is stopping

	parked int // parked destinations of all sites

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
	rank   time.Time // when it counts as having become due, its priority included
	place  *place
	tenant *tenant
	party  *party
	join   string
	to     string // the name of its site, while gathering
	ship   *shipment
}

// state is how far a delivery has come.
type state uint8

const (
	unrouted  state = iota // its route is yet to be asked for
	routing                // its route is being asked for
	gathering              // it waits for the routes of other deliveries of its message
	waiting                // it waits at its site
	begun                  // it is in an attempt
	moving                 // it has left its site
	leaving                // it is being settled
)

// place is a destination with deliveries that are held.
type place struct {
	name  string
	held  int   // deliveries that are not leaving
	site  *site // where the last delivery went; nil if none has been routed yet
	index int   // in Scheduler.placeList
}

// noRouteKey returns the name of the site that stands for a destination without a
// route. No host has such a name.
func noRouteKey(destination string) string { return "? " + destination }

// party is the deliveries of one message that were claimed together. They wait a moment
// for each other's routes, so that those for one site go in one attempt.
type party struct {
	left  int // deliveries without a route yet
	until time.Time
	ready []*item
	done  bool
}

// shipment is deliveries of one message that go to one site together.
type shipment struct {
	n     Ship // zero while the shipment waits
	site  *site
	lane  *lane
	items []*item
	rcpts int
	rank  time.Time
	first ID
	at    int // its place in its lane

	slow, trial bool // it began at a site that was not quick, as a trial
	unsent      bool // trouble of our own prevented it
	turns       int  // how many shipments went before it in the same turn
}

// tenant is a tenant with mail that is held or was turned away.
type tenant struct {
	name     string
	held     int
	heldSlow int // of these, at sites that are not quick
	inFlight int
	served   uint64 // when it last began an attempt, or came
	lanes    [classes]heap[*lane]
	at       [classes]int
	sites    int  // sites at which it has a lane
	turned   int  // sites that have turned its mail away
	left     bool // it is left out of the claim that is being made
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
	key      time.Time // since, earlier by the priority of its first shipment
	since    time.Time // when it began to wait for its turn
	at       int       // its place among the tenant's lanes that may begin
	turnAt   int       // its place among the site's lanes with mail that waits
}

// site holds what is known about the hosts of a site, and the mail that waits for them.
type site struct {
	key        string
	prev, next *site // neighbours in Scheduler.known

	lanes     map[*tenant]*lane
	turn      heap[*lane]          // lanes with mail that waits, by whose turn it is
	byMessage map[string]*shipment // shipments that wait and that others of the message may join
	waiting   int                  // shipments that wait
	held      int                  // deliveries that wait or are in flight
	inFlight  int

	most           int     // the limit of attempts in flight, by the settings
	rate           float64 // the limit of attempts a second, by the settings
	shared         bool    // other agents share these limits
	groups         []*group
	blocked, waits bool // it is in a group's list blocked, or parked

	window
	backoff
	grant    grant
	paced    time.Time // no attempt begins before, by its pace or the rate found for it
	began    time.Time // when the last attempt began; zero if its rate counts anew
	alarm    time.Time // when to look at it again
	alarmAt  int
	class    class
	known    bool          // an attempt has ended
	took     time.Duration // how long an attempt takes on average
	last     time.Duration // how long the last attempt took
	progress time.Time     // when an attempt last ended, or began while no other was in flight

	kept     map[string]*kept // destinations whose mail stays in the queue because of the site
	keptList []*kept
	parked   int       // how many of kept are parked
	likely   time.Time // when the last delivery that it had no room for is expected to have its turn
	turned   []*tenant // tenants whose mail it has turned away, and waits in the queue
	turnedAt int       // its place in Scheduler.turning, or absent
	skipped  bool      // its destinations were left out of a claim
	refill   bool      // it waits for a claim of its own, or the answer to one
	vain     time.Time // no such claim before, since the last one has brought no mail yet
	inNewest bool      // it is in Scheduler.newest
}

// class says whether a site is quick. Turns among quick sites are separate from those
// among others.
type class uint8

const (
	quick class = iota
	slow
	classes
)

// siteList is a linked list of sites.
type siteList struct{ head, tail *site }

// group is sites that have limits in common.
type group struct {
	GroupLimits
	sites    int
	inFlight int
	began    time.Time // when the last attempt began; zero if the rate counts anew

	held    int             // deliveries that wait or are in flight
	tenants map[*tenant]int // how many of these each tenant has

	skipped bool    // destinations of its sites were left out of a claim
	blocked []*site // sites that would begin an attempt if the group had room
	parked  []*site // sites with parked destinations that would get mail if the group had room
}

// kept is a destination whose mail is kept back in the queue for a site.
type kept struct {
	destination string
	at          int // its place in the site's keptList
	until       time.Time
	parked      bool // this agent alone leaves its mail in the queue
	paused      bool // all agents do
	each        bool // each of its deliveries waits by itself
}

// claims keeps which claim is in progress and which are due.
type claims struct {
	under    claimKind // the claim in progress
	site     *site     // if that is a refill, its site
	names    []string  // the destinations it names
	sated    []*tenant // the tenants it leaves out
	general  due
	others   due
	meantime [2]due    // claims of the two kinds that came due while one was in progress
	hiding   bool      // a general claim has left out mail that only a claim for others finds
	search   bool      // a tenant may have room for such mail now
	bySite   bool      // the next claim for others leaves out destinations instead of tenants
	second   bool      // the one in progress does, so that mail that came before it is for the next
	last     claimKind // the kind that had its turn last
	withheld bool      // a general claim has left out tenants that hold too much
	before   time.Time // no claim is made before
	trimmed  time.Time // the memory is not trimmed before
	refills  [classes][]*site
}

// claimKind is the purpose of a claim.
type claimKind uint8

const (
	noClaim claimKind = iota
	general           // for all mail that is not parked
	others            // for all mail, parked or not, of tenants that hold little
	refill            // for one site
	kinds
)

// due is when a claim is due. If never is set, only an event makes it due.
type due struct {
	at    time.Time
	never bool
}

// sooner makes a claim due at a time, unless it is due earlier.
func (d *due) sooner(at time.Time) {
	if d.never || at.Before(d.at) {
		d.at, d.never = at, false
	}
}

// again notes that there may be something to claim now.
func (c *claims) again(now time.Time) { c.expect(now, now) }

// expect notes that there may be something to claim at a time.
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

// handOn is the turn of an attempt that has ended. The next mail of its site may take it.
type handOn struct {
	site  *site
	turns int
}

// trouble is our own trouble.
type trouble struct {
	cause     Cause
	since     time.Time
	pause     time.Duration
	at        time.Time // when the next probe begins
	probeID   ID        // the delivery that is the probe while its route is asked for
	probeShip Ship      // the attempt that is the probe
	notices   []TroubleNotice
}
