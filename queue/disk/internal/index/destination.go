package index

import (
	"math"
	"strings"
	"time"
)

// destination is what is known of one destination.
type destination struct {
	name       string
	lanes      uint32 // the first of them
	deliveries int
	held       int
	leased     int
	waits      int // in piles, and never leased or settled since
	bytes      int64
	postponed  int64 // microseconds; MinInt64 is not
	until      time.Time
	reason     string
	parkedBy   owners
	record     Place // of the postponement, where recorded
	recorded   bool
	oldest     uint64 // the number of the first segment in which it may be recorded
	used       bool
}

const notPostponed = math.MinInt64

// destinationFor finds or makes the destination of a name.
func (x *Index) destinationFor(name string) uint32 {
	if d, known := x.names[name]; known {
		return d
	}
	name = strings.Clone(name)
	d := destination{name: name, lanes: none, postponed: notPostponed, used: true}
	n := uint32(len(x.destinations))
	if free := len(x.freeDestinations); free > 0 {
		n = x.freeDestinations[free-1]
		x.freeDestinations = x.freeDestinations[:free-1]
		x.destinations[n] = d
	} else {
		x.destinations = append(x.destinations, d)
	}
	x.names[name] = n
	x.nameRoom += nameRoom + int64(len(name))
	return n
}

// Sweep forgets the postponements that are over, by the last time that was given,
// unless an older record says otherwise. It looks at so many destinations from one on
// and returns where to go on; 0 is the end.
func (x *Index) Sweep(from, most int, older func(*Postponement) bool) (next int) {
	to := min(from+most, len(x.destinations))
	for n := from; n < to; n++ {
		if d := &x.destinations[n]; d.used && d.recorded && d.over(x.now) && !older(d.postponement()) {
			x.Forget(d.name)
		}
	}
	if to == len(x.destinations) {
		return 0
	}
	return to
}

func (d *destination) postponement() *Postponement {
	return &Postponement{Name: d.name, Until: d.until, Reason: d.reason, Record: d.record, Oldest: d.oldest}
}

// forget frees a destination of which there is nothing to know.
func (x *Index) forget(n uint32) {
	d := &x.destinations[n]
	if d.deliveries > 0 || d.recorded || d.postponed != notPostponed || d.parkedBy != 0 || !d.used {
		return
	}
	if x.pinned {
		x.loose = append(x.loose, n)
		return
	}
	delete(x.names, d.name)
	x.nameRoom -= nameRoom + int64(len(d.name))
	*d = destination{lanes: none}
	x.freeDestinations = append(x.freeDestinations, n)
}

// tenantFor finds or makes the number of a tenant.
func (x *Index) tenantFor(name string) uint32 {
	if t, known := x.tenants[name]; known {
		return t
	}
	name = strings.Clone(name)
	t := uint32(len(x.tenantNames))
	if free := len(x.freeTenants) - 1; free >= 0 {
		t, x.freeTenants = x.freeTenants[free], x.freeTenants[:free]
		x.tenantNames[t] = name
	} else {
		x.tenantNames, x.tenantLanes = append(x.tenantNames, name), append(x.tenantLanes, 0)
	}
	x.tenants[name] = t
	return t
}

// leaveTenant counts a lane less of a tenant and forgets one without any.
func (x *Index) leaveTenant(t uint32) {
	if x.tenantLanes[t]--; x.tenantLanes[t] == 0 {
		x.forgetTenant(t)
	}
}

func (x *Index) forgetTenant(t uint32) {
	if n, known := x.tenants[x.tenantNames[t]]; x.tenantLanes[t] > 0 || !known || n != t {
		return
	}
	if x.pinned {
		x.looseTenant = append(x.looseTenant, t)
		return
	}
	delete(x.tenants, x.tenantNames[t])
	x.tenantNames[t] = ""
	for _, d := range x.due {
		if int(t) < len(d.tenants) {
			d.tenants[t] = nil
		}
	}
	x.freeTenants = append(x.freeTenants, t)
}

// MovePostponement changes where a postponement is recorded in its segment, if that
// is where it was.
func (x *Index) MovePostponement(name string, from, to Place) {
	if n, known := x.names[name]; known {
		if d := &x.destinations[n]; d.recorded && d.record == from {
			d.record = to
		}
	}
}

// Postponement is a destination that is kept back, and where that is recorded.
type Postponement struct {
	Name   string
	Until  time.Time // zero: not any more
	Reason string
	Record Place

	// Oldest is the number of the first segment that may have a record of it: where
	// none was known before, that of Record. A later record must stay for as long as
	// such an older one is there, even if it is over or lifts what the older one says.
	Oldest uint64
}

// At notes that this is the time. A postponement is over when a time was given
// after it was made that is not before its end: one that was given before may have
// been by a clock that went back since.
func (x *Index) At(now time.Time) { x.now = Micros(now) }

// Postpone keeps a destination back until a time; zero lifts it. The place of
// the record replaces the one before.
func (x *Index) Postpone(p Postponement) {
	n := x.destinationFor(p.Name)
	d := &x.destinations[n]
	if d.recorded {
		x.refs(d.record.Segment).Destinations--
	} else {
		d.oldest = p.Oldest
	}
	// Where its lanes stand depends on it, so none may stand anywhere meanwhile.
	for l := d.lanes; l != none; l = x.lanes[l].next {
		x.unplace(x.lanes[l])
	}
	d.until, d.reason, d.postponed = p.Until, p.Reason, notPostponed
	if !p.Until.IsZero() {
		d.recorded, d.postponed = true, Micros(p.Until)
	}
	if d.record = p.Record; d.recorded {
		x.refs(p.Record.Segment).Destinations++
	}
	x.placeAll(d)
	x.forget(n)
}

// Lifted takes over that a destination is not kept back, and where that is recorded.
func (x *Index) Lifted(p Postponement) {
	d := &x.destinations[x.destinationFor(p.Name)]
	if !d.recorded {
		d.recorded, d.record, d.oldest = true, p.Record, p.Oldest
		x.refs(p.Record.Segment).Destinations++
	}
}

// Over reports whether a postponement says nothing any more: it is lifted, or its
// time has come and nothing waits for the destination.
func (x *Index) Over(p *Postponement) bool {
	n, known := x.names[p.Name]
	return p.Until.IsZero() || known && x.destinations[n].over(x.now)
}

func (d *destination) over(now int64) bool {
	return d.postponed == notPostponed || d.deliveries == 0 && d.postponed <= now
}

// Forget forgets a postponement of which no record in the log is needed.
func (x *Index) Forget(name string) {
	n, known := x.names[name]
	if !known || !x.destinations[n].recorded {
		return
	}
	x.Postpone(Postponement{Name: name})
	if n, known := x.names[name]; known {
		d := &x.destinations[n]
		x.refs(d.record.Segment).Destinations--
		d.recorded, d.oldest = false, 0
		x.forget(n)
	}
}

func (x *Index) placeAll(d *destination) {
	for l := d.lanes; l != none; l = x.lanes[l].next {
		x.place(x.lanes[l])
	}
}

// Postponed is until when a destination is kept back, or zero, and why.
func (x *Index) Postponed(name string) (time.Time, string) {
	if n, known := x.names[name]; known {
		return x.destinations[n].until, x.destinations[n].reason
	}
	return time.Time{}, ""
}

// Postponements returns those recorded in a segment, among so many destinations from
// one on, and where to go on; 0 is the end.
func (x *Index) Postponements(segment uint16, from, most int) (list []*Postponement, next int) {
	to := min(from+most, len(x.destinations))
	if x.refs(segment).Destinations == 0 {
		return nil, 0
	}
	for n := from; n < to; n++ {
		if d := &x.destinations[n]; d.recorded && d.record.Segment == segment {
			list = append(list, d.postponement())
		}
	}
	if to == len(x.destinations) {
		to = 0
	}
	return list, to
}

// PostponedOf returns the postponed destinations of a message's deliveries, a
// destination that is postponed, both, or all.
func (x *Index) PostponedOf(message uint64, destination string) []string {
	var list []string
	if message != 0 {
		for _, s := range x.Slots(message) {
			d := &x.destinations[x.laneOf(s).key.destination]
			if d.postponed != notPostponed && (destination == "" || d.name == destination) {
				list = append(list, d.name)
			}
		}
		return list
	}
	if destination != "" {
		if n, known := x.names[destination]; known && x.destinations[n].postponed != notPostponed {
			list = append(list, destination)
		}
		return list
	}
	for i := range x.destinations {
		if d := &x.destinations[i]; d.postponed != notPostponed {
			list = append(list, d.name)
		}
	}
	return list
}

// Micros is a time as the index keeps it: after 1970, and not after 4253.
func Micros(t time.Time) int64 {
	const last = 1<<56 - 1
	sec := t.Unix()
	if sec < 0 {
		return 0
	}
	if sec > last/1_000_000 {
		return last
	}
	return sec*1_000_000 + int64(t.Nanosecond()/1000)
}
