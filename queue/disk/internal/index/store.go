package index

import "math"

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

// Flags are what else is known of a delivery.
type Flags uint8

// The flags.
const (
	Held       Flags = 1 << iota // the message is on hold
	AtMostOnce                   // the message's guarantee
	Marked                       // about to be sent, and not settled since
	InFile                       // the content is in a file of its own
	leased                       // there is a lease, which may have ended
	used                         // the slot is taken
	flushed                      // due by a flush, which its record does not say
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
	return x.lanes[c.lane[i]]
}

// alloc takes a free slot.
func (x *Index) alloc() Slot {
	if x.free == none {
		base := uint32(len(x.chunks)) * chunkLen
		c := new(chunk)
		for i := range c.next {
			c.next[i] = base + uint32(i) + 1
		}
		c.next[chunkLen-1] = none
		x.chunks = append(x.chunks, c)
		x.free = base
	}
	s := Slot(x.free)
	c, i := x.at(s)
	x.free = c.next[i]
	return s
}

func (x *Index) release(s Slot) {
	c, i := x.at(s)
	c.when[i] = 0
	c.next[i] = x.free
	x.free = uint32(s)
}
