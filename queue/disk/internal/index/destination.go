package index

import (
	"math"
	"strings"
	"time"
)

// destination is what is known about one destination.
type destination struct {
	name       string
	lanes      uint32 // the first of them
	laneCount  int
	own        *ownLanes // if there are many, or were
	deliveries int
	held       int
	leased     int
	waits      int // in piles
	bytes      int64
	postponed  int64 // microseconds; MinInt64 is not
	until      time.Time
	reason     string
	parkedBy   owners
	record     Place // of the postponement, where recorded
	recorded   bool
	oldest     uint64 // the number of the first segment in which it may be recorded
	used       bool
	stale      uint32 // the first of the lanes that may not stand where they belong
}

const notPostponed = math.MinInt64

func (x *Index) dest(n uint32) *destination { return x.destinations.at(int(n)) }

// destinationFor finds or makes the destination of a name.
func (x *Index) destinationFor(name string) uint32 {
	if d, known := x.names[name]; known {
		return d
	}
	name = strings.Clone(name)
	d := destination{name: name, lanes: none, stale: none, postponed: notPostponed, used: true}
	n := uint32(x.destinations.n)
	if x.freeDestinations.n > 0 {
		n = x.freeDestinations.pop()
		*x.dest(n) = d
	} else {
		x.destinations.push(d)
	}
	x.names[name] = n
	if c := x.paused; c != nil {
		c.except.came(name, n)
	}
	x.nameRoom += nameRoom + int64(len(name))
	return n
}

// Sweep forgets the postponements that are over, by the last time that was given,
// unless an older record says otherwise. It looks at so many destinations from one on
// and returns where to go on; 0 is the end.
func (x *Index) Sweep(from, most int, older func(*Postponement) bool) (next int) {
	to := min(from+most, x.destinations.n)
	x.work += to - from
	for n := from; n < to; n++ {
		if d := x.destinations.at(n); d.recorded && d.over(x.now) && !older(d.postponement()) {
			x.Forget(d.name)
		}
	}
	if to == x.destinations.n {
		return 0
	}
	return to
}

func (d *destination) postponement() *Postponement {
	return &Postponement{Name: d.name, Until: d.until, Reason: d.reason, Record: d.record, Oldest: d.oldest}
}

// forget frees a destination about which nothing is known.
func (x *Index) forget(n uint32) {
	d := x.dest(n)
	if d.deliveries > 0 || d.recorded || d.parkedBy != 0 || !d.used { // who is postponed is recorded
		return
	}
	if x.pins > 0 {
		x.loose.push(n)
		return
	}
	delete(x.names, d.name)
	x.nameRoom -= nameRoom + int64(len(d.name))
	*d = destination{lanes: none, stale: none}
	x.freeDestinations.push(n)
}

// tenantFor finds or makes the number of a tenant.
func (x *Index) tenantFor(name string) uint32 {
	if t, known := x.tenants[name]; known {
		return t
	}
	name = strings.Clone(name)
	t := uint32(x.tenantNames.n)
	if x.freeTenants.n > 0 {
		t = x.freeTenants.pop()
		*x.tenantNames.at(int(t)) = name
	} else {
		x.tenantNames.push(name)
		x.tenantLanes.push(0)
	}
	x.tenants[name] = t
	if c := x.paused; c != nil {
		c.exceptTenants.came(name, t)
	}
	return t
}

// leaveTenant counts a lane less of a tenant.
func (x *Index) leaveTenant(t uint32) {
	*x.tenantLanes.at(int(t))--
	x.forgetTenant(t)
}

// forgetTenant forgets a tenant without lanes.
func (x *Index) forgetTenant(t uint32) {
	name := x.tenantNames.at(int(t))
	if n, known := x.tenants[*name]; *x.tenantLanes.at(int(t)) > 0 || !known || n != t {
		return
	}
	if x.pins > 0 {
		x.looseTenants.push(t)
		return
	}
	delete(x.tenants, *name)
	*name = ""
	for _, d := range x.due {
		d.forget(t)
	}
	x.freeTenants.push(t)
}

// MovePostponement changes where a postponement is recorded in its segment, if that
// is where it was.
func (x *Index) MovePostponement(name string, from, to Place) {
	if n, known := x.names[name]; known {
		if d := x.dest(n); d.record == from {
			d.record = to
		}
	}
}

// RecordedAfter reports whether the state of a destination is recorded in the same
// segment as a place, and after it.
func (x *Index) RecordedAfter(name string, p Place) bool {
	n, known := x.names[name]
	if !known || !x.dest(n).recorded {
		return false
	}
	have := x.dest(n).record
	return have.Segment == p.Segment && have.Offset > p.Offset
}

// Postponement is a destination that is kept back, and where that is recorded.
type Postponement struct {
	Name   string
	Until  time.Time // zero: not any more
	Reason string
	Record Place

	// Oldest is the number of the first segment that may have a record of it: if none
	// was known before, that of Record. A later record must be kept as long as an older
	// one exists, even if it is over or lifts the older one.
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
	d := x.dest(n)
	if d.recorded {
		x.refs(d.record.Segment).Destinations--
	} else {
		d.oldest = p.Oldest
	}
	d.until, d.reason, d.postponed = p.Until, p.Reason, notPostponed
	if !p.Until.IsZero() {
		d.recorded, d.postponed = true, Micros(p.Until)
	}
	if d.record = p.Record; d.recorded {
		x.refs(p.Record.Segment).Destinations++
	}
	x.replace(n)
	x.forget(n)
}

// Lifted takes over that a destination is not kept back, and where that is recorded.
func (x *Index) Lifted(p Postponement) {
	d := x.dest(x.destinationFor(p.Name))
	if !d.recorded {
		d.recorded, d.record, d.oldest = true, p.Record, p.Oldest
		x.refs(p.Record.Segment).Destinations++
	}
}

// Over reports whether a postponement has no effect any more: it is lifted, or its time
// has come and no mail waits for the destination.
func (x *Index) Over(p *Postponement) bool {
	n, known := x.names[p.Name]
	return p.Until.IsZero() || known && x.dest(n).over(x.now)
}

func (d *destination) over(now int64) bool {
	return d.postponed == notPostponed || d.deliveries == 0 && d.postponed <= now
}

// Forget forgets a postponement of which no record in the log is needed.
func (x *Index) Forget(name string) {
	n, known := x.names[name]
	if !known || !x.dest(n).recorded {
		return
	}
	x.Postpone(Postponement{Name: name})
	d := x.dest(n)
	x.refs(d.record.Segment).Destinations--
	d.recorded, d.oldest = false, 0
	x.forget(n)
}

// fewLanes is how many lanes of a destination are put where they belong at once when
// that has changed for all of them; Advance does the others.
const fewLanes = 16

// replace has all lanes of a destination put where they belong.
func (x *Index) replace(n uint32) {
	d := x.dest(n)
	was := d.stale
	d.stale = d.lanes
	if x.replaceSome(d, fewLanes); d.stale != none && was == none {
		x.stale.push(n)
	}
}

// replaceSome goes on with that for so many lanes.
func (x *Index) replaceSome(d *destination, most int) {
	for ; d.stale != none && most > 0; most-- {
		l := x.lane(d.stale)
		d.stale = l.next
		x.place(l)
	}
}

// replaceNext does a lane of a destination that is not done. It reports whether there
// was one.
func (x *Index) replaceNext() bool {
	for x.stale.n > 0 {
		n := *x.stale.at(x.stale.n - 1)
		if d := x.dest(n); d.stale != none {
			x.replaceSome(d, 1)
			return true
		}
		x.stale.pop()
	}
	return false
}

// Postponed is until when a destination is kept back, or zero, and why.
func (x *Index) Postponed(name string) (time.Time, string) {
	if n, known := x.names[name]; known {
		return x.dest(n).until, x.dest(n).reason
	}
	return time.Time{}, ""
}

// Postponements returns those recorded in a segment, among so many destinations from
// one on, and where to go on; 0 is the end.
func (x *Index) Postponements(segment uint16, from, most int) (list []*Postponement, next int) {
	to := min(from+most, x.destinations.n)
	x.work += to - from
	if x.refs(segment).Destinations == 0 {
		return nil, 0
	}
	for n := from; n < to; n++ {
		if d := x.destinations.at(n); d.recorded && d.record.Segment == segment {
			list = append(list, d.postponement())
		}
	}
	if to == x.destinations.n {
		to = 0
	}
	return list, to
}

// IsPostponed reports whether a destination is postponed, or was and that was not
// lifted.
func (x *Index) IsPostponed(name string) bool {
	n, known := x.names[name]
	return known && x.dest(n).postponed != notPostponed
}

// AllPostponed appends the destinations of which that is so, among so many from one
// on, and returns where to go on; 0 is the end.
func (x *Index) AllPostponed(list []string, from, most int) (_ []string, next int) {
	to := min(from+most, x.destinations.n)
	x.work += to - from
	for n := from; n < to; n++ {
		if d := x.destinations.at(n); d.used && d.postponed != notPostponed {
			list = append(list, d.name)
		}
	}
	if to == x.destinations.n {
		to = 0
	}
	return list, to
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
	return min(sec*1_000_000+int64(t.Nanosecond()/1000), last)
}
