package postgres

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// front is what a handle remembers between claims, so that none of them walks over what
// has left: those rows stay in the way of whoever looks for what is left, for as long as
// any transaction of the cluster that was open then stays so. It is what the database said
// and only ever saves looking: without it a claim finds the same.
type front struct {
	mu    sync.Mutex
	most  int // how many heads are remembered; 0 is mostHeads
	looks int // how many a claim looks at beyond these; 0 is mostPage
	gen   int // how often it was forgotten or begun anew

	known  bool    // whether the rest means anything
	server int64   // which server said so: when it was started
	xmax   int64   // the snapshot as of which it does:
	xip    []int64 // transactions that were under way, and the first after all others

	lanes map[laneKey]*lane // those with heads that are ripe, up to reach
	order []*lane           // in the order of their ranks
	heads int
	of    map[name]int   // how many of them are of each tenant and each destination
	reach place          // up to where all heads are here,
	short map[name]place // but for tenants and destinations with very many, whose heads are here up to a place
	level [2]int         // how many were left to each of these
	page  int            // how many more to look at when these are not enough

	aside  map[name]place // and for what claims leave out
	looked turns          // which claims look for heads of what they do not leave out any more
	backAt place          // up to where the last one did

	later int64               // no head ripens before
	lease int64               // no lease ends before
	next  int64               // and none of the usual length before
	now   int64               // the time of the last claim
	all   time.Time           // when all leases are looked at again, for the sake of other versions
	calls map[*frontCall]bool // claims under way

	full     map[name]bool // tenants and destinations that have had as much as a claim gives to one
	turns    turns         // which claims leave these out
	last     [2]string     // the tenant and the destination with very many whose turn was last
	lastKind nameKind      // which of these
}

// place is where a head is in the order of all that are ripe.
type place struct{ rank, seq int64 }

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.rank, o.rank), cmp.Compare(p.seq, o.seq))
}

// everywhere is after all heads.
var everywhere = place{math.MaxInt64, math.MaxInt64}

type laneKey struct {
	destination, tenant string
	priority            int16
	atOnce              bool
}

// lane is the heads of a lane.
type lane struct {
	key   laneKey
	rank  int64 // the least
	heads []knownHead
}

// knownHead is a row of table head.
type knownHead struct {
	xid int64
	place
}

const (
	mostHeads = 100_000 // that are remembered, if nothing else is set
	mostNamed = 5_000   // that a claim is told of
	mostPage  = 5_000
	allLeases = 5 * time.Minute
)

// frontCall is a claim under way.
type frontCall struct {
	gen        int
	until      int64 // the end of the leases that it gives
	overlapped int64 // the first such end of claims at the same time

	xmax       *int64
	xip        []int64
	xids, seqs []int64
	lanes      []*lane
	reach      place          // it looks for more after that
	more       bool           // and that is where heads of a tenant with very many are missing
	back       map[name]place // or of these names, which it leaves out
	moved      bool           // another call has found more meanwhile, as of an earlier snapshot
	page       int
	cut        *int64
	later      *int64
	lease      *int64
	next       *int64
	now        int64
	walk       bool // the lanes of named destinations are looked for
	turn       []name
}

// begin says what a claim is told of what is remembered. a is what it may take from. If it
// may, the claim leaves out tenants and destinations of which there is so much that the
// mail of others behind it is not looked at.
func (f *front) begin(most int, now, until int64, may bool, a *admission) *frontCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &frontCall{gen: f.gen, now: now, until: until, overlapped: math.MaxInt64, xip: []int64{}, xids: []int64{}, seqs: []int64{}}
	for other := range f.calls {
		other.overlapped = min(other.overlapped, until)
		c.overlapped = min(c.overlapped, other.until)
	}
	if f.calls == nil {
		f.calls = make(map[*frontCall]bool)
	}
	f.calls[c] = true
	a.back = nil
	if !f.known {
		return c
	}
	xmax, later, lease, next := f.xmax, f.later, f.lease, f.next
	c.xmax, c.xip, c.later = &xmax, f.xip, &later
	if now >= f.now && time.Now().Before(f.all) {
		c.lease, c.next = &lease, &next
	}
	c.reach = f.reach
	if len(a.only) > 0 && (f.reach != everywhere || len(f.short)+len(f.aside) > 0) {
		c.walk = true
		return c
	}
	a.back = f.back(a)
	enough := min(2*most+200, 2000)
	f.tell(c, enough, a, nil)
	out := make(map[name]bool)
	if may && (c.cut != nil || f.reach != everywhere || len(f.short) > 0) { // else the claim sees all that others have
		c.turn = f.others(a)
		for _, n := range c.turn {
			out[n] = true
		}
	}
	if len(out) > 0 {
		f.tell(c, enough, a, out)
	}
	look := f.bound(c, most, a, out)
	f.lookBack(c, a)
	switch {
	case c.back != nil:
	case look:
		c.page = f.mostLooks()
	case f.reach != everywhere && (len(f.full) > 0 || may && len(f.short) > 0): // others may be behind
		f.page = min(max(enough, 2*f.page), f.mostLooks())
		c.page = f.page
	case c.cut != nil || f.reach == everywhere:
		f.page = 0
	case len(c.lanes) > most:
		c.cutAt(c.reach.rank)
		f.page = 0
	default:
		f.page = min(max(enough, 2*f.page), f.mostLooks())
		c.page = f.page
	}
	return c
}

func (f *front) mostLooks() int { return cmp.Or(f.looks, mostPage) }

// tell has a claim told of the first lanes that it may take from, but for those of some
// tenants and destinations.
func (f *front) tell(c *frontCall, enough int, a *admission, out map[name]bool) {
	c.lanes, c.xids, c.seqs, c.cut = nil, c.xids[:0], c.seqs[:0], nil
	for _, l := range f.order {
		if !a.admits(l.key) || len(out) > 0 && (out[l.key.toTenant()] || out[l.key.toDestination()]) {
			continue
		}
		if len(c.lanes) >= enough || len(c.xids)+len(l.heads) > mostNamed && len(c.lanes) > 0 {
			c.cutAt(l.rank)
			break
		}
		c.lanes = append(c.lanes, l)
		if len(l.heads) > mostNamed {
			slices.SortFunc(l.heads, func(a, b knownHead) int { return a.compare(b.place) })
		}
		for _, h := range l.heads[:min(len(l.heads), mostNamed)] {
			c.xids, c.seqs = append(c.xids, h.xid), append(c.seqs, h.seq)
		}
	}
}

// frontRow is what a claim says to remember.
type frontRow struct {
	anew         *bool
	xmax         *int64
	xip          []int64
	rank, seq    *int64
	later        *int64
	lease, next  *int64
	xids         []int64
	seqs         []int64
	ranks        []int64
	destinations []string
	tenants      [][]byte
	priorities   []int16
	atOnce       []bool
	server       *int64
}

func (r *frontRow) columns() []any {
	return []any{
		&r.anew, &r.xmax, &r.xip, &r.rank, &r.seq, &r.later, &r.lease, &r.next,
		&r.xids, &r.seqs, &r.ranks, &r.destinations, &r.tenants, &r.priorities, &r.atOnce, &r.server,
	}
}

// end remembers what a claim said, or forgets everything if it failed. It reports true if
// the claim went by what another server had said: after a failover, transactions may have
// numbers that were those of others before, and what they brought would not be found.
func (f *front) end(c *frontCall, a *admission, r *frontRow, err error) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.calls, c)
	switch {
	case err != nil:
		f.forget()
		return false
	case f.known && *r.server != f.server:
		f.forget()
		return true
	case c.gen != f.gen: // it goes by what is forgotten
		f.lease, f.next = min(f.lease, c.until), min(f.next, c.until)
		return false
	case *r.anew:
		f.forget()
		f.known, f.server = true, *r.server
		f.lanes = make(map[laneKey]*lane)
		f.of, f.short, f.aside, f.reach = make(map[name]int), nil, nil, place{*r.rank, *r.seq}
		c.moved = false // nothing of that is remembered
	default:
		f.move(c, place{*r.rank, *r.seq})
	}
	lease, next := min(*r.lease, c.overlapped), min(*r.next, c.overlapped)
	if c.moved {
		f.seenByBoth(*r.xmax, r.xip)
		f.later, f.lease, f.next = min(f.later, *r.later), min(f.lease, lease), min(f.next, next)
	} else {
		f.xmax, f.xip = *r.xmax, r.xip
		f.later, f.lease, f.next = *r.later, lease, next
	}
	f.now = c.now
	if c.lease == nil {
		f.all = time.Now().Add(allLeases)
	}
	f.replace(c, r)
	most := cmp.Or(f.most, mostHeads)
	if f.heads > most {
		f.setAside(a, most*3/4)
	}
	if f.heads > most {
		f.shrink(most * 3 / 4)
	}
	return false
}

// seenByBoth has the next claim go by what is in the snapshot that is remembered and in
// another.
func (f *front) seenByBoth(xmax int64, xip []int64) {
	f.xmax = min(f.xmax, xmax)
	both := slices.Concat(f.xip, xip)
	slices.Sort(both)
	f.xip = slices.DeleteFunc(slices.Compact(both), func(xid int64) bool { return xid >= f.xmax })
}

// forget has the next claim begin anew.
func (f *front) forget() {
	f.gen++
	f.known, f.lanes, f.order, f.heads, f.of, f.short, f.aside, f.page = false, nil, nil, 0, nil, nil, nil, 0
}

// leased says when a lease ends that is no claim's.
func (f *front) leased(until int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lease, f.next = min(f.lease, until), min(f.next, until)
	for c := range f.calls {
		c.overlapped = min(c.overlapped, until)
	}
}

// replace puts the heads that a claim found in place of those that it was told of.
func (f *front) replace(c *frontCall, r *frontRow) {
	named := make(map[int64]bool, len(c.seqs))
	for _, seq := range c.seqs {
		named[seq] = true
	}
	touched := make(map[*lane]bool, len(c.lanes))
	for _, l := range c.lanes {
		if f.lanes[l.key] != l { // it was begun anew
			continue
		}
		before := len(l.heads)
		l.heads = slices.DeleteFunc(l.heads, func(h knownHead) bool { return named[h.seq] })
		f.count(l, len(l.heads)-before)
		touched[l] = true
	}
	for i, seq := range r.seqs {
		h := knownHead{r.xids[i], place{r.ranks[i], seq}}
		key := laneKey{r.destinations[i], string(r.tenants[i]), r.priorities[i], r.atOnce[i]}
		if h.place.compare(f.reachOf(key)) > 0 {
			continue
		}
		l := f.lanes[key]
		if l == nil {
			l = &lane{key: key}
			f.lanes[key] = l
		}
		touched[l] = true
		if !slices.ContainsFunc(l.heads, func(o knownHead) bool { return o.seq == seq }) {
			l.heads = append(l.heads, h)
			f.count(l, 1)
		}
	}
	f.sort(touched)
}

// sort puts lanes that have changed where they belong, and those without heads nowhere.
func (f *front) sort(touched map[*lane]bool) {
	if len(touched) == 0 {
		return
	}
	f.order = slices.DeleteFunc(f.order, func(l *lane) bool { return touched[l] })
	changed := make([]*lane, 0, len(touched))
	for l := range touched {
		if len(l.heads) == 0 {
			delete(f.lanes, l.key)
			continue
		}
		l.rank = l.heads[0].rank
		for _, h := range l.heads {
			l.rank = min(l.rank, h.rank)
		}
		changed = append(changed, l)
	}
	slices.SortFunc(changed, byRank)
	merged := make([]*lane, 0, len(f.order)+len(changed))
	i := 0
	for _, l := range f.order {
		for i < len(changed) && byRank(changed[i], l) < 0 {
			merged = append(merged, changed[i])
			i++
		}
		merged = append(merged, l)
	}
	f.order = append(merged, changed[i:]...)
}

func byRank(a, b *lane) int { return cmp.Compare(a.rank, b.rank) }
