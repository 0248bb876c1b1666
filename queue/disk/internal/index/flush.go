package index

import "math"

// Flushing makes deliveries due at once, in parts: those of a message, a destination,
// both, or all. Those that are already due keep their place; those with a lease that has
// not ended and those on hold are left out.
type Flushing struct {
	Since       int64 // from when on they are due, on the scale of Entry.Since
	Message     uint64
	Destination string

	// Earlier reports whether a record is in the log before the flush, which does not
	// apply to others. If nil, all are.
	Earlier func(Place) bool

	// Count is how many deliveries there were that are neither on hold nor leased; those
	// whose lease has ended count.
	Count int

	// Counted are destinations whose deliveries are not to be counted, since another
	// flush counts them.
	Counted map[string]bool

	begun       bool
	part        uint32 // of the message, where it continues
	slots       []Slot
	last        bool // slots has the last of them
	destination uint32
	lane        *lane // where it goes on, and behind which delivery in it
	number      uint32
	since       uint64
	message     uint64
}

// Flush goes on with a flush, for about so many deliveries, and reports whether
// that was all.
func (x *Index) Flush(f *Flushing, most int) (done bool) {
	if f.Message != 0 {
		return x.flushMessage(f, most)
	}
	if f.Destination == "" {
		return x.flushAll(f, most)
	}
	n, known := x.names[f.Destination]
	if !known {
		return true
	}
	if !f.begun {
		f.begun, f.Count = true, x.dest(n).waits
	}
	f.destination = n // another may have had its number since
	done, _ = x.flushDestination(f, most)
	return done
}

func (x *Index) flushAll(f *Flushing, most int) (done bool) {
	if !f.begun {
		f.begun, f.Count = true, x.waits
	}
	for ; int(f.destination) < x.destinations.n; f.destination++ {
		if most <= 0 {
			return false
		}
		if done, most = x.flushDestination(f, most); !done {
			return false
		}
		most--
	}
	return true
}

func (x *Index) flushMessage(f *Flushing, most int) (done bool) {
	for ; most > 0; most-- {
		if len(f.slots) == 0 {
			if f.last {
				return true
			}
			f.slots, f.part = x.Slots(f.slots[:0], f.Message, f.part, 1)
			f.last = f.part == 0
			continue
		}
		s := f.slots[0]
		f.slots = f.slots[1:]
		if !x.Is(s, f.Message) || x.flags(s)&Held != 0 || x.claimed(s) {
			continue
		}
		if d := x.dest(x.laneOf(s).key.destination); f.Destination == "" || d.name == f.Destination {
			if !f.Counted[d.name] {
				f.Count++
			}
			x.flushOne(f, s)
		}
	}
	return false
}

// flushDestination returns how much of its work is left.
func (x *Index) flushDestination(f *Flushing, most int) (done bool, left int) {
	if f.lane == nil || x.lane(f.number) != f.lane { // it has gone
		x.enterLane(f, x.dest(f.destination).lanes)
	}
	for ; f.lane != nil; most-- {
		if most <= 0 {
			return false, 0
		}
		s, ok := x.flushNext(f)
		if !ok {
			x.enterLane(f, f.lane.next)
			continue
		}
		f.since, f.message = x.since(s), x.message(s)
		next := f.lane.next
		x.flushOne(f, s)
		if x.lane(f.number) != f.lane {
			x.enterLane(f, next)
		}
	}
	return true, most
}

func (x *Index) enterLane(f *Flushing, n uint32) {
	f.lane, f.number = nil, n
	if n != none {
		f.lane = x.lane(n)
	}
	f.since, f.message = uint64(max(f.Since, 0)), math.MaxUint64
}

// flushNext is the next delivery in the lane that is not due.
func (x *Index) flushNext(f *Flushing) (Slot, bool) {
	if f.lane.key.atOnce {
		return 0, false
	}
	page, at := f.lane.pile.seek(func(o uint32) bool {
		since := x.since(Slot(o))
		return since < f.since || since == f.since && x.message(Slot(o)) <= f.message
	})
	if page == len(f.lane.pile.pages) {
		return 0, false
	}
	return Slot(f.lane.pile.pages[page][at]), true
}

// flushOne makes one delivery due, unless it is already or the flush does not apply to
// it.
func (x *Index) flushOne(f *Flushing, s Slot) {
	c, i := x.at(s)
	key := x.lane(c.lane[i]).key
	if key.atOnce || int64(c.when[i]>>8) <= f.Since || f.Earlier != nil && !f.Earlier(Place{c.record[i], c.offset[i]}) {
		return
	}
	key.atOnce = true
	x.unqueue(s)
	old := c.lane[i]
	x.noteFlushed(s, true)
	c.when[i] = uint64(clampSince(f.Since))<<8 | c.when[i]&0xff
	c.lane[i] = x.laneFor(key)
	x.queue(s)
	x.leaveLane(old)
}

// Flushed is how many deliveries are due by a flush alone: their own records, which
// are older, do not say so.
func (x *Index) Flushed() int { return x.flushed }

func (x *Index) noteFlushed(s Slot, on bool) {
	if was := x.flags(s)&flushed != 0; was != on {
		x.setFlag(s, flushed, on)
		if on {
			x.flushed++
		} else {
			x.flushed--
		}
	}
}
