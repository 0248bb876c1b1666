package index

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// model is the index as plain lists say it.
type model struct {
	list         []*modeled // in the order in which they came
	destinations map[string]*modelDestination
	parked       map[string]map[string]int64 // until when, by owner and destination
	now          int64
}

// modeled is a delivery.
type modeled struct {
	Entry
	slot     Slot
	token    uint64
	until    time.Time // of the lease
	note     any
	leased   bool
	ended    bool // the lease has ended, and somebody has looked since
	flushed  bool
	arriving bool // not to be claimed yet
	hidden   bool // the message is not there yet
	changes  int
}

// modelDestination is what is known of a destination beside its deliveries.
type modelDestination struct {
	until    time.Time
	reason   string
	recorded bool
	record   Place
	oldest   uint64
}

func newModel() *model {
	return &model{destinations: map[string]*modelDestination{}, parked: map[string]map[string]int64{}}
}

func (m *model) dest(name string) *modelDestination {
	if d := m.destinations[name]; d != nil {
		return d
	}
	return &modelDestination{}
}

// known reports whether there is anything to know of a destination.
func (m *model) known(name string) bool {
	d := m.dest(name)
	return m.waits(name) || d.recorded || !d.until.IsZero() || m.isParked(name)
}

func (m *model) waits(name string) bool {
	return slices.ContainsFunc(m.list, func(e *modeled) bool { return e.Destination == name })
}

func (m *model) isParked(name string) bool {
	for _, list := range m.parked {
		if _, ok := list[name]; ok {
			return true
		}
	}
	return false
}

// tidy forgets what there is nothing to know of.
func (m *model) tidy() {
	maps.DeleteFunc(m.destinations, func(name string, _ *modelDestination) bool { return !m.known(name) })
	maps.DeleteFunc(m.parked, func(_ string, list map[string]int64) bool { return len(list) == 0 })
}

func (m *model) postpone(p Postponement) {
	d := m.destinations[p.Name]
	if d == nil {
		d = &modelDestination{}
		m.destinations[p.Name] = d
	}
	if !d.recorded {
		d.oldest = p.Oldest
	}
	d.until, d.reason, d.record = p.Until, p.Reason, p.Record
	d.recorded = d.recorded || !p.Until.IsZero()
}

func (m *model) lifted(p Postponement) {
	if d := m.dest(p.Name); !d.recorded {
		d.recorded, d.record, d.oldest = true, p.Record, p.Oldest
		m.destinations[p.Name] = d
	}
}

func (m *model) forget(name string) {
	if m.dest(name).recorded {
		m.destinations[name] = &modelDestination{}
	}
}

// over reports whether a postponement says nothing any more.
func (m *model) over(name string) bool {
	d := m.dest(name)
	return d.until.IsZero() || !m.waits(name) && Micros(d.until) <= m.now
}

func (m *model) park(owner, destination string, until time.Time) {
	if m.parked[owner] == nil {
		m.parked[owner] = map[string]int64{}
	}
	m.parked[owner][destination] = Micros(until)
}

// advance is for when somebody says what time it is and looks at what that changes.
func (m *model) advance(now time.Time) {
	m.now = Micros(now)
	for _, list := range m.parked {
		maps.DeleteFunc(list, func(_ string, until int64) bool { return until <= m.now })
	}
	for _, e := range m.list {
		e.ended = e.ended || e.leased && !e.until.After(now)
	}
	m.tidy()
}

// admits reports whether a claim with such bounds may take a delivery once it is due.
func (m *model) admits(b *Bounds, e *modeled) bool {
	return e.Flags&Held == 0 && !e.arriving && !slices.Contains(b.Except, e.Destination) && !slices.Contains(b.ExceptTenants, e.Tenant) &&
		(len(b.Destinations) == 0 || slices.Contains(b.Destinations, e.Destination))
}

// dueAt is when a delivery that is not leased is due, in microseconds.
func (m *model) dueAt(e *modeled) int64 {
	at := int64(0)
	if !e.AtOnce {
		at = e.Since
	}
	if d := m.dest(e.Destination); !d.until.IsZero() {
		at = max(at, Micros(d.until))
	}
	return at
}

func (m *model) isDue(now time.Time, b *Bounds, e *modeled) bool {
	_, parked := m.parked[b.Owner][e.Destination]
	return m.admits(b, e) && !parked && m.dueAt(e) <= Micros(now) && !(e.leased && e.until.After(now))
}

// due is what a claim must return, in order, and whether it leaves something out.
func (m *model) due(now time.Time, b Bounds) (taken []*modeled, more bool) {
	var list []*modeled
	for _, e := range m.list {
		if m.isDue(now, &b, e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, inOrder)
	destinations, tenants := map[string]int{}, map[string]int{}
	for _, e := range list {
		if len(taken) == b.Max || b.PerDestination > 0 && destinations[e.Destination] == b.PerDestination ||
			b.PerTenant > 0 && tenants[e.Tenant] == b.PerTenant {
			more = true
			continue
		}
		destinations[e.Destination]++
		tenants[e.Tenant]++
		taken = append(taken, e)
	}
	return taken, more
}

func inOrder(a, b *modeled) int {
	step := queue.PriorityStep.Microseconds()
	return cmp.Or(cmp.Compare(a.Since-int64(a.Priority)*step, b.Since-int64(b.Priority)*step),
		cmp.Compare(a.Message, b.Message), cmp.Compare(a.Destination, b.Destination))
}

// soonest is when a claim with the same bounds will find something, as things stand.
func (m *model) soonest(b *Bounds) (at time.Time, ok bool) {
	for _, e := range m.list {
		if !m.admits(b, e) {
			continue
		}
		due := m.dueAt(e)
		if until, parked := m.parked[b.Owner][e.Destination]; parked {
			due = max(due, until)
		}
		t := time.UnixMicro(due)
		if e.leased && e.until.After(t) {
			t = e.until
		}
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	return at, ok
}

// next is when a claim says that there may be more, if it leaves out nothing and the
// clock never goes back: when the first delivery is due that is not, the first lease
// ends or the first postponement of the owner. Of a destination that the owner has
// parked the last is enough.
func (m *model) next(now time.Time, b *Bounds) (at time.Time, ok bool) {
	may := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	parked := m.parked[b.Owner]
	leases := len(b.Destinations) == 0
	for _, e := range m.list {
		_, is := parked[e.Destination]
		leases = leases || e.leased && !is && slices.Contains(b.Destinations, e.Destination) && !slices.Contains(b.Except, e.Destination)
	}
	for _, e := range m.list {
		if m.admits(b, e) {
			_, is := parked[e.Destination]
			if due := m.dueAt(e); !(e.leased && !e.ended) && due > Micros(now) && !(is && len(b.Destinations) > 0) {
				may(time.UnixMicro(due))
			}
		}
		all := *b
		all.ExceptTenants = nil
		if leases && e.leased && !e.ended && m.admits(&all, &modeled{Entry: e.Entry}) {
			may(e.until)
		}
	}
	for _, until := range parked {
		if len(m.list) > 0 {
			may(time.UnixMicro(until))
		}
	}
	return at, ok
}

// flush is what a flush makes of one delivery.
func (m *model) flush(f *Flushing, e *modeled) {
	if e.AtOnce || e.Since <= f.Since || f.Earlier != nil && !f.Earlier(e.Record) {
		return
	}
	e.AtOnce, e.Since, e.flushed = true, f.Since, true
}

// named reports whether a flush speaks of a delivery. Whether an end of a lease has been
// noticed, also by a clock that went back since, is up to the index.
func (m *model) named(x *Index, f *Flushing, e *modeled) bool {
	if e.hidden || e.leased && x.claimed(e.slot) || e.Flags&Held != 0 || f.Message == 0 && e.arriving {
		return false
	}
	return (f.Message == 0 || f.Message == e.Message) && (f.Destination == "" || f.Destination == e.Destination)
}
