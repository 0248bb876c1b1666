package index

import "slices"

// each calls f with every delivery. It may not change the index.
func (x *Index) each(f func(s Slot, c *chunk, i int)) {
	for n, c := range x.chunks {
		for i := range chunkLen {
			if Flags(c.when[i])&used != 0 {
				f(Slot(n*chunkLen+i), c, i)
			}
		}
	}
}

// List returns the numbers of the messages above after, in order, at most
// max; with a destination only of those that wait for it.
func (x *Index) List(after uint64, max int, destination string) []uint64 {
	d, known := x.names[destination]
	if destination != "" && !known {
		return nil
	}
	max = min(max, x.messages)
	// A bounded selection: what is above the limit need not be kept.
	limit := uint64(1) << 63
	var list []uint64
	x.each(func(_ Slot, c *chunk, i int) {
		m := c.id[i] >> 16
		if m <= after || m >= limit {
			return
		}
		if destination != "" && x.lanes[c.lane[i]].key.destination != d {
			return
		}
		list = append(list, m)
		if len(list) >= 4*max+1024 {
			slices.Sort(list)
			list = slices.Compact(list)
			if len(list) > max {
				list = list[:max]
				limit = list[max-1]
			}
		}
	})
	slices.Sort(list)
	list = slices.Compact(list)
	return list[:min(len(list), max)]
}

// Flush makes deliveries due at once, from a time on the scale of Entry.Since:
// those of a message, a destination, both, or all. Those due by then keep their
// place; those with a lease and those on hold are left out. It returns how many
// there were. The postponement of their destinations stays.
func (x *Index) Flush(since int64, message uint64, destination string) int {
	n := 0
	if message != 0 {
		for _, s := range x.Slots(message) {
			if e := x.Get(s); destination == "" || e.Destination == destination {
				n += x.flushOne(s, &e, since)
			}
		}
		return n
	}
	for i := range x.destinations {
		d := &x.destinations[i]
		if d.deliveries > 0 && (destination == "" || d.name == destination) {
			n += x.flushDestination(uint32(i), since)
		}
	}
	return n
}

func (x *Index) flushOne(s Slot, e *Entry, since int64) int {
	if x.leases[s] != nil || e.Flags&Held != 0 {
		return 0
	}
	if !e.AtOnce && e.Since > since {
		e.AtOnce, e.Since = true, since
		x.update(s, e)
	}
	return 1
}

func (x *Index) flushDestination(d uint32, since int64) int {
	n := 0
	var later []uint32 // counted after those due at once, which they are moved to
	for l := x.destinations[d].lanes; l != none; l = x.lanes[l].next {
		if x.lanes[l].key.atOnce {
			n += x.unleased(x.lanes[l])
		} else {
			later = append(later, l)
		}
	}
	for _, l := range later {
		n += x.flushLane(l, since)
	}
	return n
}

// flushLane moves what is not due of a lane to the lane of what is due at once.
func (x *Index) flushLane(n uint32, since int64) int {
	from := x.lanes[n]
	from.total++ // neither lane goes before the end
	key := from.key
	key.atOnce = true
	into := x.laneFor(key)
	to := x.lanes[into]
	x.unplace(from) // where they stand depends on their piles
	x.unplace(to)
	moved := from.pile
	from.pile = pile{}
	flushed := 0
	for i := range moved.n {
		s := moved.at(i)
		c, j := x.at(s)
		expired := x.leases[s] != nil // whoever had the lease may still settle
		if !expired {
			flushed++
		}
		if expired || int64(c.when[j]>>8) <= since {
			from.pile.grow(s)
			continue
		}
		c.when[j] = uint64(clampSince(since))<<8 | c.when[j]&0xff
		c.lane[j] = into
		to.pile.grow(s)
		to.total++
		from.total--
	}
	for _, l := range []*lane{from, to} {
		x.heapify(&l.pile)
		x.place(l)
	}
	x.leaveLane(n)
	x.leaveLane(into)
	return flushed
}

// unleased counts the deliveries in a lane's pile that nobody may settle.
func (x *Index) unleased(l *lane) int {
	n := l.pile.n
	if len(x.leases) == 0 {
		return n
	}
	for i := range l.pile.n {
		if x.leases[l.pile.at(i)] != nil {
			n--
		}
	}
	return n
}

// AtHome returns the deliveries whose message's record is in a segment.
func (x *Index) AtHome(segment uint16) []Slot {
	if x.refs(segment).Homes == 0 {
		return nil
	}
	var list []Slot
	x.each(func(s Slot, c *chunk, i int) {
		if uint16(c.id[i]) == segment {
			list = append(list, s)
		}
	})
	return list
}
