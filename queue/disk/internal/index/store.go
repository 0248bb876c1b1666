package index

import (
	"math"
	"math/bits"
)

// Slot is a delivery's place in the index. It stays until the delivery is
// removed and may be another's afterwards.
type Slot uint32

const none = math.MaxUint32

// Place is where a frame begins: an index of the table of segments and an
// offset.
type Place struct {
	Segment uint16
	Offset  uint32
}

// Flags are further properties of a delivery.
type Flags uint8

// The flags.
const (
	Held       Flags = 1 << iota // the message is on hold
	AtMostOnce                   // the message's guarantee
	Marked                       // about to be sent, and not settled since
	InFile                       // the content is in a separate file
	leased                       // there is a lease, which may have ended
	used                         // the slot is taken
	flushed                      // due by a flush, which its record does not say
	arriving                     // of a message that is not there yet as a whole, or not to be claimed yet
)

// chunkLen is how many deliveries a chunk holds.
const chunkLen = 4096

// chunk is 34 bytes for each delivery, one column after the other.
type chunk struct {
	when   [chunkLen]uint64 // microseconds since 1970 << 8, flags
	id     [chunkLen]uint64 // message << 16, home segment
	offset [chunkLen]uint32 // of the delivery's record
	size   [chunkLen]uint32 // of the content
	lane   [chunkLen]uint32
	next   [chunkLen]uint32 // in the bucket, or in the list of free slots
	record [chunkLen]uint16 // the segment of the delivery's record
}

func (x *Index) at(s Slot) (*chunk, int) { return x.chunks[s/chunkLen], int(s % chunkLen) }

func (x *Index) message(s Slot) uint64 {
	c, i := x.at(s)
	return c.id[i] >> 16
}

func (x *Index) since(s Slot) uint64 {
	c, i := x.at(s)
	return c.when[i] >> 8
}

func (x *Index) flags(s Slot) Flags {
	c, i := x.at(s)
	return Flags(c.when[i])
}

func (x *Index) setFlag(s Slot, f Flags, on bool) {
	c, i := x.at(s)
	c.when[i] &^= uint64(f)
	if on {
		c.when[i] |= uint64(f)
	}
}

func (x *Index) laneOf(s Slot) *lane {
	c, i := x.at(s)
	return x.lane(c.lane[i])
}

// room is the free space in a chunk.
type room struct {
	free uint32 // the first of a list of slots
	used int32
}

// alloc takes a free slot, of the first chunk that has any, so that the others are
// left.
func (x *Index) alloc() Slot {
	n := x.firstRoom()
	r := &x.rooms[n]
	s := Slot(r.free)
	c, i := x.at(s)
	r.free = c.next[i]
	if r.used++; r.free == none {
		x.roomy[n/64] &^= 1 << (n % 64)
	}
	return s
}

// firstRoom returns the first chunk with a free slot, or a new one if there is none.
func (x *Index) firstRoom() int {
	for ; x.room < len(x.roomy); x.room++ {
		if w := x.roomy[x.room]; w != 0 {
			return x.room*64 + bits.TrailingZeros64(w)
		}
	}
	n := len(x.chunks)
	if last := len(x.gaps) - 1; last >= 0 {
		n, x.gaps = x.gaps[last], x.gaps[:last]
	} else {
		x.chunks, x.rooms = append(x.chunks, nil), append(x.rooms, room{})
	}
	c := new(chunk)
	base := uint32(n) * chunkLen
	for i := range c.next {
		c.next[i] = base + uint32(i) + 1
	}
	c.next[chunkLen-1] = none
	x.chunks[n], x.rooms[n] = c, room{free: base}
	x.hasRoom(n)
	return n
}

func (x *Index) hasRoom(n int) {
	for n/64 >= len(x.roomy) {
		x.roomy = append(x.roomy, 0)
	}
	x.roomy[n/64] |= 1 << (n % 64)
	x.room = min(x.room, n/64)
}

// release gives a slot back, and a chunk that is empty if another is.
func (x *Index) release(s Slot) {
	c, i := x.at(s)
	n := int(s / chunkLen)
	r := &x.rooms[n]
	c.when[i] = 0
	c.next[i] = r.free
	r.free = uint32(s)
	x.hasRoom(n)
	if r.used--; r.used > 0 {
		return
	}
	if e := x.empty; e == n || x.rooms[e].used > 0 {
		x.empty = n
		return
	}
	x.chunks[n] = nil
	x.roomy[n/64] &^= 1 << (n % 64)
	x.gaps = append(x.gaps, n)
}
