package index

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// verify says what is wrong with the form of the set.
func (o *ordinals) verify(t *testing.T) {
	t.Helper()
	if !slices.IsSorted(o.keys) || len(o.blocks) != len(o.keys) {
		t.Fatalf("%d blocks and %d keys, in order %t", len(o.blocks), len(o.keys), slices.IsSorted(o.keys))
	}
	for i := range o.blocks {
		b := &o.blocks[i]
		if b.n == 0 || (b.bits == nil) != (b.few != nil) || !slices.IsSorted(b.few) || b.bits == nil && len(b.few) != b.n {
			t.Fatalf("a block of %d lists %d, and has bits %t", b.n, len(b.few), b.bits != nil)
		}
		if b.n >= blockFew && b.bits == nil || b.n <= blockFew/4 && b.bits != nil {
			t.Fatalf("a block of %d has bits: %t", b.n, b.bits != nil)
		}
	}
}

// TestFormOfOrdinals adds and removes ordinals at the ends of blocks, over what they list
// and below it.
func TestFormOfOrdinals(t *testing.T) {
	const block = 1 << blockBits
	var o ordinals
	o.remove(5)
	if _, ok := o.next(0); ok {
		t.Error("an empty set has a first")
	}
	is := func(from uint64, want ...uint64) {
		t.Helper()
		o.verify(t)
		var got []uint64
		for n, ok := o.next(from); ok && len(got) <= len(want); n, ok = o.next(n + 1) {
			got = append(got, n)
		}
		if !slices.Equal(got, want) {
			t.Errorf("from %d on: %v, want %v", from, got, want)
		}
	}
	o.add(block - 1)
	o.add(3 * block)
	o.add(0)
	o.add(0)
	o.add(block - 1)
	is(0, 0, block-1, 3*block)
	is(1, block-1, 3*block)
	is(block-1, block-1, 3*block)
	is(block, 3*block)
	is(3*block, 3*block)
	is(3*block + 1)
	is(9 * block)
	o.remove(1)
	o.remove(block)
	o.remove(3*block + 1)
	is(0, 0, block-1, 3*block)
	o.remove(3 * block)
	o.remove(0)
	is(0, block-1)
	o.remove(block - 1)
	is(0)

	rng := rand.New(rand.NewPCG(1, 1))
	var want []uint64
	for n := range uint64(blockFew + 3) {
		want = append(want, 2*block+n*29)
	}
	want = append(want, 3*block-1)
	shuffled := slices.Clone(want)
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for i, n := range shuffled {
		o.add(n)
		o.add(n)
		if i == 10 || i > blockFew-4 {
			o.verify(t)
		}
	}
	for range blockFew / 4 { // it does not go from one form to the other and back
		o.remove(want[1])
		want = slices.Delete(want, 1, 2)
	}
	if i, _ := o.find(want[0]); o.blocks[i].bits == nil {
		t.Errorf("a block of %d lists them again", o.blocks[i].n)
	}
	is(0, want...)
	is(2*block+1, want[1:]...)
	is(3*block-1, 3*block-1)
	is(3 * block)
	for len(want) > 0 {
		o.remove(2*block + 1) // never was
		i := len(want) - 1 - len(want)%2*(len(want)-1)/2
		o.remove(want[i])
		o.remove(want[i])
		want = slices.Delete(want, i, i+1)
		if n := len(want); n < 20 || n%500 == 0 || n > blockFew/4-3 && n < blockFew/4+3 {
			is(0, want...)
		}
	}
	if len(o.keys)+len(o.blocks) > 0 {
		t.Errorf("%d blocks are left", len(o.blocks))
	}
}

// TestLastOfABlock has the last ordinal of a block stay while others go.
func TestLastOfABlock(t *testing.T) {
	const last = 1<<blockBits - 1
	var o ordinals
	for n := range uint64(blockFew) {
		o.add(last - n)
	}
	for n := uint64(blockFew - 1); n > 0; n-- {
		o.remove(last - n)
		o.verify(t)
		if first, ok := o.next(0); !ok || first != last-n+1 {
			t.Fatalf("the first is %d, %t, want %d", first, ok, last-n+1)
		}
		if _, ok := o.next(last + 1); ok {
			t.Fatal("there is another behind the last")
		}
	}
}
