package index

import (
	"fmt"
	"maps"
	"slices"
)

// verify counts everything anew from the deliveries in the chunks, and says what in the
// index does not agree with it. No claim may be in progress.
func (x *Index) verify() error {
	v := &verifier{x: x, there: map[Slot]bool{}}
	v.want(x.pins == 0 && x.paused == nil, "numbers are pinned, and no claim is in progress")
	v.store()
	if v.problem == nil { // the rest goes by the slots and would panic
		v.table()
		v.places()
		v.lists()
		v.heaps()
		v.own()
		v.destinations()
		v.tenants()
		v.leases()
		v.counts()
		v.messages()
		v.parking()
	}
	return v.problem
}

// verifier is one call of verify.
type verifier struct {
	x       *Index
	there   map[Slot]bool // the deliveries
	problem error
}

// want notes the first thing that is not as it should be.
func (v *verifier) want(ok bool, format string, args ...any) {
	if !ok && v.problem == nil {
		v.problem = fmt.Errorf(format, args...)
	}
}

// same compares two numbers.
func same[T comparable](v *verifier, have, want T, what string, args ...any) {
	if have != want && v.problem == nil {
		v.problem = fmt.Errorf("%s: have %v, want %v", fmt.Sprintf(what, args...), have, want)
	}
}

// store looks at the chunks, their free slots and the room in them.
func (v *verifier) store() {
	x := v.x
	same(v, len(x.rooms), len(x.chunks), "rooms beside chunks")
	gaps := map[int]bool{}
	for _, n := range x.gaps {
		v.want(n < len(x.chunks) && x.chunks[n] == nil && !gaps[n], "chunk %d is in the gaps, and is there or is twice", n)
		gaps[n] = true
	}
	empty := 0
	for n, c := range x.chunks {
		hasRoom := n/64 < len(x.roomy) && x.roomy[n/64]>>(n%64)&1 == 1
		if c == nil {
			v.want(gaps[n] && !hasRoom, "chunk %d is gone: it is a gap %t, and has room %t", n, gaps[n], hasRoom)
			continue
		}
		taken := 0
		for i, when := range c.when {
			if Flags(when)&used != 0 {
				taken++
				v.there[Slot(n*chunkLen+i)] = true
			} else if when != 0 {
				v.want(false, "slot %d of nobody has a time or flags", n*chunkLen+i)
			}
		}
		if taken == 0 {
			empty++
		}
		r := x.rooms[n]
		same(v, int(r.used), taken, "slots taken in chunk %d", n)
		same(v, hasRoom, taken < chunkLen, "room in chunk %d", n)
		free := 0
		for s := r.free; s != none && free < chunkLen && v.problem == nil; free++ {
			if int(s/chunkLen) != n || v.there[Slot(s)] {
				v.want(false, "slot %d is free in chunk %d", s, n)
			}
			s = c.next[s%chunkLen]
		}
		same(v, free, chunkLen-taken, "free slots in chunk %d", n)
	}
	v.want(empty <= 1, "%d chunks have nothing in them", empty)
	for i := range x.roomy {
		v.want(i >= x.room || x.roomy[i] == 0, "there is room before word %d: in word %d", x.room, i)
	}
}

// table looks for every delivery in the bucket where it belongs.
func (v *verifier) table() {
	x, t := v.x, &v.x.table
	same(v, int(t.count), len(v.there), "slots in the table")
	same(v, len(t.pages), (int(t.n)+tablePage-1)/tablePage, "pages of %d buckets", t.n)
	if t.n == 0 {
		return
	}
	v.want(t.round <= t.n && t.n < 2*t.round && t.round&(t.round-1) == 0, "a round of %d with %d buckets", t.round, t.n)
	v.want(t.count <= t.n*tableLoad, "%d slots in %d buckets", t.count, t.n)
	v.want(t.n <= tablePage || t.count >= t.n*tableLoad/4, "%d slots in %d buckets", t.count, t.n)
	found := 0
	for b := range t.n {
		for s := *t.head(b); s != none && v.problem == nil && found <= len(v.there); found++ {
			v.want(v.there[Slot(s)], "slot %d is in bucket %d and of nobody", s, b)
			c, i := x.at(Slot(s))
			same(v, x.bucketOf(c, i), b, "the bucket of slot %d", s)
			s = c.next[i]
		}
	}
	same(v, found, len(v.there), "slots in buckets")
}

// places looks at the piles of the lanes.
func (v *verifier) places() {
	x := v.x
	total := map[uint32]int{}
	waiting := map[uint32]map[Slot]bool{}
	waits := 0
	for s := range v.there {
		n := x.chunks[s/chunkLen].lane[s%chunkLen]
		total[n]++
		l := x.leases[s]
		same(v, x.flags(s)&leased != 0, l != nil, "slot %d is leased", s)
		if x.flags(s)&(Held|arriving) == 0 && (l == nil || l.pos < 0) {
			if waiting[n] == nil {
				waiting[n] = map[Slot]bool{}
			}
			waiting[n][s] = true
			waits++
		}
	}
	same(v, x.waits, waits, "deliveries that wait")
	for n := range uint32(x.lanes.n) {
		l := x.lane(n)
		if l == nil {
			v.want(total[n] == 0, "lane %d is gone, and %d deliveries say they are in it", n, total[n])
			continue
		}
		v.want(l.total > 0, "lane %d is empty", n)
		same(v, l.total, total[n], "deliveries of lane %d", n)
		in := 0
		var last Slot
		for i, page := range l.pile.pages {
			v.want(len(page) > 0 && len(page) <= pilePage, "page %d of a pile has %d", i, len(page))
			for _, o := range page {
				s := Slot(o)
				v.want(waiting[n][s], "slot %d is in the pile of lane %d and does not wait in it", s, n)
				v.want(in == 0 || x.since(last) < x.since(s) || x.since(last) == x.since(s) && x.message(last) < x.message(s),
					"slots %d and %d are in the pile of lane %d in this order", last, s, n)
				last = s
				in++
			}
		}
		same(v, l.pile.n, in, "the pile of lane %d", n)
		same(v, in, len(waiting[n]), "deliveries that wait in lane %d", n)
	}
}

// lists looks for the lanes by their keys and in the lists of their destinations.
func (v *verifier) lists() {
	x := v.x
	free := map[uint32]bool{}
	for i := range x.freeLanes.n {
		n := *x.freeLanes.at(i)
		v.want(x.lane(n) == nil && !free[n], "lane %d is free, and is there or is twice", n)
		free[n] = true
	}
	lanes := 0
	for n := range uint32(x.lanes.n) {
		if l := x.lane(n); l == nil {
			v.want(free[n], "lane %d is gone and not free", n)
		} else {
			lanes++
			known, ok := x.laneOfKey[l.key]
			v.want(ok && known == n, "lane %d is not found by its key", n)
		}
	}
	same(v, len(x.laneOfKey), lanes, "keys of lanes")
	listed := 0
	for n := range uint32(x.destinations.n) {
		d, count, before, hasStale := x.dest(n), 0, uint32(none), false
		for at := d.lanes; at != none && v.problem == nil; count++ {
			l := x.lane(at)
			v.want(l != nil && l.key.destination == n && l.prev == before, "lane %d is in the list of destination %d", at, n)
			if v.problem != nil {
				return
			}
			hasStale = hasStale || at == d.stale
			before, at = at, l.next
		}
		same(v, d.laneCount, count, "lanes of destination %d", n)
		v.want(d.stale == none || hasStale, "the first stale lane of destination %d is not one of it", n)
		listed += count
		if d.stale != none {
			v.want(slices.Contains(elements(&x.stale), n), "destination %d has stale lanes and nobody knows", n)
		}
	}
	same(v, listed, lanes, "lanes in lists")
}

// isStale reports whether a lane may stand where it does not belong.
func (v *verifier) isStale(l *lane) bool {
	x := v.x
	for n := x.dest(l.key.destination).stale; n != none; n = x.lane(n).next {
		if x.lane(n) == l {
			return true
		}
	}
	return false
}

// heaps looks at where lanes stand.
func (v *verifier) heaps() {
	x := v.x
	due, later := 0, 0
	for n := range uint32(x.lanes.n) {
		l := x.lane(n)
		if l == nil {
			continue
		}
		d, stale := x.dest(l.key.destination), v.isStale(l)
		same(v, l.where == inNone, l.pile.n == 0, "lane %d with %d that wait stands in no heap", n, l.pile.n)
		switch l.where {
		case inDue:
			due++
			v.want(x.due[l.due.by] == l.due, "lane %d is in a heap that nobody looks at", n)
			v.want(stale || l.due.by == d.parkedBy, "lane %d is in the heap of %b, and parked by %b", n, l.due.by, d.parkedBy)
			t := l.due.of(l.key.tenant)
			v.want(t != nil && l.pos < t.lanes.list.n && t.lanes.at(l.pos) == l, "lane %d is not where it stands among those due", n)
		case inLater:
			later++
			v.want(l.pos < x.later.list.n && x.later.at(l.pos) == l, "lane %d is not where it stands among those that wait", n)
			v.want(stale || l.at == x.wake(l), "lane %d stands by %d, and is due at %d", n, l.at, x.wake(l))
		}
		if v.problem != nil {
			return
		}
	}
	same(v, x.later.list.n, later, "lanes that are due later")
	v.laneHeap(&x.later, "of what is due later")
	for by, d := range x.due {
		same(v, d.by, by, "whose heap it is")
		v.want(by == 0 || d.lanes > 0, "the empty heap of %b is kept", by)
		due -= v.dueHeap(d)
	}
	same(v, due, 0, "lanes that are due and in no heap")
}

func (v *verifier) laneHeap(h *laneHeap, what string) {
	shape(v, &h.list, what)
	for i := 1; i < h.list.n; i++ {
		v.want(!h.less(v.x, h.at(i), h.at((i-1)/2)), "the heap %s is not in order", what)
	}
	for i := range h.list.n {
		same(v, *h.pos(h.at(i)), i, "the place of a lane in the heap %s", what)
	}
}

// dueHeap looks at one and returns how many lanes there are in it.
func (v *verifier) dueHeap(d *dueHeap) (lanes int) {
	x := v.x
	listed := 0
	for page, p := range d.tenants {
		if p == nil {
			continue
		}
		for i, t := range p {
			if t == nil {
				continue
			}
			lanes += t.lanes.list.n
			v.laneHeap(&t.lanes, "of a tenant")
			for j := range t.lanes.list.n {
				same(v, int(t.lanes.at(j).key.tenant), page*len(p)+i, "the tenant of a lane")
			}
			v.want(!t.aside, "a tenant is set aside by no claim")
			if t.pos >= 0 {
				listed++
				v.want(t.pos < d.list.n && d.at(t.pos) == t, "a tenant is not where it stands")
			}
			same(v, t.pos >= 0, t.lanes.list.n > 0, "a tenant with %d lanes is listed", t.lanes.list.n)
		}
	}
	same(v, d.lanes, lanes, "lanes in a heap of what is due")
	same(v, d.list.n, listed, "tenants in a heap of what is due")
	shape(v, &d.list, "tenants")
	for i := 1; i < d.list.n && v.problem == nil; i++ {
		v.want(!d.less(x, i, (i-1)/2), "tenants are not in order")
	}
	return lanes
}

// own looks at the heaps of destinations with many lanes.
func (v *verifier) own() {
	x := v.x
	for n := range uint32(x.destinations.n) {
		d := x.dest(n)
		v.want(d.own != nil || d.laneCount <= fewLanes, "destination %d has %d lanes and no heaps", n, d.laneCount)
		due, later := 0, 0
		for at := d.lanes; at != none; at = x.lane(at).next {
			l := x.lane(at)
			if d.own == nil {
				same(v, l.ownWhere, inNone, "where lane %d stands in no heaps", at)
				continue
			}
			same(v, l.ownWhere, l.where, "where lane %d stands in its destination's heaps", at)
			switch l.ownWhere {
			case inDue:
				due++
				t := d.own.due.of(l.key.tenant)
				v.want(t != nil && l.ownPos < t.lanes.list.n && t.lanes.at(l.ownPos) == l, "lane %d is not where it stands among those due", at)
			case inLater:
				later++
				v.want(l.ownPos < d.own.later.list.n && d.own.later.at(l.ownPos) == l, "lane %d is not where it stands among those that wait", at)
			}
		}
		if d.own == nil || v.problem != nil {
			continue
		}
		same(v, v.dueHeap(&d.own.due), due, "lanes of destination %d that are due", n)
		same(v, d.own.later.list.n, later, "lanes of destination %d that are due later", n)
		v.laneHeap(&d.own.later, "of a destination")
	}
}

// destinations counts what there is for each.
func (v *verifier) destinations() {
	x := v.x
	type counts struct {
		deliveries, held, leased, waits int
		bytes                           int64
	}
	want := map[uint32]*counts{}
	var ends, names int64
	for s := range v.there {
		d := x.laneOf(s).key.destination
		if want[d] == nil {
			want[d] = &counts{}
		}
		w, f := want[d], x.flags(s)
		w.deliveries++
		w.bytes += int64(x.Size(s))
		w.held += count(f&Held != 0)
		w.leased += count(f&leased != 0)
		w.waits += count(f&(Held|arriving) == 0 && !x.claimed(s))
		ends += endRoom + int64(len(x.dest(d).name))
	}
	free := elements(&x.freeDestinations)
	loose := elements(&x.loose)
	for n := range uint32(x.destinations.n) {
		d := x.dest(n)
		v.want(d.used != slices.Contains(free, n), "destination %d is used %t, and free", n, d.used)
		if !d.used {
			v.want(d.name == "" && d.deliveries == 0 && d.own == nil && !d.recorded, "something is known of destination %d, which is gone", n)
			continue
		}
		names += nameRoom + int64(len(d.name))
		known, ok := x.names[d.name]
		v.want(ok && known == n, "destination %d is not found by its name", n)
		w := want[n]
		if w == nil {
			w = &counts{}
		}
		same(v, counts{d.deliveries, d.held, d.leased, d.waits, d.bytes}, *w, "counts of destination %d", n)
		if d.deliveries == 0 && !d.recorded && d.postponed == notPostponed && d.parkedBy == 0 {
			v.want(slices.Contains(loose, n), "destination %d is to be forgotten", n)
		}
		same(v, d.postponed == notPostponed, d.until.IsZero(), "whether destination %d is postponed", n)
	}
	shape(v, &x.destinations, "destinations")
	same(v, len(x.names), x.destinations.n-len(free), "names of destinations")
	same(v, x.nameRoom, names, "room for names")
	same(v, x.ends, ends, "room for ends")
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (v *verifier) tenants() {
	x := v.x
	same(v, x.tenantLanes.n, x.tenantNames.n, "counts beside names of tenants")
	lanes := map[uint32]int32{}
	for k := range x.laneOfKey {
		lanes[k.tenant]++
	}
	free, loose := elements(&x.freeTenants), elements(&x.looseTenants)
	for n := range uint32(x.tenantNames.n) {
		same(v, *x.tenantLanes.at(int(n)), lanes[n], "lanes of tenant %d", n)
		name := *x.tenantNames.at(int(n))
		known, ok := x.tenants[name]
		if lanes[n] > 0 {
			v.want(ok && known == n && !slices.Contains(free, n), "tenant %d is not found by its name", n)
			continue
		}
		v.want(slices.Contains(free, n) || slices.Contains(loose, n), "tenant %d has no lanes and is not forgotten", n)
		if slices.Contains(free, n) {
			v.want(name == "" && !(ok && known == n), "tenant %d is free and known", n)
			for _, d := range x.due {
				v.want(d.of(n) == nil, "tenant %d is free and has a heap", n)
			}
		}
	}
	seen := map[uint32]bool{}
	for _, n := range free {
		v.want(!seen[n], "tenant %d is free twice", n)
		seen[n] = true
	}
	same(v, len(x.tenants), x.tenantNames.n-len(free), "names of tenants")
}

func (v *verifier) leases() {
	x := v.x
	live := 0
	for s, l := range x.leases {
		v.want(v.there[s] && l.slot == s, "a lease of slot %d is of slot %d, or of nobody", s, l.slot)
		if l.pos >= 0 {
			live++
			v.want(l.pos < x.byEnd.list.n && x.byEnd.at(l.pos) == l, "the lease of slot %d is not where it stands", s)
		}
	}
	same(v, x.byEnd.list.n, live, "leases that have not ended")
	shape(v, &x.byEnd.list, "leases")
	for i := 1; i < x.byEnd.list.n; i++ {
		v.want(!x.byEnd.before(i, (i-1)/2), "leases are not in order")
	}
}

// counts looks at what is counted of segments, and of all.
func (v *verifier) counts() {
	x := v.x
	type home struct {
		message uint64
		segment uint16
	}
	want := map[uint16]*Refs{}
	of := func(n uint16) *Refs {
		if want[n] == nil {
			want[n] = &Refs{}
		}
		return want[n]
	}
	homes := map[home]bool{}
	flushes := 0
	for s := range v.there {
		e := x.Get(s)
		of(e.Home).Homes++
		if h := (home{e.Message, e.Home}); !homes[h] {
			homes[h] = true
			of(e.Home).Bytes += MessageBytes(e.Size, e.Flags)
		}
		r := of(e.Record.Segment)
		r.Records++
		r.Bytes += DeliveryCost
		flushes += count(x.flags(s)&flushed != 0)
	}
	for n := range x.destinations.n {
		if d := x.destinations.at(n); d.recorded {
			of(d.record.Segment).Destinations++
		}
	}
	for n := range uint16(len(x.segments)) {
		same(v, x.Refs(n), *of(n), "what is needed of segment %d", n)
	}
	for n := range want {
		v.want(int(n) < len(x.segments), "nothing is counted of segment %d", n)
	}
	same(v, x.flushed, flushes, "deliveries that were flushed")
}

// messages counts the messages that are there, and looks at those that are wide.
func (v *verifier) messages() {
	x := v.x
	sizes := map[uint64]uint32{}
	wides := map[uint64]*wide{}
	for s := range v.there {
		m := x.message(s)
		if !x.hides(m) {
			sizes[m] = x.Size(s)
		}
		if isWide(m) {
			if wides[m] == nil {
				wides[m] = &wide{homes: map[uint16]int{}, parts: make([]uint64, max(1, spread(m)/64))}
			}
			w, p := wides[m], part(m, x.laneOf(s).key.destination)
			w.n++
			w.homes[x.Get(s).Home]++
			w.parts[p/64] |= 1 << (p % 64)
		}
	}
	var bytes int64
	var want, have []uint64
	for m, size := range sizes {
		bytes += int64(size)
		want = append(want, Ordinal(m))
	}
	slices.Sort(want)
	for n, ok := x.ordinals.next(0); ok && len(have) <= len(want); n, ok = x.ordinals.next(n + 1) {
		have = append(have, n)
	}
	v.want(slices.Equal(have, want), "messages: have %v, want %v", have, want)
	same(v, x.messages, len(sizes), "messages")
	same(v, x.bytes, bytes, "bytes")
	for m, w := range wides {
		h := x.wide[m]
		v.want(h != nil && h.n == w.n && maps.Equal(h.homes, w.homes) && slices.Equal(h.parts, w.parts),
			"of wide message %d is counted %+v, want %+v", m, h, w)
	}
	same(v, len(x.wide), len(wides), "wide messages")
}

func (v *verifier) parking() {
	x, p := v.x, &v.x.parking
	by := map[uint32]owners{}
	n := 0
	for i, o := range p.owners {
		if o == nil {
			continue
		}
		n++
		known, ok := p.numbers[o.name]
		v.want(ok && known == i && o.bit == 1<<i, "owner %d is not found by its name", i)
		v.want(o.byEnd.list.n > 0, "owner %d has nothing", i)
		same(v, len(o.byDestination), o.byEnd.list.n, "destinations that owner %d has parked", i)
		for at := range o.byEnd.list.n {
			e := o.byEnd.at(at)
			v.want(o.byDestination[e.destination] == e && e.pos == at, "what owner %d has parked is not where it stands", i)
			v.want(at == 0 || e.until >= o.byEnd.at((at-1)/2).until, "what owner %d has parked is not in order", i)
			by[e.destination] |= o.bit
		}
	}
	same(v, len(p.numbers), n, "owners")
	for n := range uint32(x.destinations.n) {
		same(v, x.dest(n).parkedBy, by[n], "who parks destination %d", n)
	}
}

// shape looks at the pages of a list.
func shape[T any](v *verifier, p *paged[T], what string) {
	n := 0
	for i, page := range p.pages {
		v.want(len(page) == pageLen || i == len(p.pages)-1 && len(page) > 0, "page %d of %d %s has %d", i, len(p.pages), what, len(page))
		n += len(page)
	}
	same(v, p.n, n, "elements of %s", what)
}

func elements[T any](p *paged[T]) (list []T) {
	for i := range p.n {
		list = append(list, *p.at(i))
	}
	return list
}
