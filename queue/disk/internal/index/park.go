package index

import (
	"container/heap"
	"math"
	"math/bits"
	"time"
)

// parking has the postponements with an owner. The lanes of a destination are in one
// heap with those of all others that the same owners have parked, so that a claim skips
// whole heaps that its owner must not see.
type parking struct {
	numbers map[string]int // of the owners, by name
	owners  [maxOwners]*owner
}

// owners is a set of them, by number.
type owners uint64

// maxOwners is how many owners can have postponements at a time. One more takes
// the place of the one whose last postponements end first.
const maxOwners = 64

// owner is one owner and its postponements by destination and by their ends.
type owner struct {
	name          string
	bit           owners
	byDestination map[uint32]*parked
	byEnd         parkedHeap
}

// parked is a destination that one owner has parked.
type parked struct {
	destination uint32
	until       int64 // microseconds
	pos         int
}

// bit returns the set of one owner, or the empty set for a name without postponements.
func (p *parking) bit(name string) owners {
	if n, known := p.numbers[name]; known {
		return p.owners[n].bit
	}
	return 0
}

// next is when the first postponement of an owner ends.
func (p *parking) next(name string) (at int64, ok bool) {
	if n, known := p.numbers[name]; known {
		return p.owners[n].byEnd.at(0).until, true
	}
	return 0, false
}

// dueOf is the heap of the due lanes of destinations that some owners, and no
// others, have parked.
func (x *Index) dueOf(by owners) *dueHeap {
	d := x.due[by]
	if d == nil {
		d = &dueHeap{by: by}
		x.due[by] = d
	}
	return d
}

// Admit ensures that an owner can have postponements: if there are too many owners, it
// ends up to the given number of those of the owner whose last one ends first, and
// reports whether that was enough.
func (x *Index) Admit(name string, most int) (admitted bool) {
	p := &x.parking
	if _, known := p.numbers[name]; known {
		return true
	}
	for ; len(p.numbers) == maxOwners && most > 0; most-- {
		o := p.first()
		x.end(o, o.byEnd.at(0).destination)
	}
	return len(p.numbers) < maxOwners
}

// Park keeps a destination from the claims of one owner, who has been admitted, until
// a time.
func (x *Index) Park(name, destination string, until time.Time) {
	o := x.owner(name)
	n := x.destinationFor(destination)
	if old := o.byDestination[n]; old != nil {
		old.until = Micros(until)
		heap.Fix(&o.byEnd, old.pos)
		return
	}
	p := &parked{destination: n, until: Micros(until)}
	o.byDestination[n] = p
	heap.Push(&o.byEnd, p)
	x.setParked(n, x.dest(n).parkedBy|o.bit)
}

// setParked changes who parks a destination.
func (x *Index) setParked(n uint32, by owners) {
	x.dest(n).parkedBy = by
	x.replace(n)
	x.forget(n)
}

// owner returns the owner of that name, and makes it if it is new.
func (x *Index) owner(name string) *owner {
	p := &x.parking
	if n, known := p.numbers[name]; known {
		return p.owners[n]
	}
	x.Admit(name, math.MaxInt)
	if p.numbers == nil {
		p.numbers = map[string]int{}
	}
	n := 0
	for p.owners[n] != nil {
		n++
	}
	o := &owner{name: name, bit: 1 << n, byDestination: map[uint32]*parked{}}
	p.numbers[name], p.owners[n] = n, o
	return o
}

// first is the owner one of whose postponements is the first of all to end.
func (p *parking) first() (first *owner) {
	for _, o := range p.owners {
		if o != nil && (first == nil || o.byEnd.at(0).until < first.byEnd.at(0).until) {
			first = o
		}
	}
	return first
}

// Unpark ends an owner's postponement of a destination, if there is one.
func (x *Index) Unpark(name, destination string) {
	n, known := x.parking.numbers[name]
	d, named := x.names[destination]
	if known && named {
		x.end(x.parking.owners[n], d)
	}
}

// UnparkAll ends postponements of an owner, so many, and reports whether there are
// more.
func (x *Index) UnparkAll(name string, most int) (more bool) {
	n, known := x.parking.numbers[name]
	if !known {
		return false
	}
	o := x.parking.owners[n]
	for ; o.byEnd.Len() > 0 && most > 0; most-- {
		x.end(o, o.byEnd.at(o.byEnd.Len()-1).destination)
	}
	return o.byEnd.Len() > 0
}

func (x *Index) end(o *owner, d uint32) {
	p := o.byDestination[d]
	if p == nil {
		return
	}
	heap.Remove(&o.byEnd, p.pos)
	delete(o.byDestination, d)
	x.setParked(d, x.dest(d).parkedBy&^o.bit)
	if len(o.byDestination) == 0 {
		delete(x.parking.numbers, o.name)
		x.parking.owners[bits.TrailingZeros64(uint64(o.bit))] = nil
	}
}

// unpark ends a postponement that is over. It reports whether there was one.
func (x *Index) unpark() bool {
	if len(x.parking.numbers) == 0 {
		return false
	}
	o := x.parking.first()
	if o.byEnd.at(0).until > x.now {
		return false
	}
	x.end(o, o.byEnd.at(0).destination)
	return true
}

// parkedHeap is postponements by their ends.
type parkedHeap struct{ list paged[*parked] }

func (h *parkedHeap) at(i int) *parked { return *h.list.at(i) }

// Len, Less, Swap, Push and Pop are for package heap.
func (h *parkedHeap) Len() int           { return h.list.n }
func (h *parkedHeap) Less(i, j int) bool { return h.at(i).until < h.at(j).until }
func (h *parkedHeap) Swap(i, j int) {
	h.list.swap(i, j)
	h.at(i).pos, h.at(j).pos = i, j
}

func (h *parkedHeap) Push(p any) {
	p.(*parked).pos = h.list.n
	h.list.push(p.(*parked))
}

func (h *parkedHeap) Pop() any { return h.list.pop() }
