package index

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestEnds notes and forgets ends at random.
func TestEnds(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var n Ends
		if _, _, ok := n.First(); ok || n.Len() != 0 {
			t.Fatal("something ends, and nothing has been noted")
		}
		n.Delete(1)
		want := map[uint64]int64{}
		many := []int{5, 60, 300, 2000}[seed]
		check := func() {
			t.Helper()
			for i := 1; i < n.heap.list.n; i++ {
				if n.heap.at(i).at < n.heap.at((i-1)/2).at {
					t.Fatalf("seed %d: the ends are not in order", seed)
				}
			}
			for i := range n.heap.list.n {
				if n.heap.at(i).pos != i {
					t.Fatalf("seed %d: an end is not where it stands", seed)
				}
			}
			if got := maps.Collect(n.All()); !maps.Equal(got, want) || n.Len() != len(want) {
				t.Fatalf("seed %d: %d ends, want %d", seed, len(got), len(want))
			}
			message, at, ok := n.First()
			if ok != (len(want) > 0) {
				t.Fatalf("seed %d: something ends first: %t", seed, ok)
			}
			if ok && (want[message] != at || at != slices.Min(slices.Collect(maps.Values(want)))) {
				t.Fatalf("seed %d: %d ends first, at %d", seed, message, at)
			}
		}
		for i := range 3 * many {
			message := rng.Uint64N(uint64(many))
			if rng.IntN(3) > 0 {
				want[message] = rng.Int64N(1000)
				n.Set(message, want[message])
			} else {
				delete(want, message)
				n.Delete(message)
			}
			at, ok := n.Of(message)
			if w, there := want[message]; ok != there || at != w {
				t.Fatalf("seed %d: %d ends at %d, %t, want %d, %t", seed, message, at, ok, w, there)
			}
			if i%(many/5) == 0 {
				check()
			}
		}
		check()
		for range n.All() {
			break
		}
		var order []int64
		for message, at, ok := n.First(); ok; message, at, ok = n.First() {
			order = append(order, at)
			delete(want, message)
			n.Delete(message)
		}
		if check(); !slices.IsSortedFunc(order, cmp.Compare) {
			t.Errorf("seed %d: they end out of order", seed)
		}
	}
}
