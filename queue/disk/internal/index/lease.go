package index

import "time"

// lease is a claimed delivery. One that has ended stays until the delivery is
// claimed again, settled or dropped.
type lease struct {
	slot  Slot
	token uint64
	until time.Time
	pos   int // in the heap by end; -1 once it has ended
	note  any
}

// Lease leases a claimed delivery under a token until a time. The note belongs to the
// caller.
func (x *Index) Lease(s Slot, token uint64, until time.Time, note any) {
	x.unqueue(s)
	l := x.leases[s]
	if l == nil {
		l = &lease{slot: s, pos: -1}
		x.leases[s] = l
		x.count(s, -1)
		x.setFlag(s, leased, true)
		x.count(s, 1)
	}
	l.token, l.until, l.note = token, until, note
	x.byEnd.put(l)
}

// Leased returns the token, end and note of a delivery's lease; one that has
// ended counts.
func (x *Index) Leased(s Slot) (token uint64, until time.Time, note any, ok bool) {
	l := x.leases[s]
	if l == nil {
		return 0, time.Time{}, nil, false
	}
	return l.token, l.until, l.note, true
}

// Note replaces the note of a lease.
func (x *Index) Note(s Slot, note any) {
	if l := x.leases[s]; l != nil {
		l.note = note
	}
}

// Unlease ends a delivery's lease for good, if it has one.
func (x *Index) Unlease(s Slot) {
	l := x.leases[s]
	if l == nil {
		return
	}
	x.unqueue(s)
	if l.pos >= 0 {
		x.byEnd.remove(l.pos)
	}
	delete(x.leases, s)
	x.count(s, -1)
	x.setFlag(s, leased, false)
	x.count(s, 1)
	x.queue(s)
}

// Expire ends leases that are over, up to the given number, and reports whether there may
// be more. The leases are not lost.
func (x *Index) Expire(now time.Time, most int) (more bool) {
	for ; most > 0 && x.expire(now); most-- {
	}
	return most == 0
}

// expire puts a delivery whose lease has ended back among the claimable. It reports
// whether there was one.
func (x *Index) expire(now time.Time) bool {
	if x.byEnd.list.n == 0 || x.byEnd.at(0).until.After(now) {
		return false
	}
	l := x.byEnd.at(0)
	x.byEnd.remove(0)
	x.queue(l.slot)
	return true
}

// waiting reports whether a delivery stands in its lane's pile.
func (x *Index) waiting(s Slot) bool {
	if x.flags(s)&(Held|arriving) != 0 {
		return false
	}
	return !x.claimed(s)
}

// claimed reports whether a delivery has a lease that has not ended.
func (x *Index) claimed(s Slot) bool {
	l := x.leases[s]
	return l != nil && l.pos >= 0
}

// queue puts a delivery that may be claimed in its lane's pile, and unqueue
// takes it out.
func (x *Index) queue(s Slot) {
	if x.waiting(s) {
		l := x.laneOf(s)
		x.enqueue(l, s)
	}
}

func (x *Index) enqueue(l *lane, s Slot) {
	x.push(&l.pile, s)
	x.waits++
	x.dest(l.key.destination).waits++
	x.place(l)
}

func (x *Index) unqueue(s Slot) {
	if x.waiting(s) {
		l := x.laneOf(s)
		x.take(l, s)
	}
}

func (x *Index) take(l *lane, s Slot) {
	x.remove(&l.pile, s)
	x.waits--
	x.dest(l.key.destination).waits--
	if l.pile.n == 0 {
		x.unplace(l)
		return
	}
	x.place(l)
}

// leaseHeap is a heap of leases by their end.
type leaseHeap struct{ list paged[*lease] }

func (h *leaseHeap) at(i int) *lease { return *h.list.at(i) }

func (h *leaseHeap) put(l *lease) {
	if l.pos < 0 {
		l.pos = h.list.n
		h.list.push(l)
	}
	h.fix(l.pos)
}

func (h *leaseHeap) remove(i int) {
	last := h.list.n - 1
	h.swap(i, last)
	h.list.pop().pos = -1
	if i < last {
		h.fix(i)
	}
}

func (h *leaseHeap) before(i, j int) bool { return h.at(i).until.Before(h.at(j).until) }

func (h *leaseHeap) fix(i int) {
	for h.before(i, (i-1)/2) { // the first is not before itself
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		child := 2*i + 1
		if child >= h.list.n {
			return
		}
		if child+1 < h.list.n && h.before(child+1, child) {
			child++
		}
		if !h.before(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *leaseHeap) swap(i, j int) {
	h.list.swap(i, j)
	h.at(i).pos, h.at(j).pos = i, j
}
