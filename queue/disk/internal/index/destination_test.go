package index

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// TestPostponementOfManyLanes postpones a destination with the mail of very many tenants
// and lifts that: it costs the same however many they are, and the next claim goes by it.
func TestPostponementOfManyLanes(t *testing.T) {
	for _, many := range []int{1, fewLanes - 1, fewLanes, fewLanes + 1, 100} {
		x := New()
		x.At(start)
		for n := range many {
			x.set(n+1, "a", fmt.Sprint(n), start)
		}
		if own := x.dest(x.names["a"]).own != nil; own != (many > fewLanes) {
			t.Errorf("%d lanes have heaps of their own: %t", many, own)
		}
		x.set(many+1, "b", "", start)
		claim := func(now time.Time) (n int) { return len(x.seen(now, "me")) }
		later := start.Add(time.Hour)
		for range 10 {
			for what, c := range map[string]struct {
				do   func()
				want int
			}{
				"postponed": {func() { x.Postpone(Postponement{Name: "a", Until: later}) }, 1},
				"parked":    {func() { x.Park("me", "a", later) }, 1},
				"both":      {func() { x.Postpone(Postponement{Name: "a", Until: later}); x.Park("me", "a", later) }, 1},
			} {
				before := x.Work()
				c.do()
				if n := x.Work() - before; n > 2*fewLanes {
					t.Errorf("%d lanes are %s: %d are looked at at once", many, what, n)
				}
				if err := x.verify(); err != nil {
					t.Fatalf("%d lanes are %s: %v", many, what, err)
				}
				if got := claim(start); got != c.want {
					t.Errorf("%d lanes are %s: %d are claimed", many, what, got)
				}
				x.Postpone(Postponement{Name: "a"})
				x.Unpark("me", "a")
				if got := claim(start); got != many+1 {
					t.Errorf("%d lanes were %s: %d are claimed", many, what, got)
				}
			}
		}
		for range 50 {
			x.Postpone(Postponement{Name: "a", Until: later})
		}
		if x.stale.n > 1 || many <= fewLanes && x.stale.n > 0 {
			t.Errorf("%d lanes are postponed again and again: %d destinations are to be looked at", many, x.stale.n)
		}
		if many > fewLanes { // the rest is done in pieces
			pieces := 1
			for x.Advance(start, 10) {
				pieces++
			}
			if want := (many - fewLanes + 10) / 10; pieces != want {
				t.Errorf("%d lanes are looked at in %d pieces, want %d", many, pieces, want)
			}
		}
		if err := x.verify(); err != nil || x.stale.n > 0 {
			t.Errorf("%d lanes: %d destinations are to be looked at: %v", many, x.stale.n, err)
		}
	}
}

// TestLanesGoWhileTheyAreToBeMoved removes the deliveries of a destination, in any order,
// some of whose lanes do not stand yet where they belong.
func TestLanesGoWhileTheyAreToBeMoved(t *testing.T) {
	for _, step := range []int{1, 7, 49} {
		const many = 50
		x := New()
		x.At(start)
		var slots []Slot
		for n := range many {
			slots = append(slots, x.set(n+1, "a", fmt.Sprint(n), start))
		}
		x.Postpone(Postponement{Name: "a", Until: after(5)})
		for n := range many {
			x.Remove(slots[n*step%many])
			if err := x.verify(); err != nil {
				t.Fatal(err)
			}
		}
		x.Postpone(Postponement{Name: "a"})
		for n := range many { // another has its number
			x.set(many+n+1, "b", fmt.Sprint(n), start)
		}
		if got := len(x.seen(start, "")); got != many {
			t.Errorf("%d are claimed, want %d", got, many)
		}
		if err := x.verify(); err != nil {
			t.Error(err)
		}
	}
}

// TestNamesAreCopied keeps no memory of what a name is part of.
func TestNamesAreCopied(t *testing.T) {
	long := strings.Repeat("x", 1000)
	x := New()
	x.set(1, long[:5], long[:7], start)
	for name := range x.names {
		if unsafe.StringData(name) == unsafe.StringData(long) {
			t.Error("the name of a destination keeps what it is part of")
		}
	}
	for name := range x.tenants {
		if unsafe.StringData(name) == unsafe.StringData(long) {
			t.Error("the name of a tenant keeps what it is part of")
		}
	}
}

// TestPostponementsOfASegment asks for those recorded in a segment, some at a time.
func TestPostponementsOfASegment(t *testing.T) {
	x := New()
	for n := range 10 {
		x.Postpone(Postponement{Name: fmt.Sprint(n), Until: after(5), Record: Place{Segment: uint16(n % 2)}})
	}
	if list, next := x.Postponements(7, 0, 3); list != nil || next != 0 {
		t.Errorf("in a segment without any are %d, and more from %d on", len(list), next)
	}
	list, next := x.Postponements(1, 0, 3)
	if len(list) != 1 || next != 3 {
		t.Errorf("%d of three, and more from %d on", len(list), next)
	}
	if list, next = x.Postponements(1, 3, 7); len(list) != 4 || next != 0 {
		t.Errorf("%d of the rest, and more from %d on", len(list), next)
	}
}

// TestMicros is the scale of times.
func TestMicros(t *testing.T) {
	const last = 1<<56 - 1
	for _, c := range []struct {
		at   time.Time
		want int64
	}{
		{time.Time{}, 0},
		{time.Unix(-1, 999_999_999), 0},
		{time.Unix(0, 0), 0},
		{time.Unix(0, 999), 0},
		{time.Unix(0, 1000), 1},
		{time.Unix(1, 999_999_999), 1_999_999},
		{time.Unix(1e9, 123_456_789), 1e15 + 123_456},
		{time.UnixMicro(last - 5), last - 5},
		{time.UnixMicro(last), last},
		{time.UnixMicro(last + 1), last},
		{time.Unix(last/1_000_000, 999_999_999), last},
		{time.Unix(last/1_000_000+1, 0), last},
		{time.Unix(1<<60, 0), last},
	} {
		if got := Micros(c.at); got != c.want {
			t.Errorf("%v is %d, want %d", c.at, got, c.want)
		}
	}
	x := New()
	for since, want := range map[int64]int64{-5: 0, 0: 0, last: last, last + 1: last, 1<<63 - 1: last} {
		s := x.Set(&Entry{Message: Number(1, 1), Destination: "a", Since: since})
		if got := x.Get(s).Since; got != want {
			t.Errorf("due from %d on, want %d", got, want)
		}
	}
}

// TestUnknownDestinations asks for what is known of names that nobody has, while another
// destination has the first number, and while none has.
func TestUnknownDestinations(t *testing.T) {
	at := Place{1, 5}
	for _, x := range []*Index{New(), New()} {
		if x.At(start); x.Len() == 0 && len(x.names) == 0 {
			x.Postpone(Postponement{Name: "a", Until: after(5), Record: at})
		}
		x.MovePostponement("b", at, Place{1, 6})
		x.Forget("b")
		if x.RecordedAfter("b", Place{1, 1}) || x.IsPostponed("b") || x.Over(&Postponement{Name: "b", Until: start}) {
			t.Error("something is known of a name that nobody has")
		}
		if until, _ := x.Postponed("b"); !until.IsZero() {
			t.Errorf("a name that nobody has is postponed to %v", until)
		}
		if !x.RecordedAfter("a", Place{1, 4}) || x.RecordedAfter("a", at) || x.RecordedAfter("a", Place{2, 1}) {
			t.Error("a postponement is recorded elsewhere")
		}
		if err := x.verify(); err != nil {
			t.Error(err)
		}
	}
	x := New()
	x.Forget("b")
	x.MovePostponement("b", at, at)
	if x.RecordedAfter("b", at) || x.IsPostponed("b") || len(x.names) != 0 {
		t.Error("an empty index knows a name")
	}
}
