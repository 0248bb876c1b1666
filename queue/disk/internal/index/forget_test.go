package index

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestWhatHasGoneIsForgotten empties an index but for a few deliveries, whichever they
// are: it keeps chunks and buckets for what is left, and forgets tenants and
// destinations, also of what went while a checkpoint was being taken.
func TestWhatHasGoneIsForgotten(t *testing.T) {
	const many, left = 9 * chunkLen, 3
	for name, order := range map[string]func(slots []Slot){
		"the first go first": func([]Slot) {},
		"in any order": func(slots []Slot) {
			rng := rand.New(rand.NewPCG(1, 1))
			rng.Shuffle(many, func(i, j int) { slots[i], slots[j] = slots[j], slots[i] })
		},
	} {
		for _, pinned := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " pinned ", pinned), func(t *testing.T) {
				x := New()
				slots := make([]Slot, many)
				for n := range slots {
					slots[n] = x.Set(&Entry{Message: Number(uint64(n+1), 1), AtOnce: true,
						Destination: fmt.Sprintf("d%d.example", n%1000), Tenant: fmt.Sprint(n % 500)})
				}
				if pinned {
					x.Pin()
				}
				order(slots)
				for _, s := range slots[left:] {
					x.Remove(s)
				}
				if pinned {
					x.Unpin()
					for x.Loose(100) {
					}
				}
				if err := x.verify(); err != nil {
					t.Fatal(err)
				}
				chunks := 0
				for _, c := range x.chunks {
					if c != nil {
						chunks++
					}
				}
				if chunks > left+1 || len(x.table.pages) > 2 {
					t.Errorf("%d of %d chunks and %d pages of buckets are kept for %d deliveries", chunks, many/chunkLen, len(x.table.pages), left)
				}
				if tenants, _ := x.Tenants(nil, 0, many); len(tenants) > left || len(x.names) > left {
					t.Errorf("%d tenants and %d destinations are known of %d deliveries", len(tenants), len(x.names), left)
				}
				for n := range many { // the room is used again
					x.Set(&Entry{Message: Number(uint64(many+n+1), 1), AtOnce: true,
						Destination: fmt.Sprintf("e%d.example", n%1000), Tenant: fmt.Sprint("t", n%500)})
				}
				if x.Len() != many+left || len(x.chunks) > many/chunkLen+2 {
					t.Errorf("%d deliveries in %d chunks", x.Len(), len(x.chunks))
				}
				got := 0
				x.Claim(time.Unix(1e9, 0), Bounds{Max: 2 * many}, func(s Slot) { got++; x.Lease(s, 1, time.Unix(2e9, 0), nil) })
				if got != many+left {
					t.Errorf("%d are claimed, want %d", got, many+left)
				}
			})
		}
	}
}

// TestFlushBesideForgottenDestinations flushes everything while there are numbers of
// destinations that nobody has: nothing of others is taken for theirs.
func TestFlushBesideForgottenDestinations(t *testing.T) {
	x := New()
	x.Postpone(Postponement{Name: "nobody.example"})
	if f := (Flushing{}); !x.Flush(&f, 10) || f.Count != 0 {
		t.Errorf("a flush of nothing counted %d, or did not end", f.Count)
	}
	var slots []Slot
	for n := range 6 {
		slots = append(slots, x.Set(&Entry{Message: Number(uint64(n+1), 1), Since: 1000, Destination: fmt.Sprintf("d%d.example", n)}))
	}
	for _, s := range slots[1:] { // the numbers of all but the first have nobody
		x.Remove(s)
	}
	f := Flushing{}
	if !x.Flush(&f, len(slots)+2) || f.Count != 1 || x.Flushed() != 1 {
		t.Errorf("a flush of one counted %d and made %d due, or did not end", f.Count, x.Flushed())
	}
}

// TestNumbersAreGivenAgain has destinations and tenants come and go: not more numbers are
// used than there are at a time.
func TestNumbersAreGivenAgain(t *testing.T) {
	x := New()
	x.set(1, "a", "t", time.Unix(1, 0))
	for n := range 100 {
		s := x.set(n+2, fmt.Sprint("d", n), fmt.Sprint("t", n), time.Unix(1, 0))
		x.Claim(time.Unix(1, 0), Bounds{Max: 0}, nil)
		x.Remove(s)
	}
	if x.destinations.n != 2 || x.tenantNames.n != 2 || x.lanes.n != 2 {
		t.Errorf("numbers for %d destinations, %d tenants and %d lanes, want 2", x.destinations.n, x.tenantNames.n, x.lanes.n)
	}
	if err := x.verify(); err != nil {
		t.Error(err)
	}
}

// TestWhatGoesTwiceWhilePinned has a destination and a tenant go twice while numbers are
// pinned: each number is given to one other afterwards.
func TestWhatGoesTwiceWhilePinned(t *testing.T) {
	for i, tenants := range [][]string{{"t", "u"}, {"t", ""}, {"", "u"}, {"t", "u"}, {"t", ""}, {"", "u"}} {
		x := New()
		var first Slot
		if i < 3 {
			x.set(1, "a", tenants[1], time.Unix(1, 0))
		} else { // who goes has the first number
			first = x.set(2, "b", tenants[0], time.Unix(1, 0))
			x.set(1, "a", tenants[1], time.Unix(1, 0))
		}
		x.Pin()
		if i >= 3 {
			x.Remove(first)
		}
		for range 3 {
			x.Remove(x.set(2, "b", tenants[0], time.Unix(1, 0)))
		}
		if x.Loose(10) {
			t.Error("what is pinned is forgotten")
		}
		if _, known := x.names["b"]; !known {
			t.Error("a number that is pinned is given up")
		}
		x.Unpin()
		for pieces := 1; x.Loose(1); pieces++ {
			if pieces > 8 {
				t.Fatal("it does not end")
			}
		}
		for n := range 4 {
			x.set(n+10, fmt.Sprint("d", n), fmt.Sprint("t", n), time.Unix(1, 0))
		}
		if err := x.verify(); err != nil || len(x.names) != 5 || x.destinations.n != 5 || x.tenantNames.n != 5 {
			t.Errorf("%q: %d destinations: %v", tenants, len(x.names), err)
		}
	}
}

// TestTenantsOfSomeHeaps has tenants go, of which some heaps of what is due know and
// others do not, or do not know as many.
func TestTenantsOfSomeHeaps(t *testing.T) {
	x := New()
	x.At(time.Unix(1, 0))
	var slots []Slot
	for n := range 200 { // which is more than a page
		slots = append(slots, x.set(n+1, fmt.Sprint(n), fmt.Sprint(n), time.Unix(1, 0)))
	}
	x.Park("low", "0", time.Unix(2, 0))
	x.Park("high", "150", time.Unix(2, 0))
	for _, n := range []int{1, 10, 63, 64, 100, 151, 199, 0, 150} {
		x.Remove(slots[n])
		if err := x.verify(); err != nil {
			t.Fatalf("tenant %d goes: %v", n, err)
		}
	}
}

// TestLooseInPieces forgets what has gone so much at a time.
func TestLooseInPieces(t *testing.T) {
	x := New()
	x.Pin()
	x.Pin()
	for n := range 5 {
		x.Remove(x.set(n+1, fmt.Sprint("d", n), fmt.Sprint("t", n), time.Unix(1, 0)))
	}
	x.Unpin()
	if x.Loose(3) || len(x.names) != 5 {
		t.Error("what is still pinned is forgotten")
	}
	x.Unpin()
	for _, want := range []struct {
		names, tenants int
		more           bool
	}{{2, 5, true}, {0, 4, true}, {0, 1, true}, {0, 0, false}} {
		if more := x.Loose(3); len(x.names) != want.names || len(x.tenants) != want.tenants || more != want.more {
			t.Errorf("%d destinations and %d tenants are left, more to do %t; want %+v", len(x.names), len(x.tenants), more, want)
		}
	}
}
