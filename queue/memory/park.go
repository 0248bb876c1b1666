package memory

import (
	"math/bits"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// parking is the postponements that have an owner. A destination with something
// due lies in one heap with all others that the same owners have postponed, so
// that a claim passes over the whole heaps that its owner is not to see, however
// many there are.
type parking struct {
	numbers map[string]int // of the owners, by name
	owners  [maxOwners]*owner
}

// owners is a set of them, by number.
type owners uint64

// maxOwners is how many owners can have postponements at a time. One more takes
// the place of the one whose last postponement ends first.
const maxOwners = 64

// owner is one owner and the ends of its postponements.
type owner struct {
	name   string
	number int
	byName map[string]*parked
	byEnd  sorted[*parked]
}

// parked is one destination postponed by one owner.
type parked struct {
	destination *destination
	until       time.Time
	at          int
}

func (p *parked) place() *int { return &p.at }

func (o *owner) bit() owners { return 1 << o.number }

// bit returns the set of one owner, or the empty set for a name without postponements.
func (p *parking) bit(name string) owners {
	if n, known := p.numbers[name]; known {
		return 1 << n
	}
	return 0
}

// next returns when the first postponement of an owner ends, or zero if it has none.
func (p *parking) next(name string) time.Time {
	if n, known := p.numbers[name]; known {
		return p.owners[n].byEnd.first().until
	}
	return time.Time{}
}

// park postpones a destination for one owner.
func (q *Queue) park(p queue.Postponement) {
	o := q.owner(p.Owner)
	d := q.destination(p.Destination)
	if old := o.byName[d.name]; old != nil {
		o.byEnd.remove(old)
	}
	one := &parked{destination: d, until: p.Until}
	o.byName[d.name] = one
	o.byEnd.add(one)
	q.rank(d, func() { d.parkedBy |= o.bit() })
}

// owner returns the owner of that name, and makes it if it is new.
func (q *Queue) owner(name string) *owner {
	if n, known := q.parking.numbers[name]; known {
		return q.parking.owners[n]
	}
	if len(q.parking.numbers) == maxOwners {
		q.forgetOwner()
	}
	free := 0
	for q.parking.owners[free] != nil {
		free++
	}
	o := &owner{name: name, number: free, byName: make(map[string]*parked)}
	o.byEnd.before = func(a, b *parked) bool { return a.until.Before(b.until) }
	if q.parking.numbers == nil {
		q.parking.numbers = make(map[string]int)
	}
	q.parking.numbers[name], q.parking.owners[free] = free, o
	return o
}

// forgetOwner makes room for another owner.
func (q *Queue) forgetOwner() {
	var first *owner
	for _, o := range q.parking.owners {
		if first == nil || o.byEnd.first().until.Before(first.byEnd.first().until) {
			first = o
		}
	}
	for destination := range first.byName {
		q.lift(first.name, destination)
	}
}

// lift ends an owner's postponement of a destination, if there is one.
func (q *Queue) lift(name, destination string) {
	n, known := q.parking.numbers[name]
	if !known {
		return
	}
	o := q.parking.owners[n]
	one := o.byName[destination]
	if one == nil {
		return
	}
	o.byEnd.remove(one)
	delete(o.byName, destination)
	d := one.destination
	q.rank(d, func() { d.parkedBy &^= o.bit() })
	if len(o.byName) == 0 {
		delete(q.parking.numbers, name)
		q.parking.owners[n] = nil
	}
}

// liftAll ends all postponements of an owner, unless the queue is closed meanwhile.
func (q *Queue) liftAll(t *turns, name string) (open bool) {
	if n, known := q.parking.numbers[name]; known {
		for destination := range q.parking.owners[n].byName {
			q.lift(name, destination)
			if !t.next() {
				return false
			}
		}
	}
	return true
}

// unpark ends the postponements of all owners that are over by now, unless the queue is
// closed meanwhile.
func (q *Queue) unpark(t *turns, now time.Time) (open bool) {
	var all owners
	for _, n := range q.parking.numbers {
		all |= 1 << n
	}
	for ; all != 0; all &= all - 1 {
		o := q.parking.owners[bits.TrailingZeros64(uint64(all))]
		if o == nil {
			continue // it has gone meanwhile
		}
		for len(o.byName) > 0 && !o.byEnd.first().until.After(now) {
			q.lift(o.name, o.byEnd.first().destination.name)
			if !t.next() {
				return false
			}
		}
	}
	return true
}
