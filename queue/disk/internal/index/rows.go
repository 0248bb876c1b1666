package index

import "github.com/nexthop-mail/nexthop/queue/disk/internal/record"

// AtOnce is a flag of rows alone; in the index the lane says it.
const AtOnce Flags = 1 << 7

// Chunks is how many pieces Rows has.
func (x *Index) Chunks() int { return len(x.chunks) }

// Rows appends the deliveries of a chunk as a checkpoint has them.
func (x *Index) Rows(list []record.Row, n int) []record.Row {
	if n >= len(x.chunks) || x.chunks[n] == nil {
		return list
	}
	c := x.chunks[n]
	for i := range chunkLen {
		f := Flags(c.when[i])
		if f&used == 0 {
			continue
		}
		key := x.lanes[c.lane[i]].key
		f &^= leased | used
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
	return list
}

// Pin keeps the numbers of destinations and tenants from being given to others, until
// they are unpinned.
func (x *Index) Pin() { x.pinned = true }

// Unpin ends that. It forgets so many of those that have gone meanwhile and reports
// whether there are more.
func (x *Index) Unpin(most int) (more bool) {
	x.pinned = false
	for ; most > 0 && len(x.loose) > 0; most-- {
		last := len(x.loose) - 1
		n := x.loose[last]
		x.loose = x.loose[:last]
		x.forget(n)
	}
	for ; most > 0 && len(x.looseTenant) > 0; most-- {
		last := len(x.looseTenant) - 1
		t := x.looseTenant[last]
		x.looseTenant = x.looseTenant[:last]
		x.forgetTenant(t)
	}
	return len(x.loose)+len(x.looseTenant) > 0
}

// Destinations returns the destinations with the numbers from one on, at most
// max numbers, and where to go on; 0 is the end.
func (x *Index) Destinations(from, max int) (list []record.DestinationState, next int) {
	to := min(from+max, len(x.destinations))
	for n := from; n < to; n++ {
		d := &x.destinations[n]
		if !d.used {
			continue
		}
		s := record.DestinationState{Number: uint32(n), Name: d.name}
		if d.recorded {
			s.Until, s.Reason, s.Slot, s.Offset, s.Oldest = d.until, d.reason, d.record.Segment, d.record.Offset, d.oldest
		}
		list = append(list, s)
	}
	if to == len(x.destinations) {
		to = 0
	}
	return list, to
}

// Tenants appends the names of the tenants with the numbers from one on, at most max
// numbers, and returns where to go on; 0 is the end.
func (x *Index) Tenants(list []record.TenantName, from, max int) (_ []record.TenantName, next int) {
	to := min(from+max, len(x.tenantNames))
	for n := from; n < to; n++ {
		name := x.tenantNames[n]
		if t, known := x.tenants[name]; known && int(t) == n {
			list = append(list, record.TenantName{Number: uint32(n), Name: name})
		}
	}
	if to == len(x.tenantNames) {
		to = 0
	}
	return list, to
}
