package index

import (
	"math"
	"slices"
	"time"
)

// Bounds are what a claim may take, as queue.ClaimOptions has them.
type Bounds struct {
	Max                       int
	Destinations, Except      []string
	PerDestination, PerTenant int
}

// Claim picks deliveries that are due, in order, and calls take with each,
// which must lease it. It reports when there may be more: at once, at a time,
// or, where ok is false, never as things stand.
func (x *Index) Claim(now time.Time, b Bounds, take func(Slot)) (next time.Time, ok bool) {
	x.now = Micros(now)
	x.expire(now)
	c := x.begin(now, b)
	for len(c.later()) > 0 && x.wake(c.later()[0]) <= x.now {
		x.place(c.later()[0])
	}
	bounded := false
	for picked := 0; ; {
		l := c.best()
		if l == nil {
			break
		}
		s := l.pile.at(0)
		if lease := x.leases[s]; lease != nil && lease.until.After(now) {
			x.take(l, s) // the clock went back behind the lease's end
			x.byEnd.put(lease)
			continue
		}
		if over := c.over(l); over || picked == b.Max {
			bounded = true
			if !over {
				break
			}
			c.setAside(l)
			continue
		}
		destination, tenant := l.key.destination, l.key.tenant
		take(s)
		picked++
		if c.byDestination != nil {
			c.byDestination[destination]++
		}
		if c.byTenant != nil {
			c.byTenant[tenant]++
		}
	}
	c.end()
	if bounded {
		return now, true
	}
	return c.next()
}

// claim is one claim in progress.
type claim struct {
	x             *Index
	b             Bounds
	now           time.Time
	only          []uint32 // destinations; nil is all
	except        map[uint32]bool
	byDestination map[uint32]int // nil where there is no bound
	byTenant      map[uint32]int
	aside         []*lane
}

func (x *Index) begin(now time.Time, b Bounds) *claim {
	c := &claim{x: x, b: b, now: now}
	if len(b.Except) > 0 {
		c.except = map[uint32]bool{}
	}
	if b.PerDestination > 0 {
		c.byDestination = map[uint32]int{}
	}
	if b.PerTenant > 0 {
		c.byTenant = map[uint32]int{}
	}
	for _, name := range b.Except {
		if d, known := x.names[name]; known {
			c.except[d] = true
		}
	}
	if len(b.Destinations) > 0 {
		c.only = []uint32{}
	}
	for _, name := range b.Destinations {
		if d, known := x.names[name]; known && !c.except[d] && !slices.Contains(c.only, d) {
			c.only = append(c.only, d)
		}
	}
	return c
}

func (c *claim) later() []*lane { return c.x.later.list }

// best is the lane whose first delivery comes next in order, nil if none is due.
func (c *claim) best() *lane {
	x := c.x
	if c.only != nil {
		return c.bestOfOnly()
	}
	for len(x.due.list) > 0 {
		l := x.due.list[0]
		switch {
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

func (c *claim) bestOfOnly() *lane {
	x := c.x
	var best *lane
	for _, d := range c.only {
		for n := x.destinations[d].lanes; n != none; n = x.lanes[n].next {
			l := x.lanes[n]
			if l.where == inLocal || l.pile.n == 0 || x.wake(l) > x.now {
				continue
			}
			if best == nil || before(x, l, best) {
				best = l
			}
		}
	}
	return best
}

// over reports whether a bound keeps the lane's deliveries out.
func (c *claim) over(l *lane) bool {
	return c.b.PerDestination > 0 && c.byDestination[l.key.destination] >= c.b.PerDestination ||
		c.b.PerTenant > 0 && c.byTenant[l.key.tenant] >= c.b.PerTenant
}

func (c *claim) setAside(l *lane) {
	c.x.unplace(l)
	l.where = inLocal
	c.aside = append(c.aside, l)
}

func (c *claim) end() {
	for _, l := range c.aside {
		l.where = inNone
		c.x.place(l)
	}
}

// next is the earliest time at which something the claim admits becomes due.
func (c *claim) next() (time.Time, bool) {
	x := c.x
	wake, found := int64(math.MaxInt64), false
	if c.only != nil {
		for _, d := range c.only {
			for n := x.destinations[d].lanes; n != none; n = x.lanes[n].next {
				if l := x.lanes[n]; l.pile.n > 0 {
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
	if c.earliestLease(0, &end) && (!found || end.Before(t)) {
		t, found = end, true
	}
	return t, found
}

func (c *claim) admits(d uint32) bool {
	return !c.except[d] && (c.only == nil || slices.Contains(c.only, d))
}

// earliestLane looks below those that are not admitted only, since a heap's
// children are never earlier than it.
func (c *claim) earliestLane(i int, wake *int64, found *bool) {
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
