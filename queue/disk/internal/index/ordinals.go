package index

import (
	"math/bits"
	"slices"
)

// ordinals is the ordered set of the ordinals of existing messages. They rise as
// messages come, so those of a queue that is being worked off are close together: one
// bit each, in blocks. If only few are left in a block, it lists them in two bytes
// each.
type ordinals struct {
	keys   []uint32 // ascending: what the ordinals of a block have above their last bits
	blocks []block  // parallel to keys
}

// block is the ordinals that differ in the last blockBits bits alone.
type block struct {
	n    int
	few  []uint16 // ascending, if there are no bits
	bits *[1 << (blockBits - 6)]uint64
}

const (
	blockBits = 16
	blockFew  = 1 << (blockBits - 5) // from so many on bits take less, or not much more
)

func (o *ordinals) find(n uint64) (i int, found bool) {
	key := uint32(n >> blockBits)
	if last := len(o.keys) - 1; last >= 0 && o.keys[last] == key {
		return last, true
	}
	return slices.BinarySearch(o.keys, key)
}

func (o *ordinals) add(n uint64) {
	i, found := o.find(n)
	if !found {
		o.keys = slices.Insert(o.keys, i, uint32(n>>blockBits))
		o.blocks = slices.Insert(o.blocks, i, block{})
	}
	o.blocks[i].add(uint16(n))
}

func (o *ordinals) remove(n uint64) {
	i, found := o.find(n)
	if !found {
		return
	}
	if o.blocks[i].remove(uint16(n)); o.blocks[i].n == 0 {
		o.keys = slices.Delete(o.keys, i, i+1)
		o.blocks = slices.Delete(o.blocks, i, i+1)
	}
}

// next is the first ordinal that is not less than n.
func (o *ordinals) next(n uint64) (uint64, bool) {
	i, found := o.find(n)
	if found {
		if low, ok := o.blocks[i].next(int(uint16(n))); ok {
			return uint64(o.keys[i])<<blockBits | low, true
		}
		i++
	}
	if i == len(o.keys) {
		return 0, false
	}
	low, _ := o.blocks[i].next(0)
	return uint64(o.keys[i])<<blockBits | low, true
}

func (b *block) add(v uint16) {
	if b.bits != nil {
		if w := &b.bits[v/64]; *w>>(v%64)&1 == 0 {
			*w |= 1 << (v % 64)
			b.n++
		}
		return
	}
	i, found := len(b.few), false
	if i > 0 && b.few[i-1] >= v {
		i, found = slices.BinarySearch(b.few, v)
	}
	if found {
		return
	}
	b.n++
	if b.few = slices.Insert(b.few, i, v); b.n < blockFew {
		return
	}
	b.bits = new([1 << (blockBits - 6)]uint64)
	for _, v := range b.few {
		b.bits[v/64] |= 1 << (v % 64)
	}
	b.few = nil
}

func (b *block) remove(v uint16) {
	if b.bits == nil {
		if i, found := slices.BinarySearch(b.few, v); found {
			b.few = slices.Delete(b.few, i, i+1)
			b.n--
		}
		return
	}
	w := &b.bits[v/64]
	if *w>>(v%64)&1 == 0 {
		return
	}
	*w &^= 1 << (v % 64)
	if b.n--; b.n > blockFew/4 {
		return
	}
	b.few = make([]uint16, 0, blockFew/2)
	for at := 0; ; at++ {
		low, ok := b.next(at)
		if !ok {
			break
		}
		b.few = append(b.few, uint16(low))
		at = int(low)
	}
	b.bits = nil
}

// next is the first that is not less than v.
func (b *block) next(v int) (uint64, bool) {
	if b.bits == nil {
		i, _ := slices.BinarySearchFunc(b.few, v, func(have uint16, v int) int { return int(have) - v })
		if i == len(b.few) {
			return 0, false
		}
		return uint64(b.few[i]), true
	}
	if v >= 1<<blockBits {
		return 0, false
	}
	w := b.bits[v/64] >> (v % 64) << (v % 64)
	for i := v / 64; ; w = b.bits[i] {
		if w != 0 {
			return uint64(i*64 + bits.TrailingZeros64(w)), true
		}
		if i++; i == len(b.bits) {
			return 0, false
		}
	}
}
