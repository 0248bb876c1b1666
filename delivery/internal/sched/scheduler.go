package sched

import "time"

// Settings are what a Scheduler goes by.
type Settings struct {
	// Connections is how many attempts may be in flight in all, and PerSite at one
	// site.
	Connections, PerSite int

	// Rate is how many attempts a second begin at one site; zero is no limit.
	Rate float64

	// Site answers with what holds at the site of a name; nil is PerSite and Rate for
	// all. The same name gets the same answer until Configure.
	Site func(name string) SiteLimits

	// Ahead is how many deliveries may be held.
	Ahead int

	// PriorityStep is what a step of priority counts.
	PriorityStep time.Duration
}

// SiteLimits are the limits of one site, and the groups whose limits it shares.
type SiteLimits struct {
	PerSite int
	Rate    float64
	Groups  []GroupLimits
}

// GroupLimits are the limits that the sites of a group have in common; zero is none.
type GroupLimits struct {
	Name        string
	Connections int
	Rate        float64
}

// site is what holds at a site.
func (s *Settings) site(name string) SiteLimits {
	if s.Site == nil {
		return SiteLimits{PerSite: s.PerSite, Rate: s.Rate}
	}
	return s.Site(name)
}

// Scheduler is what an agent has claimed, what it knows of sites, and what it does
// next. It is not safe for concurrent use.
type Scheduler struct {
	settings Settings

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

// New returns a Scheduler that knows nothing yet.
func New(settings Settings) *Scheduler {
	s := &Scheduler{
		settings: settings,
		items:    make(map[ID]*item), places: make(map[string]*place), sites: make(map[string]*site),
		groups:  make(map[string]*group),
		tenants: make(map[string]*tenant), ships: make(map[Ship]*shipment),
	}
	for c := range s.boards {
		s.boards[c] = heap[*tenant]{less: tenantBefore, at: func(u *tenant) *int { return &u.at[c] }}
	}
	s.alarms = heap[*site]{
		less: func(a, b *site) bool { return a.alarm.Before(b.alarm) }, at: func(t *site) *int { return &t.alarmAt },
	}
	return s
}

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

// Decide fills in what is to be done now. What was in out before is overwritten.
func (s *Scheduler) Decide(now time.Time, out *Output) {
	out.Route, out.Begin, out.ids = out.Route[:0], out.Begin[:0], out.ids[:0]
	out.Trouble = append(out.Trouble[:0], s.trouble.notices...)
	s.trouble.notices = s.trouble.notices[:0]
	s.timePasses(now)
	s.trim(now)
	if s.troubled() {
		s.probe(now, out)
	} else {
		out.Route = append(out.Route, s.unrouted...)
		for _, id := range s.unrouted {
			s.items[id].state = routing
		}
		s.unrouted = s.unrouted[:0]
		s.beginAll(now, out)
	}
	s.handOn = handOn{}
	out.Claim, out.ToClaim = s.claim(now)
	out.Back = append(out.Back[:0], s.back...)
	out.Lift = append(out.Lift[:0], s.lift...)
	s.back, s.lift = s.back[:0], s.lift[:0]
	out.Wake = s.wake(now)
}

// timePasses does what was to be done until now.
func (s *Scheduler) timePasses(now time.Time) {
	for len(s.parties) > 0 && (s.parties[0].left == 0 || !s.parties[0].until.After(now)) {
		g := s.parties[0]
		s.parties[0] = nil
		s.parties = s.parties[1:]
		s.release(now, g)
	}
	for {
		t, ok := s.alarms.first()
		if !ok || t.alarm.After(now) {
			return
		}
		s.alarms.remove(t)
		s.touch(now, t)
		s.wantRefill(now, t)
	}
}

// alarmFor has a site looked at again at a time.
func (s *Scheduler) alarmFor(t *site, at time.Time) {
	switch {
	case t.alarmAt == absent:
		t.alarm = at
		s.alarms.add(t)
	case at.Before(t.alarm):
		t.alarm = at
		s.alarms.fix(t)
	}
}

// wake is when something is to be done that nothing else brings about.
func (s *Scheduler) wake(now time.Time) (at time.Time) {
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if t, ok := s.alarms.first(); ok && !s.drained {
		sooner(t.alarm)
	}
	if len(s.parties) > 0 {
		sooner(s.parties[0].until)
	}
	if s.troubled() {
		if s.probes() && s.trouble.probeID == 0 && s.trouble.probeShip == 0 && !s.drained && (len(s.unrouted) > 0 || s.anyReady()) {
			sooner(s.trouble.at)
		}
	} else if s.trialWaits(now) {
		sooner(s.nextTrial)
	}
	if t, ok := s.claimAt(now); ok {
		sooner(t)
	}
	return at
}

// Configure changes the settings. What is in flight goes on; sites that were
// limited by the old ones may grow at once, and those that refuse the login are
// tried.
func (s *Scheduler) Configure(now time.Time, settings Settings) {
	s.settings = settings
	for _, g := range s.groups {
		g.paced = time.Time{}
	}
	for t := s.known.head; t != nil; t = t.next {
		s.limit(t)
		if t.refused {
			s.absolve(now, t)
		}
		t.size = min(t.size, float64(t.most))
		t.threshold = max(t.threshold, float64(t.most))
		t.ceiling = 0
		t.paced = time.Time{}
		s.touch(now, t)
	}
	s.MailCame(now)
}

// Stop says whether there is room for what attempts make: while there is none,
// nothing begins and nothing is claimed.
func (s *Scheduler) Stop(now time.Time, stop bool) {
	if s.stopped && !stop {
		s.claims.again(now)
	}
	s.stopped = stop
}

// Drain gives back all that has not begun. Nothing begins from here on, and nothing
// is claimed.
func (s *Scheduler) Drain(now time.Time) {
	s.drained = true
	for _, g := range s.parties {
		s.release(now, g)
	}
	s.parties = nil
	list := s.unrouted
	s.unrouted = nil
	for _, id := range list {
		s.giveBack(now, s.items[id], Back{Why: Draining})
	}
	for t := s.known.head; t != nil; t = t.next {
		for _, m := range s.empty(t) {
			s.giveBack(now, m, Back{Why: Draining})
		}
	}
}

// Stats is what there is.
type Stats struct {
	InFlight, Held       int
	Sites, Down, Refused int
	Trouble              Cause // zero where there is none
	Since                time.Time
}

// Stats says what there is.
func (s *Scheduler) Stats(now time.Time) Stats {
	n := Stats{InFlight: s.inFlight, Held: s.held, Trouble: s.trouble.cause, Since: s.trouble.since}
	for t := s.known.head; t != nil; t = t.next {
		n.Sites++
		switch {
		case t.refused:
			n.Refused++
		case t.closed(now):
			n.Down++
		}
	}
	return n
}
