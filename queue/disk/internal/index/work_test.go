package index

import (
	"fmt"
	"testing"
	"time"
)

// TestWork is how many entries are looked at or changed: a caller that does something in
// pieces goes by that.
func TestWork(t *testing.T) {
	const many = 20 // deliveries, of as many messages, destinations and tenants
	name := func(n int) string { return fmt.Sprintf("d%d.example", n) }
	names := func(from, to int) (list []string) {
		for n := from; n < to; n++ {
			list = append(list, name(n))
		}
		return list
	}
	fill := func() (*Index, []Slot) {
		x := New()
		x.At(start)
		var slots []Slot
		for n := range many {
			slots = append(slots, x.set(n+1, name(n), fmt.Sprint(n), start))
		}
		for n := range 5 {
			x.Postpone(Postponement{Name: fmt.Sprint("p", n), Until: start, Record: Place{Segment: 1}})
		}
		return x, slots
	}
	claim := func(b Bounds) func(x *Index, slots []Slot) {
		return func(x *Index, slots []Slot) { x.taken(start, b) }
	}
	for _, c := range []struct {
		what string
		do   func(x *Index, slots []Slot)
		want int
	}{
		{"a delivery is added, and its lane placed", func(x *Index, _ []Slot) { x.set(100, "new", "", start) }, 2},
		{"one on hold is added", func(x *Index, _ []Slot) {
			x.Set(&Entry{Message: Number(100, 1), Destination: "new", Flags: Held})
		}, 1},
		{"a record is moved", func(x *Index, s []Slot) { x.Move(s[0], 1, Place{}) }, 1},
		{"a record says the same elsewhere", func(x *Index, s []Slot) {
			x.set(100, name(0), "0", after(5)) // in the same lane
			e := x.Get(s[0])
			e.Record.Offset = 7
			x.Update(s[0], &e)
		}, 2 + 1},
		{"a delivery is removed", func(x *Index, s []Slot) { x.Remove(s[0]) }, 1},
		{"one of two in a lane is removed", func(x *Index, s []Slot) {
			x.Remove(x.set(100, name(0), "0", start))
		}, 4},
		{"a lease begins", func(x *Index, s []Slot) { x.Lease(s[0], 1, start, nil) }, 0},
		{"and ends", func(x *Index, s []Slot) { x.Lease(s[0], 1, start, nil); x.Unlease(s[0]) }, 1},
		{"a destination is postponed", func(x *Index, s []Slot) { x.Postpone(Postponement{Name: name(0), Until: after(5)}) }, 1},
		{"claim nothing", claim(Bounds{}), 2},
		{"claim one", claim(Bounds{Max: 1}), 3},
		{"claim all", claim(Bounds{Max: many}), 1 + many + 1 + 1 + 1},
		{"claim without an unknown name", claim(Bounds{Except: names(many, many+5)}), 2 + 5},
		{"claim without a destination", claim(Bounds{Max: 1, Except: names(0, 1)}), 3 + 1 + 1 + 1},
		{"claim without a tenant", claim(Bounds{Max: 1, ExceptTenants: []string{"0"}}), 3 + 1 + 1},
		{"claim of one destination", claim(Bounds{Max: 1, Destinations: names(3, 4)}), 7},
		{"claim of one destination, named often", claim(Bounds{Max: 1, Destinations: append(names(3, 4), append(names(3, 4), names(3, 4)...)...)}), 7 + 2},
		{"claim of five destinations, and take three", claim(Bounds{Max: 3, Destinations: names(3, 8)}), 6 + 5 + 4 + 3}, // the first three have nothing left, which shows when they come first,
		{"claim where very much becomes due at one time", func(x *Index, _ []Slot) {
			for n := range 100 {
				x.set(n+100, fmt.Sprint("later", n), "", after(9))
			}
			x.taken(start, Bounds{Max: many})
		}, 200 + 1 + many + 1 + 1 + 1},
		{"claim of a destination of many tenants", func(x *Index, _ []Slot) {
			for n := range 100 {
				x.set(n+100, "many", fmt.Sprint("later", n), after(9))
			}
			x.taken(start, Bounds{Max: many, Destinations: []string{"many"}})
		}, 200 + 2 + 1 + 1 + 1},
		{"the deliveries of a message", func(x *Index, _ []Slot) { x.Slots(nil, Number(1, 1), 0, 10) }, 2},
		{"a page of a list", func(x *Index, _ []Slot) { x.List(nil, 0, 7, "") }, 7},
		{"a page of a list for a destination", func(x *Index, _ []Slot) { x.List(nil, 0, 7, name(0)) }, 7},
		{"some rows", func(x *Index, _ []Slot) { x.Rows(nil, 0, 30) }, 30},
		{"the rest of a chunk", func(x *Index, _ []Slot) { x.Rows(nil, chunkLen-7, 30) }, 7},
		{"some destinations", func(x *Index, _ []Slot) { x.Destinations(0, 7) }, 7},
		{"the last destinations", func(x *Index, _ []Slot) { x.Destinations(20, 7) }, 5},
		{"some tenants", func(x *Index, _ []Slot) { x.Tenants(nil, 0, 7) }, 7},
		{"the last tenants", func(x *Index, _ []Slot) { x.Tenants(nil, 17, 7) }, 3},
		{"a sweep over some", func(x *Index, _ []Slot) { x.Sweep(0, 7, func(*Postponement) bool { return false }) }, 7},
		{"a sweep over the last", func(x *Index, _ []Slot) { x.Sweep(23, 7, func(*Postponement) bool { return true }) }, 2},
		{"some postponements", func(x *Index, _ []Slot) { x.Postponements(1, 0, 7) }, 7},
		{"the last postponements", func(x *Index, _ []Slot) { x.Postponements(1, 23, 7) }, 2},
		{"some that are postponed", func(x *Index, _ []Slot) { x.AllPostponed(nil, 0, 7) }, 7},
		{"the last that are postponed", func(x *Index, _ []Slot) { x.AllPostponed(nil, 23, 7) }, 2},
		{"a survey of some", func(x *Index, _ []Slot) { x.Count(&Survey{}, 7) }, 7},
		{"a survey of the last", func(x *Index, _ []Slot) { x.Count(&Survey{from: 23}, 7) }, 2},
		{"the oldest among some", func(x *Index, _ []Slot) { x.Oldest(&Survey{}, 7) }, 7},
		{"the oldest among the last", func(x *Index, _ []Slot) { x.Oldest(&Survey{from: chunkLen - 2}, 7) }, 2},
		{"destinations and tenants that have gone are forgotten", func(x *Index, s []Slot) {
			x.Pin()
			x.Remove(s[0])
			x.Remove(s[1])
			x.Unpin()
			x.Loose(10)
		}, 2 + 2 + 2},
		{"a flush of one", func(x *Index, s []Slot) {
			x.Flush(&Flushing{Message: Number(1, 1), Since: Micros(start.Add(-time.Hour))}, 10)
		}, 3},
	} {
		x, slots := fill()
		before := x.Work()
		if c.do(x, slots); x.Work()-before != c.want {
			t.Errorf("%s: %d entries are looked at or changed, want %d", c.what, x.Work()-before, c.want)
		}
	}
}

// TestSteps is how often the index goes one further in a chain or compares two
// deliveries.
func TestSteps(t *testing.T) {
	x := New()
	number := Number(1, 3)
	var slots []Slot
	for n := range 4 { // all in one bucket
		slots = append(slots, x.Set(&Entry{Message: number, Destination: fmt.Sprint(n)}))
	}
	x.set(2, "busy", "", after(1))
	place := func(s Slot) int { // in the chain
		c, i := x.at(s)
		at, n := *x.table.head(x.bucketOf(c, i)), 1
		for ; Slot(at) != s; n++ {
			c, i := x.at(Slot(at))
			at = c.next[i]
		}
		return n
	}
	for _, s := range slots {
		before := x.steps
		if x.Find(number, x.Get(s).Destination); x.steps-before != 1+place(s) {
			t.Errorf("%d steps to find the %d. of a chain", x.steps-before, place(s))
		}
		before, at := x.steps, place(s)
		if x.unlink(s); x.steps-before != at-1 {
			t.Errorf("%d steps to unlink the %d. of a chain", x.steps-before, at)
		}
		x.link(s)
	}
	before := x.steps
	if x.Add([]Entry{{Message: Number(3, 1), Destination: "busy", Since: Micros(after(2))}}); x.steps-before != 1 {
		t.Errorf("%d steps to add the last of two in a lane", x.steps-before)
	}
}
