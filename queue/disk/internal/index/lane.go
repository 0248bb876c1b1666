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
	at    int64 // when it is due, by which it stands among those that wait

	ownWhere whichHeap // the same among the lanes of its destination, if there are many
	ownPos   int
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
)

func (x *Index) lane(n uint32) *lane { return *x.lanes.at(int(n)) }

// laneFor finds or makes a lane and counts one delivery more in it.
func (x *Index) laneFor(k laneKey) uint32 {
	n, known := x.laneOfKey[k]
	if !known {
		l := &lane{key: k, prev: none}
		if x.freeLanes.n > 0 {
			n = x.freeLanes.pop()
			*x.lanes.at(int(n)) = l
		} else {
			n = uint32(x.lanes.n)
			x.lanes.push(l)
		}
		d := x.dest(k.destination)
		d.laneCount++
		l.next = d.lanes
		if d.lanes != none {
			x.lane(d.lanes).prev = n
		}
		d.lanes = n
		x.laneOfKey[k] = n
		*x.tenantLanes.at(int(k.tenant))++
		if d.laneCount > fewLanes {
			x.keepOwn(d)
		}
	}
	x.lane(n).total++
	return n
}

// leaveLane counts one delivery less and gives up a lane without any.
func (x *Index) leaveLane(n uint32) {
	l := x.lane(n)
	if l.total--; l.total > 0 {
		return
	}
	d := x.dest(l.key.destination)
	d.laneCount--
	if d.stale == n {
		d.stale = l.next
	}
	if l.prev == none {
		d.lanes = l.next
	} else {
		x.lane(l.prev).next = l.next
	}
	if l.next != none {
		x.lane(l.next).prev = l.prev
	}
	delete(x.laneOfKey, l.key)
	x.leaveTenant(l.key.tenant)
	*x.lanes.at(int(n)) = nil
	x.freeLanes.push(n)
}

// wake is when the lane's first is due, its destination's postponement
// included, in microseconds.
func (x *Index) wake(l *lane) int64 {
	at := int64(math.MinInt64)
	if !l.key.atOnce {
		at = int64(x.since(l.pile.first()))
	}
	return max(at, x.dest(l.key.destination).postponed)
}

// place puts the lane in the heap where it belongs now.
func (x *Index) place(l *lane) {
	x.work++
	want, wake := inNone, int64(0)
	if l.pile.n > 0 {
		want, wake = inLater, x.wake(l)
		if wake <= x.now {
			want = inDue
		}
	}
	d := x.dest(l.key.destination)
	by := d.parkedBy
	if want != l.where || want == inDue && l.due.by != by {
		x.unplace(l)
	}
	l.at = wake
	switch {
	case l.where == inDue:
		l.due.fix(x, l)
	case l.where == inLater:
		x.later.fix(x, l.pos)
	case want == inDue:
		x.dueOf(by).push(x, l)
	case want == inLater:
		x.later.push(x, l, inLater)
	}
	if d.own != nil {
		d.own.place(x, l)
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
	if l.ownWhere != inNone {
		x.dest(l.key.destination).own.place(x, l)
	}
}

// laneHeap is a heap of lanes that know their places in it.
type laneHeap struct {
	own  bool // of one destination
	list paged[*lane]
	less func(x *Index, a, b *lane) bool
}

func (h *laneHeap) at(i int) *lane { return *h.list.at(i) }

// pos is the place of a lane in the heap.
func (h *laneHeap) pos(l *lane) *int {
	if h.own {
		return &l.ownPos
	}
	return &l.pos
}

// earlier orders the lanes that wait, by what place has found, and before those due by
// the order of claims.
func earlier(_ *Index, a, b *lane) bool { return a.at < b.at }

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
	return x.dest(a.key.destination).name < x.dest(b.key.destination).name
}

func (h *laneHeap) push(x *Index, l *lane, w whichHeap) {
	if h.own {
		l.ownWhere = w
	} else {
		l.where = w
	}
	*h.pos(l) = h.list.n
	h.list.push(l)
	h.up(x, h.list.n-1)
}

func (h *laneHeap) remove(x *Index, i int) {
	last := h.list.n - 1
	h.swap(i, last)
	h.list.pop()
	if i < last {
		h.fix(x, i)
	}
}

func (h *laneHeap) fix(x *Index, i int) {
	l := h.at(i)
	h.up(x, i)
	h.down(x, *h.pos(l))
}

func (h *laneHeap) up(x *Index, i int) {
	for h.less(x, h.at(i), h.at((i-1)/2)) { // the first is not before itself
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *laneHeap) down(x *Index, i int) {
	for {
		child := 2*i + 1
		if child >= h.list.n {
			return
		}
		if child+1 < h.list.n && h.less(x, h.at(child+1), h.at(child)) {
			child++
		}
		if !h.less(x, h.at(child), h.at(i)) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *laneHeap) swap(i, j int) {
	h.list.swap(i, j)
	*h.pos(h.at(i)), *h.pos(h.at(j)) = i, j
}
