package index

import "math/bits"

// wide has the counts of a message with so many deliveries that it would take long to
// look for one of them in all parts of the table.
type wide struct {
	n     int            // deliveries
	homes map[uint16]int // how many have their home in a segment
	parts []uint64       // a bit for each part in which there is one
}

// wideFrom is the spread, in bits, from which on a message is counted.
const wideFrom = 6

func isWide(message uint64) bool { return message&spreadMax >= wideFrom }

// widen returns the counts of a message, and makes them if there are none.
func (x *Index) widen(message uint64) *wide {
	w := x.wide[message]
	if w == nil {
		w = &wide{homes: map[uint16]int{}, parts: make([]uint64, (spread(message)+63)/64)}
		x.wide[message] = w
	}
	return w
}

// linked notes a delivery in a part, and unlinked that one has left it.
func (x *Index) linked(message uint64, part uint32) {
	if isWide(message) {
		w := x.widen(message)
		w.n++
		w.parts[part/64] |= 1 << (part % 64)
	}
}

func (x *Index) unlinked(message uint64, p uint32) {
	if !isWide(message) {
		return
	}
	w := x.wide[message]
	if w.n--; w.n == 0 {
		delete(x.wide, message)
		return
	}
	another := x.chain(message, p, func(_ Slot, c *chunk, i int) bool {
		return part(message, x.lane(c.lane[i]).key.destination) == p
	})
	if !another {
		w.parts[p/64] &^= 1 << (p % 64)
	}
}

// atHome changes how many of a message's deliveries have their home in a segment and
// reports whether there are others than the one that is counted.
func (w *wide) atHome(home uint16, sign int) (others bool) {
	n := w.homes[home] + sign
	if n == 0 {
		delete(w.homes, home)
	} else {
		w.homes[home] = n
	}
	return n > max(0, sign)
}

// nextPart is the first part from one on in which a message may have deliveries.
func (x *Index) nextPart(message uint64, p uint32) (_ uint32, ok bool) {
	if !isWide(message) {
		return p, p < spread(message) && x.table.n > 0
	}
	w := x.wide[message]
	for w != nil && int(p/64) < len(w.parts) {
		if left := w.parts[p/64] >> (p % 64); left != 0 {
			return p + uint32(bits.TrailingZeros64(left)), true
		}
		p = (p/64 + 1) * 64
	}
	return 0, false
}
