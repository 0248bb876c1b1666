package index

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// rows is all of a checkpoint.
func (x *Index) rows() (list []record.Row) {
	for from, more := 0, true; more; more = from > 0 {
		list, from = x.Rows(list, from, 1000)
	}
	return list
}

// TestFlushIsKept takes what a flush has made due over from a checkpoint, once and, as if
// it was in there twice, again: it counts as such until its own record says when it is
// due.
func TestFlushIsKept(t *testing.T) {
	x := New()
	x.set(1, "a", "", start.Add(time.Hour))
	f := Flushing{Since: Micros(start)}
	if !x.Flush(&f, 10) || f.Count != 1 || x.Flushed() != 1 {
		t.Fatalf("%d are flushed, want 1", x.Flushed())
	}
	row := x.rows()[0]
	entry := Entry{Message: row.Message, Destination: "a", AtOnce: Flags(row.Flags)&AtOnce != 0, Since: int64(row.Since), Flags: Flags(row.Flags) &^ AtOnce}
	if !entry.AtOnce || entry.Since != Micros(start) {
		t.Fatalf("the checkpoint says %+v", entry)
	}
	y := New()
	for n := range 3 {
		again := entry
		again.Since += int64(n % 2)
		y.Set(&again)
		if err := y.verify(); err != nil || y.Flushed() != 1 {
			t.Fatalf("%d are due by a flush, want 1: %v", y.Flushed(), err)
		}
	}
	s, _ := y.Find(entry.Message, "a")
	if got := y.Get(s); got.Flags != 0 {
		t.Errorf("whoever asks is told of flags %b", got.Flags)
	}
	own := y.Get(s)
	y.Set(&own)
	if y.Flushed() != 0 || y.verify() != nil {
		t.Errorf("%d are due by a flush whose records say so", y.Flushed())
	}
	y.Set(&entry)
	if y.Remove(s); y.Flushed() != 0 {
		t.Errorf("%d are due by a flush, and none is there", y.Flushed())
	}
}

// TestFlush makes deliveries due.
func TestFlush(t *testing.T) {
	early, late := after(-5), after(5)
	type delivery struct {
		message     int
		destination string
		since       time.Time
		do          func(x *Index, s Slot)
	}
	hold := func(x *Index, s Slot) { x.SetFlag(s, Held, true) }
	lease := func(x *Index, s Slot) { x.Lease(s, 1, late, nil) }
	ended := func(x *Index, s Slot) { x.Lease(s, 1, start, nil); x.Advance(start, 10) }
	moved := func(x *Index, s Slot) { x.Move(s, 0, Place{0, 50}) }
	for _, c := range []struct {
		name  string
		list  []delivery
		flush Flushing
		count int
		due   []int // messages, in order
	}{
		{"nothing", nil, Flushing{}, 0, nil},
		{"all", []delivery{{1, "a", late, nil}, {2, "b", late, nil}}, Flushing{}, 2, []int{1, 2}},
		{"what is due keeps its place", []delivery{{1, "a", late, nil}, {2, "b", early, nil}, {3, "c", start, nil}}, Flushing{}, 3, []int{2, 1, 3}},
		{"a destination", []delivery{{1, "a", late, nil}, {2, "b", late, nil}}, Flushing{Destination: "b"}, 1, []int{2}},
		{"a destination that is unknown", []delivery{{1, "a", late, nil}}, Flushing{Destination: "b"}, 0, nil},
		{"a message", []delivery{{1, "a", late, nil}, {1, "b", late, nil}, {2, "b", late, nil}}, Flushing{Message: Number(1, 1)}, 2, []int{1, 1}},
		{"a message at a destination", []delivery{{1, "a", late, nil}, {1, "b", late, nil}, {2, "b", late, nil}},
			Flushing{Message: Number(1, 1), Destination: "b"}, 1, []int{1}},
		{"a message that is not there", []delivery{{1, "a", late, nil}}, Flushing{Message: Number(2, 1)}, 0, nil},
		{"a message of which a destination counts elsewhere", []delivery{{1, "a", late, nil}, {1, "b", late, nil}},
			Flushing{Message: Number(1, 1), Counted: map[string]bool{"b": true}}, 1, []int{1, 1}},
		{"what is on hold", []delivery{{1, "a", late, hold}, {2, "a", late, nil}}, Flushing{}, 1, []int{2}},
		{"a message that is on hold", []delivery{{1, "a", late, hold}}, Flushing{Message: Number(1, 1)}, 0, nil},
		{"what is leased", []delivery{{1, "a", late, lease}, {2, "a", late, nil}}, Flushing{}, 1, []int{2}},
		{"a message that is leased", []delivery{{1, "a", late, lease}}, Flushing{Message: Number(1, 1)}, 0, nil},
		{"what was leased", []delivery{{1, "a", late, ended}, {2, "a", late, nil}}, Flushing{Destination: "a"}, 2, []int{1, 2}},
		{"a message that was leased", []delivery{{1, "a", late, ended}}, Flushing{Message: Number(1, 1)}, 1, []int{1}},
		{"what has a later record", []delivery{{1, "a", late, moved}, {2, "a", late, nil}}, Flushing{Earlier: func(p Place) bool { return p.Offset < 50 }}, 2, []int{2}},
		{"several of one lane, and several messages at one time", []delivery{
			{1, "a", late, nil}, {2, "a", late, nil}, {3, "a", after(9), nil}, {4, "a", after(7), nil}, {5, "a", start, nil},
		}, Flushing{Destination: "a"}, 5, []int{1, 2, 3, 4, 5}},
	} {
		for _, most := range []int{1, 2, 100} {
			x := New()
			x.At(start)
			for _, d := range c.list {
				if s := x.set(d.message, d.destination, "", d.since); d.do != nil {
					d.do(x, s)
				}
			}
			f := c.flush
			f.Since = Micros(start) - 1
			for n := 0; !x.Flush(&f, most); n++ {
				if n > 100 {
					t.Fatalf("%s: it does not end", c.name)
				}
			}
			var due []int
			x.Claim(start, Bounds{Max: 100}, func(s Slot) {
				due = append(due, int(Ordinal(x.message(s))))
				x.Lease(s, 2, late, nil)
			})
			if f.Count != c.count || !slices.Equal(due, c.due) {
				t.Errorf("%s, %d at a time: %d are flushed and %v due, want %d and %v", c.name, most, f.Count, due, c.count, c.due)
			}
			if err := x.verify(); err != nil {
				t.Errorf("%s, %d at a time: %v", c.name, most, err)
			}
		}
	}
}

// TestPiecesOfAFlush goes on with flushes for one entry at a time: no piece does more.
func TestPiecesOfAFlush(t *testing.T) {
	const many = 100
	for name, c := range map[string]struct {
		destination func(n int) string
		flush       Flushing
		pieces      int
	}{
		"all of one destination":   {func(int) string { return "a" }, Flushing{}, many},
		"one destination":          {func(int) string { return "a" }, Flushing{Destination: "a"}, many},
		"all of many destinations": {func(n int) string { return fmt.Sprint(n) }, Flushing{}, many},
		"a message":                {func(n int) string { return fmt.Sprint(n) }, Flushing{Message: Number(1, many)}, many + 8},
	} {
		x := New()
		x.At(start)
		for n := range many {
			e := Entry{Message: Number(uint64(n+1), 1), Destination: c.destination(n), Since: Micros(start) + int64(n)}
			if c.flush.Message != 0 {
				e.Message = c.flush.Message
			}
			x.Set(&e)
		}
		f := c.flush
		f.Since = Micros(start) - 1
		pieces, flushed := 0, 0
		for done := false; !done; pieces++ {
			if done = x.Flush(&f, 1); x.Flushed() > flushed+1 {
				t.Errorf("%s: a piece has flushed %d", name, x.Flushed()-flushed)
			}
			flushed = x.Flushed()
		}
		if flushed != many || f.Count != many || pieces < c.pieces || pieces > c.pieces+c.pieces/2 {
			t.Errorf("%s: %d are flushed in %d pieces, want %d in %d", name, flushed, pieces, many, c.pieces)
		}
	}
}

// TestFlushWhileDestinationsGo has the destination of a flush go between two pieces of it,
// and another get its number.
func TestFlushWhileDestinationsGo(t *testing.T) {
	x := New()
	x.At(start)
	var slots []Slot
	for n := range 5 {
		slots = append(slots, x.set(n+1, "a", "", after(5)))
	}
	f := Flushing{Destination: "a", Since: Micros(start)}
	if x.Flush(&f, 2) {
		t.Fatal("it ends before all are flushed")
	}
	for _, s := range slots {
		x.Remove(s)
	}
	x.set(9, "b", "", after(5))
	if x.names["b"] != f.destination {
		t.Fatal("another has another number: this shows nothing")
	}
	for !x.Flush(&f, 2) {
	}
	if x.Flushed() != 0 {
		t.Errorf("%d are flushed at a destination that was not named", x.Flushed())
	}
	if f.Count != 5 {
		t.Errorf("%d are counted, want those that were there when it began", f.Count)
	}
}

// TestFlushWhileLanesGo has the lane go at which a flush stands, and the one after it,
// and another destination get their numbers.
func TestFlushWhileLanesGo(t *testing.T) {
	x := New()
	x.At(start)
	last := x.set(1, "a", "t0", after(5))
	second := x.set(2, "a", "t1", after(5))
	first := []Slot{x.set(3, "a", "t2", after(5)), x.set(4, "a", "t2", after(6))}
	f := Flushing{Destination: "a", Since: Micros(start)}
	if x.Flush(&f, 1) || x.Flushed() != 1 || !x.Get(first[0]).AtOnce {
		t.Fatal("it does not begin with the lane that came last: this shows nothing")
	}
	n := f.lane.next
	x.Remove(first[0])
	x.Remove(first[1])
	x.Remove(second)
	others := []Slot{x.set(5, "b", "u0", after(5)), x.set(6, "b", "u1", after(5))}
	if x.lane(n).key.destination != x.names["b"] {
		t.Fatal("another has another number: this shows nothing")
	}
	for !x.Flush(&f, 1) {
	}
	if x.Flushed() != 1 || !x.Get(last).AtOnce || x.Get(others[0]).AtOnce || x.Get(others[1]).AtOnce {
		t.Errorf("%d are flushed, want one", x.Flushed())
	}
}

// TestFlushPassesOverWhatIsDue flushes a destination of whose deliveries one is not due:
// it does not look at the others.
func TestFlushPassesOverWhatIsDue(t *testing.T) {
	for _, atOnce := range []bool{false, true} {
		x := New()
		x.At(start)
		for n := range 1000 {
			since := Micros(start) - 1000
			if atOnce {
				since += 1e9
			}
			x.Set(&Entry{Message: Number(uint64(n+1), 1), Destination: "a", AtOnce: atOnce, Since: since})
		}
		x.set(2000, "a", "", after(5))
		f := Flushing{Destination: "a", Since: Micros(start)}
		if done := x.Flush(&f, 5); !done || x.Flushed() != 1 || f.Count != 1001 {
			t.Errorf("%d are flushed and %d counted, or it does not end", x.Flushed(), f.Count)
		}
	}
	x := New()
	x.At(after(-9))
	s := x.set(1, "a", "", start)
	for _, f := range []Flushing{{}, {Destination: "a"}, {Message: Number(1, 1)}} {
		f.Since = Micros(start)
		for n := 0; !x.Flush(&f, 5); n++ {
		}
		if x.Flushed() != 0 || x.Get(s).AtOnce || f.Count != 1 {
			t.Errorf("what is due from when a flush says is flushed, or %d are counted", f.Count)
		}
	}
}

// TestFlushWhileDeliveriesGo has deliveries go between two pieces of a flush, and others
// get their slots: what there was is counted, and others are not flushed.
func TestFlushWhileDeliveriesGo(t *testing.T) {
	for name, f := range map[string]Flushing{
		"all":           {},
		"a destination": {Destination: "a"},
		"a message":     {Message: Number(1, 7)},
	} {
		x := New()
		x.At(start)
		var slots []Slot
		for n := range 5 {
			e := Entry{Message: Number(uint64(n+1), 1), Destination: "a", Since: Micros(after(5))}
			if f.Message != 0 {
				e.Message, e.Destination = f.Message, fmt.Sprint(n)
			}
			slots = append(slots, x.Set(&e))
		}
		f.Since = Micros(start)
		if x.Flush(&f, 2) || x.Flushed() == 0 {
			t.Fatalf("%s: %d are flushed, or it ends before all are", name, x.Flushed())
		}
		for _, s := range slots {
			if !x.Get(s).AtOnce {
				x.Remove(s)
			}
		}
		before := x.Flushed()
		var others []Slot
		for n := range 5 {
			others = append(others, x.set(10+n, "b", "", after(5)))
		}
		if f.Message == 0 && f.Destination == "" {
			others = nil // they may be among them
		}
		for !x.Flush(&f, 2) {
		}
		for _, s := range others {
			if x.Get(s).AtOnce {
				t.Errorf("%s: another is flushed", name)
			}
		}
		if want := 5; f.Message == 0 && f.Count != want || f.Message != 0 && f.Count != before {
			t.Errorf("%s: %d are counted", name, f.Count)
		}
	}
}

// TestFlushOfNothingInPieces goes on over destinations for which nothing waits so many at
// a time.
func TestFlushOfNothingInPieces(t *testing.T) {
	x := New()
	for n := range 100 {
		x.Postpone(Postponement{Name: fmt.Sprint(n), Until: after(5)})
	}
	for _, most := range []int{1, 10, 30} {
		f := Flushing{}
		pieces := 1
		for !x.Flush(&f, most) {
			pieces++
		}
		if want := (100 + most - 1) / most; pieces != want {
			t.Errorf("%d at a time: %d pieces, want %d", most, pieces, want)
		}
	}
}
