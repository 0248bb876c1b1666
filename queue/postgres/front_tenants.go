package postgres

import (
	"cmp"
	"maps"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
)

// others are the tenants and destinations that a claim leaves out because others have mail:
// about every second one those that are full and those with very many heads, and the claims
// between all but one tenant, or one destination, of the latter. So all have their turns,
// however much was due before.
func (f *front) others(a *admission) (out []name) {
	if len(f.full)+len(f.short) > 0 && f.turns.next() {
		if f.hasOthers(a) {
			all := make(map[name]bool, len(f.full)+len(f.short))
			maps.Copy(all, f.full)
			for n := range f.short {
				all[n] = true
			}
			return slices.Collect(maps.Keys(all))
		}
		if f.reach == everywhere {
			clear(f.full)
		}
	}
	var names [2][]name
	for n := range f.short {
		if !a.leavesOutName(n) {
			names[n.kind] = append(names[n.kind], n)
		}
	}
	kind := 1 - f.lastKind
	if len(names[kind]) < 2 {
		kind = f.lastKind
	}
	if len(names[kind]) < 2 {
		return nil
	}
	slices.SortFunc(names[kind], name.compare)
	i, found := slices.BinarySearchFunc(names[kind], name{kind, f.last[kind]}, name.compare)
	if found {
		i++
	}
	next := names[kind][i%len(names[kind])]
	f.last[kind], f.lastKind = next.name, kind
	return slices.DeleteFunc(names[kind], func(n name) bool { return n == next })
}

// hasOthers reports whether a head is here from which a claim may take, of a tenant and a
// destination that are neither full nor have very many.
func (f *front) hasOthers(a *admission) bool {
	much := func(n name) bool {
		_, short := f.short[n]
		return short || f.full[n]
	}
	return slices.ContainsFunc(f.order, func(l *lane) bool {
		return !much(l.key.toTenant()) && !much(l.key.toDestination()) && a.admits(l.key)
	})
}

// gave notes which tenants and destinations have had as much as a claim gives to one. If a
// claim that left such out says that there is no more of others, their turn is over.
func (f *front) gave(list []queue.Delivery, want queue.ClaimOptions, turned, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if turned && !more {
		clear(f.full)
	}
	had := make(map[name]int)
	note := func(n name, most int) {
		if had[n]++; had[n] == most {
			if f.full == nil {
				f.full = make(map[name]bool)
			}
			f.full[n] = true
		}
	}
	for i := range list {
		note(name{ofTenant, list[i].Message.Tenant}, want.PerTenant)
		note(name{ofDestination, list[i].Lease.Destination}, want.PerDestination)
	}
}

// bound has a claim take nothing that comes after a head which is missing here, of a
// tenant or destination that it does not leave out. It reports whether the claim is to look for more of
// these: if half of those that were left are gone, or fewer lanes come before than it wants
// deliveries.
func (f *front) bound(c *frontCall, most int, a *admission, out map[name]bool) (look bool) {
	first := everywhere
	for n, at := range f.short {
		if out[n] || a.leavesOutName(n) {
			continue
		}
		if at.compare(first) < 0 {
			first = at
		}
		if f.of[n] <= f.level[n.kind]/2 && (!look || at.compare(c.reach) < 0) {
			c.reach, look = at, true
		}
	}
	if first == everywhere {
		return false
	}
	c.cutAt(first.rank)
	before := slices.IndexFunc(c.lanes, func(l *lane) bool { return l.rank > first.rank })
	if before < 0 {
		before = len(c.lanes)
	}
	if !look && before < most {
		c.reach, look = first, true
	}
	c.more = look
	return look
}

// cutAt has a claim take nothing after a rank.
func (c *frontCall) cutAt(rank int64) {
	if c.cut == nil || *c.cut > rank {
		c.cut = &rank
	}
}

// move notes up to where a claim has looked for more. Another claim that was under way may
// have brought heads which were not remembered since they were beyond that, and which are
// not in the snapshot of this one: so what comes next goes by this one's.
func (f *front) move(c *frontCall, to place) {
	moved := false
	switch {
	case c.page == 0:
	case c.back != nil:
		moved = f.cameBack(c, to)
	case c.more:
		for n, at := range f.short {
			if c.reach.compare(at) <= 0 && at.compare(to) < 0 {
				f.short[n], moved = to, true
				if to.compare(f.reach) >= 0 {
					delete(f.short, n)
				}
			}
		}
	case c.reach.compare(f.reach) <= 0 && f.reach.compare(to) < 0:
		f.reach, moved = to, true
	}
	if moved {
		for other := range f.calls {
			other.moved = true
		}
	}
}

// reachOf is up to where all heads of a lane are here.
func (f *front) reachOf(l laneKey) place {
	reach := f.reach
	if len(f.short)+len(f.aside) == 0 {
		return reach
	}
	for _, n := range []name{l.toTenant(), l.toDestination()} {
		for _, up := range []map[name]place{f.short, f.aside} {
			if at, ok := up[n]; ok && at.compare(reach) < 0 {
				reach = at
			}
		}
	}
	return reach
}

// count counts heads that were added to a lane, or taken out if n is negative.
func (f *front) count(l *lane, n int) {
	f.heads += n
	for _, of := range []name{l.key.toTenant(), l.key.toDestination()} {
		if f.of[of] += n; f.of[of] == 0 {
			delete(f.of, of)
		}
	}
}

// shrink forgets heads but for so many: the last of the tenants with the most, so that
// the mail of others is not hidden behind theirs. If there are more tenants than that, it
// forgets those of the destinations with the most, and if there are more of these, too, the
// last of all.
func (f *front) shrink(keep int) {
	var counts [2][]int
	for n, heads := range f.of {
		counts[n.kind] = append(counts[n.kind], heads)
	}
	if tenants := level(counts[ofTenant], keep); tenants > 0 {
		f.shorten(ofTenant, tenants)
	} else if destinations := level(counts[ofDestination], keep); destinations > 0 {
		f.shorten(ofDestination, destinations)
	} else {
		var all []place
		for _, l := range f.order {
			all = append(all, l.places()...)
		}
		slices.SortFunc(all, place.compare)
		f.reach = all[keep-1]
		beyond := func(_ name, at place) bool { return at.compare(f.reach) >= 0 }
		maps.DeleteFunc(f.short, beyond)
		maps.DeleteFunc(f.aside, beyond)
	}
	f.cutLanes()
}

// cutLanes forgets heads that are beyond where all of their lanes are here.
func (f *front) cutLanes() {
	touched := make(map[*lane]bool)
	for _, l := range f.order {
		before, reach := len(l.heads), f.reachOf(l.key)
		l.heads = slices.DeleteFunc(l.heads, func(h knownHead) bool { return h.place.compare(reach) > 0 })
		if len(l.heads) < before {
			f.count(l, len(l.heads)-before)
			touched[l] = true
		}
	}
	f.sort(touched)
}

// shorten says up to where heads are here of tenants, or destinations, that have more than
// a level.
func (f *front) shorten(kind nameKind, level int) {
	f.level[kind] = level
	all := make(map[name][]place)
	for _, l := range f.order {
		if n := l.key.to(kind); f.of[n] > level {
			all[n] = append(all[n], l.places()...)
		}
	}
	if f.short == nil {
		f.short = make(map[name]place)
	}
	for n, list := range all {
		slices.SortFunc(list, place.compare)
		f.short[n] = list[level-1]
	}
}

func (l *lane) places() (list []place) {
	for _, h := range l.heads {
		list = append(list, h.place)
	}
	return list
}

// level is the most that each of some may keep, so that all together keep so many.
func level(counts []int, keep int) int {
	slices.SortFunc(counts, func(a, b int) int { return cmp.Compare(a, b) })
	for i, n := range counts {
		if share := keep / (len(counts) - i); n > share {
			return share
		}
		keep -= n
	}
	return keep
}
