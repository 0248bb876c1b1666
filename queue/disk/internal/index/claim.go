package index

import (
	"math"
	"time"
)

// Bounds are what a claim may take, as queue.ClaimOptions has them.
type Bounds struct {
	Max                       int
	Destinations, Except      []string
	ExceptTenants             []string
	PerDestination, PerTenant int
	Owner                     string
}

// Claim picks deliveries that are due, in order, and calls take with each,
// which must lease it. It reports when there may be more: at once, at a time that may
// be too early, or, where ok is false, never as things stand.
func (x *Index) Claim(now time.Time, b Bounds, take func(Slot)) (next time.Time, ok bool) {
	c := x.NewClaim(now, b)
	c.Some(math.MaxInt, take)
	return c.Next()
}

// Advance sets the time: it ends leases and postponements that are over and moves what
// has become due, up to the given number, and reports whether there may be more.
func (x *Index) Advance(now time.Time, most int) (more bool) {
	x.now = Micros(now)
	for ; most > 0; most-- {
		switch {
		case x.replaceNext(), x.expire(now), x.unpark():
		case x.later.list.n > 0 && x.later.at(0).at <= x.now:
			x.place(x.later.at(0))
		default:
			return false
		}
	}
	return true
}

// Claim is one claim in progress. It is made in pieces, between which anything else may
// happen except another claim. Mail that arrives or leaves meanwhile may be included or
// not.
type Claim struct {
	x             *Index
	b             Bounds
	now           time.Time
	left          int // the remaining work of this piece
	stage         func(*Claim)
	pinned        bool
	patience      int // how much of what has become due it handles before it goes on
	picked        int
	bounded       bool
	named         int             // of the names in the bounds, how many have been looked up
	only          map[uint32]bool // destinations; nil is all
	order         []uint32        // the order of only
	walk          laneWalk        // over their lanes
	lanes         localHeap       // those with something due
	except        names
	exceptTenants names
	byDestination counter
	byTenant      counter
	aside         paged[*lane]
	tenantsAside  paged[tenantAside]
	bit           owners // of who claims
	take          func(Slot)
	wake          int64 // the first at which one of those lanes is due
	leased        bool  // one of their destinations has leases
	next          time.Time
	more          bool // next says when
}

// tenantAside is a tenant that one of the heaps steps over.
type tenantAside struct {
	due    *dueHeap
	tenant *tenantHeap
}

// NewClaim begins a claim. The caller then calls Some until there is no more.
func (x *Index) NewClaim(now time.Time, b Bounds) *Claim {
	c := &Claim{x: x, b: b, now: now, stage: (*Claim).lookUp, wake: math.MaxInt64}
	c.patience = 2 * (x.lanes.n + x.byEnd.list.n)
	c.byDestination.most, c.byTenant.most = b.PerDestination, b.PerTenant
	if len(b.Destinations) > 0 {
		c.only = map[uint32]bool{}
	}
	return c
}

// Some goes on with a claim for about so many deliveries, lanes and names, and reports
// whether there is more to do.
func (c *Claim) Some(most int, take func(Slot)) (more bool) {
	x := c.x
	if x.Advance(c.now, most) {
		if c.patience -= most; c.patience > 0 {
			return true
		}
		c.bounded = true // others give it more to do than it can do: there is more than it finds
	}
	c.left, c.take = most, take
	c.bit = x.parking.bit(c.b.Owner)
	for c.stage != nil {
		if c.left <= 0 {
			c.pause()
			return true
		}
		c.stage(c)
	}
	if c.pinned {
		x.paused = nil
		x.Unpin()
	}
	return false
}

// pause keeps the numbers that the claim knows from being given to others.
func (c *Claim) pause() {
	if !c.pinned {
		c.pinned = true
		c.x.paused = c
		c.x.Pin()
	}
}

// Next is when there may be more, once all is done.
func (c *Claim) Next() (at time.Time, ok bool) { return c.next, c.more }

// lookUp finds the numbers of the names in the bounds.
func (c *Claim) lookUp() {
	x, b := c.x, &c.b
	for ; c.left > 0; c.left-- {
		x.work++
		i := c.named
		c.named++
		switch {
		case i < len(b.Except):
			c.except.add(x.names, b.Except[i])
			continue
		case i-len(b.Except) < len(b.ExceptTenants):
			c.exceptTenants.add(x.tenants, b.ExceptTenants[i-len(b.Except)])
			continue
		}
		if i -= len(b.Except) + len(b.ExceptTenants); i == len(b.Destinations) {
			c.stage = (*Claim).collect
			return
		}
		if n, known := x.names[b.Destinations[i]]; known && !c.only[n] && !c.except.numbers[n] {
			c.only[n] = true
			c.order = append(c.order, n)
		}
	}
}

// names are the destinations or tenants that a claim leaves out, by number. Names
// without a number get one if they come while the claim is in progress.
type names struct {
	numbers map[uint32]bool
	unknown map[string]bool
}

func (s *names) add(known map[string]uint32, name string) {
	if n, ok := known[name]; ok {
		put(&s.numbers, n)
		return
	}
	put(&s.unknown, name)
}

// came is for when a name has got a number.
func (s *names) came(name string, n uint32) {
	if s.unknown[name] {
		put(&s.numbers, n)
	}
}

func put[K comparable](set *map[K]bool, k K) {
	if *set == nil {
		*set = map[K]bool{}
	}
	(*set)[k] = true
}

// collect finds the lanes of some destinations with something due.
func (c *Claim) collect() {
	c.walk.over(c, func(l *lane) {
		if c.isDue(l) && !c.exceptTenants.numbers[l.key.tenant] {
			c.lanes.push(c.x, local{lane: l})
		}
	}, func(d *destination) {
		if l := d.own.due.first(); l != nil {
			c.lanes.push(c.x, local{own: d.own, lane: l})
		}
	}, (*Claim).pick)
}

// pick takes due deliveries.
func (c *Claim) pick() {
	x := c.x
	for ; c.left > 0; c.left-- {
		l := c.best()
		if l == nil {
			if c.left > 0 {
				c.stage = (*Claim).end
			}
			return
		}
		s := l.pile.first()
		if lease := x.leases[s]; lease != nil && lease.until.After(c.now) {
			x.take(l, s) // the clock went back behind the lease's end
			x.byEnd.put(lease)
			continue
		}
		if c.stepOver(l) {
			c.bounded = true
			continue
		}
		if c.picked == c.b.Max {
			c.bounded = true
			c.stage = (*Claim).end
			return
		}
		c.take(s)
		c.picked++
		c.byDestination.add(l.key.destination)
		c.byTenant.add(l.key.tenant)
	}
}

func (c *Claim) isDue(l *lane) bool { return l.pile.n > 0 && c.x.wake(l) <= c.x.now }

// best returns the lane whose first delivery comes next in order, or nil if none is due
// or there was too much to step over.
func (c *Claim) best() *lane {
	x := c.x
	if c.only != nil {
		return c.lanes.best(c)
	}
	for ; c.left > 0; c.left-- {
		x.work++
		l := c.first()
		switch {
		case l == nil:
			return nil
		case c.exceptTenants.numbers[l.key.tenant]:
			c.tenantsAside.push(tenantAside{l.due, l.due.setAside(x, l)})
		case c.except.numbers[l.key.destination]:
			c.setAside(l)
		case x.wake(l) > x.now:
			x.place(l) // the clock went back
		default:
			return l
		}
	}
	return nil
}

// first is the first lane of all heaps that the claim's owner is to see.
func (c *Claim) first() *lane {
	var first *lane
	for by, d := range c.x.due {
		if by&c.bit != 0 {
			continue
		}
		if l := d.first(); l != nil && (first == nil || before(c.x, l, first)) {
			first = l
		}
	}
	return first
}

// stepOver leaves out the best lane, and with it its tenant, if a bound says so.
func (c *Claim) stepOver(l *lane) bool {
	tenant := c.byTenant.full(l.key.tenant)
	if !tenant && !c.byDestination.full(l.key.destination) {
		return false
	}
	switch {
	case c.only != nil && tenant && c.lanes.list.at(0).own != nil:
		o := c.lanes.list.at(0).own
		c.tenantsAside.push(tenantAside{&o.due, o.due.setAside(c.x, l)})
	case c.only != nil:
		c.lanes.drop()
	case tenant:
		c.tenantsAside.push(tenantAside{l.due, l.due.setAside(c.x, l)})
	default:
		c.setAside(l)
	}
	return true
}

func (c *Claim) setAside(l *lane) {
	c.x.unplace(l)
	c.aside.push(l)
}

// counter counts how many a claim has taken, by destination or tenant. Without a bound
// it counts nothing.
type counter struct {
	most int // of each; 0 means no bound
	of   map[uint32]int
}

func (c *counter) full(n uint32) bool { return c.most > 0 && c.of[n] >= c.most }

func (c *counter) add(n uint32) {
	if c.most <= 0 {
		return
	}
	if c.of == nil {
		c.of = map[uint32]int{}
	}
	c.of[n]++
}

// end puts back the lanes that were set aside.
func (c *Claim) end() {
	for ; c.left > 0; c.left-- {
		switch {
		case c.aside.n > 0:
			c.x.place(c.aside.pop())
		case c.tenantsAside.n > 0:
			t := c.tenantsAside.pop()
			t.due.putBack(c.x, t.tenant)
		case c.bounded:
			c.next, c.more, c.stage = c.now, true, nil
			return
		default:
			c.walk, c.stage = laneWalk{}, (*Claim).soonest
			return
		}
	}
}

// Work is how many deliveries, destinations, lanes and the like have been looked at or
// changed so far.
func (x *Index) Work() int { return x.work }
