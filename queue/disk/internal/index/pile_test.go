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

// pileOf is a pile with pages of such lengths, of numbers 10 apart.
func pileOf(lengths ...int) *pile {
	p := &pile{}
	v := uint32(0)
	for _, n := range lengths {
		page := make([]uint32, 0, pilePage)
		for range n {
			v += 10
			page = append(page, v)
		}
		p.pages, p.n = append(p.pages, page), p.n+n
	}
	return p
}

// TestPagesOfAPile inserts into full pages, and removes from those of which little is
// left.
func TestPagesOfAPile(t *testing.T) {
	const full, worth = pilePage, pilePage / 8
	less := func(a, b uint32) bool { return a < b }
	first := func(p *pile, page int) uint32 { return p.pages[page][0] }
	last := func(p *pile, page int) uint32 { return p.pages[page][len(p.pages[page])-1] }
	for _, c := range []struct {
		name  string
		pages []int
		do    func(p *pile)
		want  []int
	}{
		{"behind all", []int{full - 1}, func(p *pile) { p.insert(last(p, 0)+5, less) }, []int{full}},
		{"behind all, which are full", []int{full}, func(p *pile) { p.insert(last(p, 0)+5, less) }, []int{full, 1}},
		{"into a full one alone", []int{full}, func(p *pile) { p.insert(first(p, 0)+5, less) }, []int{full/2 + 1, full / 2}},
		{"into the second half of it", []int{full}, func(p *pile) { p.insert(last(p, 0)-5, less) }, []int{full / 2, full/2 + 1}},
		{"into a full one before one that has room", []int{full, full - 2*worth}, func(p *pile) { p.insert(first(p, 0)+5, less) },
			[]int{full - worth + 1, full - worth}},
		{"to the end of it", []int{full, full - 2*worth}, func(p *pile) { p.insert(last(p, 0)-5, less) }, []int{full - worth, full - worth + 1}},
		{"into a full one before one that has not enough", []int{full, full - 2*worth + 1}, func(p *pile) { p.insert(first(p, 0)+5, less) },
			[]int{full/2 + 1, full / 2, full - 2*worth + 1}},
		{"into a full one behind one that has room", []int{full - 2*worth, full}, func(p *pile) { p.insert(last(p, 1)-5, less) },
			[]int{full - worth, full - worth + 1}},
		{"to the beginning of it", []int{full - 2*worth, full}, func(p *pile) { p.insert(first(p, 1)+5, less) }, []int{full - worth + 1, full - worth}},
		{"into a full one behind one that has not enough", []int{full - 2*worth + 1, full}, func(p *pile) { p.insert(first(p, 1)+5, less) },
			[]int{full - 2*worth + 1, full/2 + 1, full / 2}},
		{"into a full one between others", []int{full - 2*worth, full, full - 2*worth}, func(p *pile) { p.insert(first(p, 1)+5, less) },
			[]int{full - 2*worth, full - worth + 1, full - worth}},
		{"of a page with enough", []int{full / 2, 10}, func(p *pile) { p.remove(first(p, 0), less) }, []int{full/2 - 1, 10}},
		{"of one with just enough", []int{full/4 + 1, 10}, func(p *pile) { p.remove(last(p, 0), less) }, []int{full / 4, 10}},
		{"of one with little, before another", []int{full / 4, 10}, func(p *pile) { p.remove(last(p, 0), less) }, []int{full/4 - 1 + 10}},
		{"of one with little, behind another", []int{10, full / 4}, func(p *pile) { p.remove(last(p, 1), less) }, []int{full/4 - 1 + 10}},
		{"of one with little, between others", []int{10, full / 4, 20}, func(p *pile) { p.remove(last(p, 1), less) }, []int{10, full/4 - 1 + 20}},
		{"of one with little, beside one with just little enough", []int{full / 4, full/2 + 1}, func(p *pile) { p.remove(last(p, 0), less) }, []int{full * 3 / 4}},
		{"of one with little, beside one with too much", []int{full / 4, full/2 + 2}, func(p *pile) { p.remove(last(p, 0), less) }, []int{full/4 - 1, full/2 + 2}},
		{"of one with little that is alone", []int{full / 4}, func(p *pile) { p.remove(last(p, 0), less) }, []int{full/4 - 1}},
		{"the only one of a page", []int{10, 1, 10}, func(p *pile) { p.remove(first(p, 1), less) }, []int{10, 10}},
		{"the only one", []int{1}, func(p *pile) { p.remove(first(p, 0), less) }, nil},
	} {
		p := pileOf(c.pages...)
		before := p.n
		c.do(p)
		var got []int
		var all []uint32
		for _, page := range p.pages {
			got = append(got, len(page))
			all = append(all, page...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: pages of %v, want %v", c.name, got, c.want)
		}
		if n := len(all); !slices.IsSorted(all) || n != p.n || n != before+1 && n != before-1 {
			t.Errorf("%s: %d are there, want %d, in order", c.name, n, p.n)
		}
	}
}

// TestComparisonsOfAPile is how often numbers are compared: not at all to take the first
// out, once to put one behind the last.
func TestComparisonsOfAPile(t *testing.T) {
	p := pileOf(pilePage, pilePage, 500)
	compared := 0
	less := func(a, b uint32) bool { compared++; return a < b }
	for _, c := range []struct {
		name string
		do   func()
		most int
	}{
		{"the first is removed", func() { p.remove(10, less) }, 0},
		{"one is added behind all", func() { p.insert(1e6, less) }, 1},
		{"one is added between others", func() { p.insert(5005, less) }, 14},
		{"one is removed", func() { p.remove(5005, less) }, 13},
	} {
		compared = 0
		if c.do(); compared > c.most {
			t.Errorf("%s: %d comparisons, want at most %d", c.name, compared, c.most)
		}
	}
}
