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
// which must lease it. It reports when there may be more: at once, at a time,
// or, where ok is false, never as things stand.
func (x *Index) Claim(now time.Time, b Bounds, take func(Slot)) (next time.Time, ok bool) {
	for x.Advance(now, math.MaxInt) {
	}
	c := x.begin(now, b)
	bounded := false
	for picked := 0; ; {
		x.steps++
		l := c.best()
		if l == nil {
			break
		}
		s := l.pile.first()
		if lease := x.leases[s]; lease != nil && lease.until.After(now) {
			x.take(l, s) // the clock went back behind the lease's end
			x.byEnd.put(lease)
			c.moved(l)
			continue
		}
		if c.stepOver(l) {
			bounded = true
			continue
		}
		if picked == b.Max {
			bounded = true
			break
		}
		take(s)
		c.moved(l)
		picked++
		if c.byDestination != nil {
			c.byDestination[l.key.destination]++
		}
		if c.byTenant != nil {
			c.byTenant[l.key.tenant]++
		}
	}
	c.end()
	if bounded {
		return now, true
	}
	return c.next()
}

// Advance notes that this is the time: it ends leases and postponements that are over
// and finds what has become due, so many of them, and reports whether there may be
// more. A claim does the same; who calls Advance before decides how much at a time.
func (x *Index) Advance(now time.Time, most int) (more bool) {
	x.now = Micros(now)
	for ; most > 0; most-- {
		switch {
		case x.expire(now), x.unpark():
		case len(x.later.list) > 0 && x.wake(x.later.list[0]) <= x.now:
			x.place(x.later.list[0])
		default:
			return false
		}
	}
	return true
}

// claim is one claim in progress.
type claim struct {
	x             *Index
	b             Bounds
	now           time.Time
	only          map[uint32]bool // destinations; nil is all
	lanes         []*lane         // a heap of their lanes with something due
	except        map[uint32]bool
	exceptTenants map[uint32]bool
	byDestination map[uint32]int // nil where there is no bound
	byTenant      map[uint32]int
	aside         []*lane
	tenantsAside  []tenantAside
	bit           owners // of who claims
}

// tenantAside is a tenant that one of the heaps steps over.
type tenantAside struct {
	due    *dueHeap
	tenant *tenantHeap
}

func (x *Index) begin(now time.Time, b Bounds) *claim {
	c := &claim{x: x, b: b, now: now, bit: x.parking.bit(b.Owner)}
	if b.PerDestination > 0 {
		c.byDestination = map[uint32]int{}
	}
	if b.PerTenant > 0 {
		c.byTenant = map[uint32]int{}
	}
	c.except = x.numbers(b.Except)
	c.exceptTenants = numbersOf(x.tenants, b.ExceptTenants)
	if c.only = x.numbers(b.Destinations); c.only == nil {
		return c
	}
	for d := range c.only {
		if c.except[d] {
			delete(c.only, d)
			continue
		}
		if x.destinations[d].parkedBy&c.bit != 0 {
			continue
		}
		for n := x.destinations[d].lanes; n != none; n = x.lanes[n].next {
			x.steps++
			if l := x.lanes[n]; c.isDue(l) && !c.exceptTenants[l.key.tenant] {
				c.lanes = append(c.lanes, l)
			}
		}
	}
	for i := len(c.lanes)/2 - 1; i >= 0; i-- {
		c.down(i)
	}
	return c
}

// numbers are those of the destinations that are known, nil where there is no
// name.
func (x *Index) numbers(names []string) map[uint32]bool { return numbersOf(x.names, names) }

func numbersOf(known map[string]uint32, names []string) map[uint32]bool {
	if len(names) == 0 {
		return nil
	}
	set := make(map[uint32]bool, len(names))
	for _, name := range names {
		if n, ok := known[name]; ok {
			set[n] = true
		}
	}
	return set
}

func (c *claim) isDue(l *lane) bool { return l.pile.n > 0 && c.x.wake(l) <= c.x.now }

// best is the lane whose first delivery comes next in order, nil if none is due.
func (c *claim) best() *lane {
	x := c.x
	if c.only != nil {
		if len(c.lanes) == 0 {
			return nil
		}
		return c.lanes[0]
	}
	for l := c.first(); l != nil; l = c.first() {
		switch {
		case c.exceptTenants[l.key.tenant]:
			c.tenantsAside = append(c.tenantsAside, tenantAside{l.due, l.due.setAside(x, l)})
		case c.except[l.key.destination]:
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
func (c *claim) first() *lane {
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

// moved restores the order after the best lane's first has been taken.
func (c *claim) moved(l *lane) {
	if c.only == nil {
		return
	}
	if !c.isDue(l) {
		c.drop()
	} else {
		c.down(0)
	}
}

// drop takes the best of the lanes of some destinations out.
func (c *claim) drop() {
	last := len(c.lanes) - 1
	c.lanes[0] = c.lanes[last]
	c.lanes[last] = nil
	c.lanes = c.lanes[:last]
	c.down(0)
}

func (c *claim) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(c.lanes) {
			return
		}
		if child+1 < len(c.lanes) && before(c.x, c.lanes[child+1], c.lanes[child]) {
			child++
		}
		if !before(c.x, c.lanes[child], c.lanes[i]) {
			return
		}
		c.lanes[i], c.lanes[child] = c.lanes[child], c.lanes[i]
		i = child
	}
}

// stepOver leaves the best lane out, and with it its tenant, where a bound says
// so.
func (c *claim) stepOver(l *lane) bool {
	tenant := c.b.PerTenant > 0 && c.byTenant[l.key.tenant] >= c.b.PerTenant
	if !tenant && (c.b.PerDestination <= 0 || c.byDestination[l.key.destination] < c.b.PerDestination) {
		return false
	}
	switch {
	case c.only != nil:
		c.drop()
	case tenant:
		c.tenantsAside = append(c.tenantsAside, tenantAside{l.due, l.due.setAside(c.x, l)})
	default:
		c.setAside(l)
	}
	return true
}

func (c *claim) setAside(l *lane) {
	c.x.steps++
	c.x.unplace(l)
	l.where = inLocal
	c.aside = append(c.aside, l)
}

func (c *claim) end() {
	for _, l := range c.aside {
		l.where = inNone
		c.x.place(l)
	}
	for _, t := range c.tenantsAside {
		t.due.putBack(c.x, t.tenant)
	}
}

// next is the earliest time at which something the claim admits becomes due.
func (c *claim) next() (time.Time, bool) {
	x := c.x
	wake, found := int64(math.MaxInt64), false
	if c.only != nil {
		for d := range c.only {
			if x.destinations[d].parkedBy&c.bit != 0 {
				continue // until that ends, which is below
			}
			for n := x.destinations[d].lanes; n != none; n = x.lanes[n].next {
				if l := x.lanes[n]; l.pile.n > 0 && !c.exceptTenants[l.key.tenant] {
					wake, found = min(wake, x.wake(l)), true
				}
			}
		}
	} else {
		c.earliestLane(0, &wake, &found)
	}
	var t time.Time
	if found {
		t = time.UnixMicro(wake).UTC()
		if wake <= x.now {
			t = c.now
		}
	}
	var end time.Time
	if c.anyLeased() && c.earliestLease(0, &end) && (!found || end.Before(t)) {
		t, found = end, true
	}
	if end, parked := x.parking.next(c.b.Owner); parked && x.table.count > 0 {
		if end := time.UnixMicro(end).UTC(); !found || end.Before(t) {
			t, found = end, true
		}
	}
	return t, found
}

// anyLeased reports whether a delivery that the claim admits may be leased.
func (c *claim) anyLeased() bool {
	for d := range c.only {
		if c.x.destinations[d].leased > 0 {
			return true
		}
	}
	return c.only == nil
}

func (c *claim) admits(d uint32) bool {
	return !c.except[d] && (c.only == nil || c.only[d])
}

// earliestLane looks below those that are not admitted only, since a heap's
// children are never earlier than it.
func (c *claim) earliestLane(i int, wake *int64, found *bool) {
	c.x.steps++
	list := c.x.later.list
	if i >= len(list) {
		return
	}
	w := c.x.wake(list[i])
	if w >= *wake {
		return
	}
	if c.admits(list[i].key.destination) {
		*wake, *found = w, true
		return
	}
	c.earliestLane(2*i+1, wake, found)
	c.earliestLane(2*i+2, wake, found)
}

func (c *claim) earliestLease(i int, end *time.Time) bool {
	x := c.x
	x.steps++
	if i >= len(x.byEnd) {
		return false
	}
	l := x.byEnd[i]
	if !end.IsZero() && !l.until.Before(*end) {
		return false
	}
	if x.flags(l.slot)&Held == 0 && c.admits(x.laneOf(l.slot).key.destination) {
		*end = l.until // a claim after that tells whether its destination is postponed for longer
		return true
	}
	a := c.earliestLease(2*i+1, end)
	b := c.earliestLease(2*i+2, end)
	return a || b
}
