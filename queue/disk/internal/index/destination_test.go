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
