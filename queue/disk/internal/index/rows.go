package index

import "github.com/nexthop-mail/nexthop/queue/disk/internal/record"

// AtOnce is a flag of rows alone; in the index the lane says it.
const AtOnce Flags = 1 << 7

// Rows appends the deliveries in so many slots from one on, as a checkpoint has them,
// and returns where to go on; 0 is the end.
func (x *Index) Rows(list []record.Row, from, most int) (_ []record.Row, next int) {
	n := from / chunkLen
	if n >= len(x.chunks) { // all have gone meanwhile
		return list, 0
	}
	to := min(from+most, (n+1)*chunkLen)
	if to < len(x.chunks)*chunkLen {
		next = to
	}
	c := x.chunks[n]
	if c == nil {
		return list, next
	}
	x.work += to - from
	for at := from; at < to; at++ {
		i := at % chunkLen
		f := Flags(c.when[i])
		if f&used == 0 {
			continue
		}
		key := x.lane(c.lane[i]).key
		f &^= leased | used | arriving
		if key.atOnce {
			f |= AtOnce
		}
		list = append(list, record.Row{
			Message: c.id[i] >> 16, Since: c.when[i] >> 8,
			Destination: key.destination, Tenant: key.tenant,
			Offset: c.offset[i], Size: c.size[i],
			Home: uint16(c.id[i]), Record: c.record[i],
			Priority: key.priority, Flags: uint8(f),
		})
	}
	return list, next
}

// Pin keeps the numbers of destinations and tenants from being given to others, until
// they are unpinned as often.
func (x *Index) Pin() { x.pins++ }

// Unpin ends that.
func (x *Index) Unpin() { x.pins-- }

// Loose forgets so many of the destinations and tenants that have gone while they were
// pinned and reports whether there are more.
func (x *Index) Loose(most int) (more bool) {
	if x.pins > 0 {
		return false
	}
	for ; most > 0 && x.loose.n > 0; most-- {
		x.work++
		x.forget(x.loose.pop())
	}
	for ; most > 0 && x.looseTenants.n > 0; most-- {
		x.work++
		x.forgetTenant(x.looseTenants.pop())
	}
	return x.loose.n+x.looseTenants.n > 0
}

// Destinations returns the destinations with the numbers from one on, at most
// max numbers, and where to go on; 0 is the end.
func (x *Index) Destinations(from, max int) (list []record.DestinationState, next int) {
	to := min(from+max, x.destinations.n)
	x.work += to - from
	for n := from; n < to; n++ {
		d := x.destinations.at(n)
		if !d.used {
			continue
		}
		s := record.DestinationState{Number: uint32(n), Name: d.name}
		if d.recorded {
			s.Until, s.Reason, s.Slot, s.Offset, s.Oldest = d.until, d.reason, d.record.Segment, d.record.Offset, d.oldest
		}
		list = append(list, s)
	}
	if to == x.destinations.n {
		to = 0
	}
	return list, to
}

// Tenants appends the names of the tenants with the numbers from one on, at most max
// numbers, and returns where to go on; 0 is the end.
func (x *Index) Tenants(list []record.TenantName, from, max int) (_ []record.TenantName, next int) {
	to := min(from+max, x.tenantNames.n)
	x.work += to - from
	for n := from; n < to; n++ {
		name := *x.tenantNames.at(n)
		if t, known := x.tenants[name]; known && int(t) == n {
			list = append(list, record.TenantName{Number: uint32(n), Name: name})
		}
	}
	if to == x.tenantNames.n {
		to = 0
	}
	return list, to
}
