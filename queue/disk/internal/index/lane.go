package index

import (
	"math"

	"github.com/nexthop-mail/nexthop/queue"
)

// lane is deliveries that differ in age alone.
type lane struct {
	key   laneKey
	pile  pile   // those neither on hold nor leased
	total int    // all of them
	prev  uint32 // the neighbours among the lanes of the destination
	next  uint32
	where whichHeap
	due   *dueHeap // where it stands in one
	pos   int
}

type laneKey struct {
	destination, tenant uint32
	priority            int8
	atOnce              bool // due whatever the time
}

type whichHeap uint8

const (
	inNone whichHeap = iota
	inDue
	inLater
	inLocal // on the list of a claim in progress
)

// laneFor finds or makes a lane and counts one delivery more in it.
func (x *Index) laneFor(k laneKey) uint32 {
	n, known := x.laneOfKey[k]
	if !known {
		l := &lane{key: k, prev: none}
		if free := len(x.freeLanes); free > 0 {
			n = x.freeLanes[free-1]
			x.freeLanes = x.freeLanes[:free-1]
			x.lanes[n] = l
		} else {
			n = uint32(len(x.lanes))
			x.lanes = append(x.lanes, l)
		}
		d := &x.destinations[k.destination]
		l.next = d.lanes
		if d.lanes != none {
			x.lanes[d.lanes].prev = n
		}
		d.lanes = n
		x.laneOfKey[k] = n
		x.tenantLanes[k.tenant]++
	}
	x.lanes[n].total++
	return n
}

// leaveLane counts one delivery less and gives up a lane without any.
func (x *Index) leaveLane(n uint32) {
	l := x.lanes[n]
	if l.total--; l.total > 0 {
		return
	}
	x.unplace(l)
	d := &x.destinations[l.key.destination]
	if l.prev == none {
		d.lanes = l.next
	} else {
		x.lanes[l.prev].next = l.next
	}
	if l.next != none {
		x.lanes[l.next].prev = l.prev
	}
	delete(x.laneOfKey, l.key)
	x.leaveTenant(l.key.tenant)
	x.lanes[n] = nil
	x.freeLanes = append(x.freeLanes, n)
}

// wake is when the lane's first is due, its destination's postponement
// included, in microseconds.
func (x *Index) wake(l *lane) int64 {
	at := int64(math.MinInt64)
	if !l.key.atOnce {
		at = int64(x.since(l.pile.first()))
	}
	return max(at, x.destinations[l.key.destination].postponed)
}

// place puts the lane in the heap where it belongs now.
func (x *Index) place(l *lane) {
	want := inNone
	if l.pile.n > 0 {
		want = inLater
		if x.wake(l) <= x.now {
			want = inDue
		}
	}
	if want != l.where {
		x.unplace(l)
	}
	switch {
	case want == inDue && l.where == inDue:
		l.due.fix(x, l)
	case want == inDue:
		x.dueOf(x.destinations[l.key.destination].parkedBy).push(x, l)
	case want == inLater && l.where == inLater:
		x.later.fix(x, l.pos)
	case want == inLater:
		x.later.push(x, l, inLater)
	}
}

func (x *Index) unplace(l *lane) {
	switch l.where {
	case inDue:
		l.due.remove(x, l)
	case inLater:
		x.later.remove(x, l.pos)
	}
	l.where = inNone
}

// laneHeap is a heap of lanes that know their places in it.
type laneHeap struct {
	list []*lane
	less func(x *Index, a, b *lane) bool
}

// earlier orders the lanes that wait, and those due by the order of claims.
func earlier(x *Index, a, b *lane) bool { return x.wake(a) < x.wake(b) }

// rank is since when a delivery counts as due, in microseconds, its priority
// included.
func (x *Index) rank(l *lane, s Slot) int64 {
	return int64(x.since(s)) - int64(l.key.priority)*queue.PriorityStep.Microseconds()
}

func before(x *Index, a, b *lane) bool {
	sa, sb := a.pile.first(), b.pile.first()
	if ra, rb := x.rank(a, sa), x.rank(b, sb); ra != rb {
		return ra < rb
	}
	if x.message(sa) != x.message(sb) {
		return x.message(sa) < x.message(sb)
	}
	return x.destinations[a.key.destination].name < x.destinations[b.key.destination].name
}

func (h *laneHeap) push(x *Index, l *lane, w whichHeap) {
	l.where, l.pos = w, len(h.list)
	h.list = append(h.list, l)
	h.up(x, l.pos)
}

func (h *laneHeap) remove(x *Index, i int) {
	last := len(h.list) - 1
	h.swap(i, last)
	h.list[last] = nil
	h.list = h.list[:last]
	if i < last {
		h.fix(x, i)
	}
}

func (h *laneHeap) fix(x *Index, i int) {
	l := h.list[i]
	h.up(x, i)
	h.down(x, l.pos)
}

func (h *laneHeap) up(x *Index, i int) {
	for i > 0 && h.less(x, h.list[i], h.list[(i-1)/2]) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *laneHeap) down(x *Index, i int) {
	for {
		child := 2*i + 1
		if child >= len(h.list) {
			return
		}
		if child+1 < len(h.list) && h.less(x, h.list[child+1], h.list[child]) {
			child++
		}
		if !h.less(x, h.list[child], h.list[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *laneHeap) swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].pos, h.list[j].pos = i, j
}
