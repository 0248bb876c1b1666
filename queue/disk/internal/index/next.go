package index

import (
	"math"
	"time"
)

// laneWalk goes through the lanes of a claim's destinations.
type laneWalk struct {
	destination int // the first that is not done
	begun       bool
	number      uint32 // the lane of it that comes next
	lane        *lane
}

// over calls f with lanes, as many as there is work left, or many with those of a
// destination that has many, and continues with a stage when there are no more. If a
// lane where it stopped has gone, it begins with that destination again.
func (w *laneWalk) over(c *Claim, f func(l *lane), many func(d *destination), then func(*Claim)) {
	x := c.x
	for ; c.left > 0; c.left-- {
		if w.destination == len(c.order) {
			c.stage = then
			return
		}
		d := x.dest(c.order[w.destination])
		if d.own != nil && d.parkedBy&c.bit == 0 {
			x.work++
			many(d)
			w.next()
			continue
		}
		if !w.begun || w.number != none && x.lane(w.number) != w.lane {
			w.number, w.begun = d.lanes, true
		}
		if w.number == none || d.parkedBy&c.bit != 0 {
			w.next()
			continue
		}
		x.work++
		l := x.lane(w.number)
		f(l)
		if w.number = l.next; w.number != none {
			w.lane = x.lane(w.number)
		}
	}
}

// next goes on to the next destination.
func (w *laneWalk) next() {
	w.destination++
	w.begun = false
}

// soonest finds when the first of the lanes of some destinations is due.
func (c *Claim) soonest() {
	c.walk.over(c, func(l *lane) {
		if l.pile.n > 0 && !c.exceptTenants.numbers[l.key.tenant] {
			c.wake = min(c.wake, c.x.wake(l))
		}
		c.leased = c.leased || c.x.dest(l.key.destination).leased > 0
	}, func(d *destination) {
		steps := nextSteps
		d.own.soonest(c, 0, &steps)
		c.leased = c.leased || d.leased > 0
	}, (*Claim).answer)
}

// nextSteps is how far a claim looks for the next due time that its options admit. It
// then uses what it has found, or the time before anything that it has not looked at.
const nextSteps = 256

// answer says when something that the claim admits becomes due, or a time before that.
func (c *Claim) answer() {
	c.stage = nil
	x := c.x
	if c.only == nil {
		steps := nextSteps
		c.earliestLane(0, &steps)
	}
	found := c.wake < math.MaxInt64
	var t time.Time
	if found {
		t = time.UnixMicro(c.wake).UTC()
		if c.wake <= x.now {
			t = c.now
		}
	}
	var end time.Time
	if steps := nextSteps; c.only == nil || c.leased {
		c.earliestLease(0, &end, &steps)
	}
	if !end.IsZero() && (!found || end.Before(t)) {
		t, found = end, true
	}
	if end, parked := x.parking.next(c.b.Owner); parked && x.table.count > 0 {
		if end := time.UnixMicro(end).UTC(); !found || end.Before(t) {
			t, found = end, true
		}
	}
	c.next, c.more = t, found
}

func (c *Claim) admits(d uint32) bool {
	return !c.except.numbers[d] && (c.only == nil || c.only[d])
}

// earliestLane looks below those that are not admitted only, since a heap's
// children are never earlier than it.
func (c *Claim) earliestLane(i int, steps *int) {
	c.x.work++
	h := &c.x.later
	if i >= h.list.n {
		return
	}
	l := h.at(i)
	if l.at >= c.wake {
		return
	}
	if *steps--; *steps < 0 || c.admits(l.key.destination) && !c.exceptTenants.numbers[l.key.tenant] {
		c.wake = l.at
		return
	}
	c.earliestLane(2*i+1, steps)
	c.earliestLane(2*i+2, steps)
}

func (c *Claim) earliestLease(i int, end *time.Time, steps *int) {
	x := c.x
	x.work++
	if i >= x.byEnd.list.n {
		return
	}
	l := x.byEnd.at(i)
	if !end.IsZero() && !l.until.Before(*end) {
		return
	}
	if *steps--; *steps < 0 || x.flags(l.slot)&Held == 0 && c.admits(x.laneOf(l.slot).key.destination) {
		*end = l.until // a claim after that tells whether its destination is postponed for longer
		return
	}
	c.earliestLease(2*i+1, end, steps)
	c.earliestLease(2*i+2, end, steps)
}

// local is a lane in the heap of a claim, with its position there. Deliveries that are
// claimed or arrive meanwhile are noticed when the lane is looked at.
type local struct {
	own  *ownLanes // the lanes of which it is the best, or nil
	lane *lane     // it may be gone, and then has nothing due
	rank int64
	id   uint64
	name string
}

// localHeap is lanes of some destinations by the order of claims.
type localHeap struct{ list paged[local] }

// key notes where a lane belongs.
func (e *local) key(x *Index) {
	first := e.lane.pile.first()
	e.rank, e.id, e.name = x.rank(e.lane, first), x.message(first), x.dest(e.lane.key.destination).name
}

func (e *local) before(o *local) bool {
	switch {
	case e.rank != o.rank:
		return e.rank < o.rank
	case e.id != o.id:
		return e.id < o.id
	}
	return e.name < o.name
}

func (e *local) same(o *local) bool { return !e.before(o) && !o.before(e) }

func (h *localHeap) push(x *Index, e local) {
	e.key(x)
	h.list.push(e)
	for i := h.list.n - 1; h.list.at(i).before(h.list.at((i - 1) / 2)); i = (i - 1) / 2 { // the first is not before itself
		h.list.swap(i, (i-1)/2)
	}
}

// best returns the lane whose first delivery comes next, or nil if none is due.
func (h *localHeap) best(c *Claim) *lane {
	for ; c.left > 0 && h.list.n > 0; c.left-- {
		c.x.work++
		top := h.list.at(0)
		was := *top
		if o := top.own; o != nil {
			if top.lane = o.due.first(); top.lane == nil {
				h.drop()
				continue
			}
			if l := top.lane; c.exceptTenants.numbers[l.key.tenant] {
				c.tenantsAside.push(tenantAside{&o.due, o.due.setAside(c.x, l)})
				continue
			}
		}
		l := top.lane
		if c.x.dest(l.key.destination).parkedBy&c.bit != 0 || top.own == nil && !c.isDue(l) {
			h.drop()
			continue
		}
		if !c.isDue(l) { // the clock went back
			c.x.place(l)
			continue
		}
		if top.key(c.x); was.same(top) {
			return l
		}
		h.down(0)
	}
	return nil
}

// drop takes the best out.
func (h *localHeap) drop() {
	h.list.swap(0, h.list.n-1)
	h.list.pop()
	h.down(0)
}

func (h *localHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= h.list.n {
			return
		}
		if child+1 < h.list.n && h.list.at(child+1).before(h.list.at(child)) {
			child++
		}
		if !h.list.at(child).before(h.list.at(i)) {
			return
		}
		h.list.swap(i, child)
		i = child
	}
}
