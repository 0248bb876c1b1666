package index

// each calls f with every delivery. It may not change the index.
func (x *Index) each(f func(s Slot, c *chunk, i int)) {
	for n, c := range x.chunks {
		if c == nil {
			continue
		}
		for i := range chunkLen {
			if Flags(c.when[i])&used != 0 {
				f(Slot(n*chunkLen+i), c, i)
			}
		}
	}
}

// List appends the numbers of messages above after, in order, until it has looked
// at so many; with a destination only of those that wait for it. It returns where to
// go on, and whether there is more.
func (x *Index) List(list []uint64, after uint64, most int, destination string) (_ []uint64, last uint64, more bool) {
	d, known := x.names[destination]
	if destination != "" && !known {
		return list, after, false
	}
	n, ok := x.ordinals.next(Ordinal(after))
	for ok && most > 0 {
		x.work++
		number := x.numberOf(n)
		if n, ok = x.ordinals.next(n + 1); number <= after {
			continue
		}
		if after = number; destination == "" || x.waitsFor(number, d) {
			list = append(list, number)
		}
		most--
	}
	return list, after, ok
}

// numberOf is the number of the message with an ordinal.
func (x *Index) numberOf(ordinal uint64) uint64 {
	for spread := range uint64(spreadMax + 1) {
		if number := ordinal<<spreadBits | spread; x.Has(number) {
			return number
		}
	}
	return ordinal << spreadBits
}

func (x *Index) waitsFor(message uint64, d uint32) bool {
	return x.chain(message, part(message, d), func(_ Slot, c *chunk, i int) bool {
		return x.lane(c.lane[i]).key.destination == d
	})
}

// AtHome returns the deliveries whose message's record is in any of some segments.
func (x *Index) AtHome(segments ...uint16) []Slot {
	among, any := map[uint16]bool{}, false
	for _, n := range segments {
		among[n] = true
		any = any || x.refs(n).Homes > 0
	}
	var list []Slot
	if !any {
		return nil
	}
	x.each(func(s Slot, c *chunk, i int) {
		if among[uint16(c.id[i])] {
			list = append(list, s)
		}
	})
	return list
}
