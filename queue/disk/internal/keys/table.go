package keys

import "encoding/binary"

// table is a hash table of numbers of entries, in parts that grow each by itself, so
// that little is moved at a time.
type table struct{ parts []part }

// partBits is how many bits of a hash say which part it belongs to. A generation with as
// many entries as it may have has about 512 in each.
const partBits = 8

// part is a hash table with open addressing. The bits of the hash that a slot has say
// where it belongs, too, however large the part.
type part struct {
	slots []uint64 // bits of the hash, not all zero, and the number; 0 is free
	used  int
}

// numberBits is how many bits of a slot the number has.
const numberBits = 18

func mark(h *Hash) uint64 { return max(binary.LittleEndian.Uint64(h[:])>>numberBits, 1) }

func (t *table) insert(h *Hash, n uint32) {
	if t.parts == nil {
		t.parts = make([]part, 1<<partBits)
	}
	m := mark(h)
	p := &t.parts[m%(1<<partBits)]
	if 4*(p.used+1) > 3*len(p.slots) {
		p.grow()
	}
	p.put(m<<numberBits | uint64(n))
	p.used++
}

func (p *part) grow() {
	old := p.slots
	p.slots = make([]uint64, max(8, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			p.put(slot)
		}
	}
}

func (p *part) put(slot uint64) {
	mask := uint64(len(p.slots) - 1)
	at := slot >> (numberBits + partBits) & mask
	for p.slots[at] != 0 {
		at = (at + 1) & mask
	}
	p.slots[at] = slot
}

// find appends every number that may be the hash's.
func (t *table) find(h *Hash, list []int) []int {
	m := mark(h)
	if t.parts == nil || len(t.parts[m%(1<<partBits)].slots) == 0 {
		return list
	}
	slots := t.parts[m%(1<<partBits)].slots
	mask := uint64(len(slots) - 1)
	for at := m >> partBits & mask; slots[at] != 0; at = (at + 1) & mask {
		if slots[at]>>numberBits == m {
			list = append(list, int(slots[at]&(1<<numberBits-1)))
		}
	}
	return list
}
