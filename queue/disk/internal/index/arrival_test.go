package index

import (
	"fmt"
	"slices"
	"testing"
)

// TestArrivalOfWhatIsDropped drops deliveries of a message before their turn has come.
func TestArrivalOfWhatIsDropped(t *testing.T) {
	const many = 8
	number := Number(1, 1000)
	entry := func(n int) *Entry {
		return &Entry{Message: number, Destination: fmt.Sprintf("d%d", n), AtOnce: true, Since: int64(n)}
	}
	arrive := func() (x *Index, a *Arrival, slots []Slot) {
		x = New()
		a = x.Arrive(number)
		for n := range many {
			a.Add(*entry(n))
		}
		a.Appear()
		for n := range many {
			s, ok := x.Find(number, fmt.Sprintf("d%d", n))
			if !ok {
				t.Fatalf("delivery %d is not there", n)
			}
			slots = append(slots, s)
		}
		return x, a, slots
	}
	queue := func(x *Index, a *Arrival) {
		t.Helper()
		for n := 1; a.Queue(3); n++ {
			if n > many {
				t.Fatal("it does not end")
			}
		}
		if err := x.verify(); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("all", func(t *testing.T) {
		x, a, slots := arrive()
		for _, s := range slots {
			x.Remove(s)
		}
		queue(x, a)
		if list, _, ok := x.taken(start, Bounds{Max: many}); list != nil || ok {
			t.Errorf("%v are claimed", list)
		}
	})
	t.Run("some", func(t *testing.T) {
		x, a, slots := arrive()
		a.Queue(2)
		x.Remove(slots[0])
		x.Remove(slots[4])
		queue(x, a)
		if list, _, _ := x.taken(start, Bounds{Max: many}); !slices.Equal(list, []string{"d1", "d2", "d3", "d5", "d6", "d7"}) {
			t.Errorf("%v are claimed", list)
		}
	})
	t.Run("and are there again", func(t *testing.T) {
		x, a, slots := arrive()
		a.Queue(2)
		x.Remove(slots[4])
		if x.Set(entry(4)) != slots[4] {
			t.Fatal("it is in another slot: this shows nothing")
		}
		queue(x, a)
		if list, _, _ := x.taken(start, Bounds{Max: many}); !slices.Equal(list, []string{"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"}) {
			t.Errorf("%v are claimed", list)
		}
	})
	t.Run("for others", func(t *testing.T) {
		x, a, slots := arrive()
		x.Remove(slots[4])
		if x.Set(&Entry{Message: Number(2, 1), Destination: "d4", AtOnce: true, Since: 100}) != slots[4] {
			t.Fatal("it is in another slot: this shows nothing")
		}
		queue(x, a)
		if list, _, _ := x.taken(start, Bounds{Max: 2 * many}); len(list) != many {
			t.Errorf("%v are claimed", list)
		}
	})
	t.Run("in turns", func(t *testing.T) {
		x, a, _ := arrive()
		for turn, want := range []int{3, 3, 2, 0} {
			more := a.Queue(3)
			if list, _, _ := x.taken(start, Bounds{Max: many}); len(list) != want || more != (turn < 2) {
				t.Errorf("turn %d: %d are claimed, and there are more: %t; want %d", turn, len(list), more, want)
			}
		}
	})
}
