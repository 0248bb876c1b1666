package index

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPile compares piles with sorted lists, while they grow, stay and shrink, at
// random places and at their ends.
func TestPile(t *testing.T) {
	less := func(a, b uint32) bool { return a < b }
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var (
			p    pile
			want []uint32
		)
		check := func() {
			t.Helper()
			var got []uint32
			for _, page := range p.pages {
				if len(page) == 0 || len(page) > pilePage {
					t.Fatalf("seed %d: a page of %d", seed, len(page))
				}
				got = append(got, page...)
			}
			if !slices.Equal(got, want) || p.n != len(want) {
				t.Fatalf("seed %d: %d in the pile, want %d", seed, len(got), len(want))
			}
		}
		grow := []int{90, 50, 10}
		next := uint32(0)
		for phase := range grow {
			for range 8_000 {
				if rng.IntN(100) < grow[phase] || len(want) == 0 {
					v := next<<8 | uint32(rng.IntN(256))
					if seed%3 > 0 {
						v = rng.Uint32()
					}
					next++
					i, found := slices.BinarySearch(want, v)
					if found {
						continue
					}
					want = slices.Insert(want, i, v)
					p.insert(v, less)
					continue
				}
				i := 0
				if seed%2 > 0 {
					i = rng.IntN(len(want))
				}
				p.remove(want[i], less)
				want = slices.Delete(want, i, i+1)
			}
			check()
			if len(want) > 0 {
				i := rng.IntN(len(want))
				page, at := p.seek(func(v uint32) bool { return v < want[i] })
				if got := p.pages[page][at]; got != want[i] || p.first() != Slot(want[0]) {
					t.Fatalf("seed %d: found %d, want %d", seed, got, want[i])
				}
			}
		}
		for len(want) > 0 {
			i := rng.IntN(len(want))
			p.remove(want[i], less)
			want = slices.Delete(want, i, i+1)
		}
		if check(); p.pages != nil {
			t.Errorf("seed %d: an empty pile has %d pages", seed, len(p.pages))
		}
	}
}

// TestPileIsFull holds what a pile takes to 4 bytes for each number that comes in
// order, and to a quarter more where they come as they like. What is left of one that
// was long takes no more than twice what it needs.
func TestPileIsFull(t *testing.T) {
	less := func(a, b uint32) bool { return a < b }
	for name, of := range map[string]struct {
		next func(n int, rng *rand.Rand) uint32
		most float64
	}{
		"in order":  {func(n int, _ *rand.Rand) uint32 { return uint32(n) }, 1.01},
		"at random": {func(_ int, rng *rand.Rand) uint32 { return rng.Uint32() }, 1.3},
	} {
		rng := rand.New(rand.NewPCG(1, 1))
		var p pile
		list := map[uint32]bool{}
		for n := range 150_000 {
			if v := of.next(n, rng); !list[v] {
				list[v] = true
				p.insert(v, less)
			}
		}
		full := func() float64 {
			room := 0
			for _, page := range p.pages {
				room += max(cap(page), pilePage)
			}
			return float64(room) / float64(p.n)
		}
		if got := full(); got > of.most {
			t.Errorf("%s: room for %.2f numbers each, want %.2f", name, got, of.most)
		} else {
			t.Logf("%s: room for %.2f numbers each", name, got)
		}
		for v := range list {
			if p.n > 5_000 {
				p.remove(v, less)
			}
		}
		if got := full(); got > 4 {
			t.Errorf("%s: room for %.2f of what is left, want 4", name, got)
		}
	}
}

// TestOrdinals compares the set with a sorted list, dense and sparse.
func TestOrdinals(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var (
			o    ordinals
			want []uint64
		)
		span := []uint64{1 << 13, 1 << 17, 1 << 30}[seed%3]
		for phase, grow := range []int{90, 50, 10, 0} {
			for range 12_000 {
				v := rng.Uint64N(span)
				if phase == 0 && seed < 3 {
					v = uint64(len(want)) * span / 12_000
				}
				i, found := slices.BinarySearch(want, v)
				switch {
				case rng.IntN(100) < grow:
					o.add(v)
					if !found {
						want = slices.Insert(want, i, v)
					}
				case found:
					o.remove(v)
					want = slices.Delete(want, i, i+1)
				case len(want) > 0:
					i := rng.IntN(len(want))
					o.remove(want[i])
					want = slices.Delete(want, i, i+1)
				}
			}
			var got []uint64
			for n, ok := o.next(0); ok; n, ok = o.next(n + 1) {
				got = append(got, n)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: %d ordinals, want %d", seed, len(got), len(want))
			}
		}
		for _, v := range want {
			o.remove(v)
		}
		if len(o.keys)+len(o.blocks) > 0 {
			t.Errorf("seed %d: %d blocks are left of an empty set", seed, len(o.blocks))
		}
	}
}
