package postgres

import (
	"cmp"
	"maps"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
)

// others are the tenants that a claim leaves out because others have mail: every second
// one those that are full and those with very many heads, and the claims between all but
// one of the latter. So tenants have their turns, however much was due before.
func (f *front) others(admits func(laneKey) bool) (out []string) {
	f.turn = !f.turn && len(f.full)+len(f.short) > 0
	if f.turn {
		i := slices.IndexFunc(f.order, func(l *lane) bool {
			_, short := f.short[l.key.tenant]
			return !short && !f.full[l.key.tenant] && admits(l.key)
		})
		if f.turn = i >= 0; f.turn {
			all := maps.Clone(f.full)
			if all == nil {
				all = make(map[string]bool)
			}
			for name := range f.short {
				all[name] = true
			}
			return slices.Collect(maps.Keys(all))
		}
		if f.reach == everywhere {
			clear(f.full)
		}
	}
	names := slices.Sorted(maps.Keys(f.short))
	names = slices.DeleteFunc(names, func(name string) bool { return !admitsTenant(admits, name) })
	if len(names) < 2 {
		return nil
	}
	i, found := slices.BinarySearch(names, f.last)
	if found {
		i++
	}
	f.last = names[i%len(names)]
	return slices.DeleteFunc(names, func(name string) bool { return name == f.last })
}

// admitsTenant reports whether a claim may take from some lane of a tenant.
func admitsTenant(admits func(laneKey) bool, name string) bool {
	const none = "\x00" // no destination has it
	return admits(laneKey{destination: none, tenant: name})
}

// gave notes which tenants have had as much as a claim gives to one. If a claim that left
// such tenants out says that there is no more of others, their turn is over.
func (f *front) gave(list []queue.Delivery, most int, turned, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if turned && !more {
		clear(f.full)
	}
	had := make(map[string]int)
	for i := range list {
		name := list[i].Message.Tenant
		if had[name]++; had[name] == most {
			if f.full == nil {
				f.full = make(map[string]bool)
			}
			f.full[name] = true
		}
	}
}

// bound has a claim take nothing that comes after a head which is missing here, of a
// tenant that it does not leave out. It reports whether the claim is to look for more of
// these: if half of those that were left are gone, or fewer lanes come before than it wants
// deliveries.
func (f *front) bound(c *frontCall, most int, admits func(laneKey) bool, out map[string]bool) (look bool) {
	first := everywhere
	for name, at := range f.short {
		if out[name] || !admitsTenant(admits, name) {
			continue
		}
		if at.compare(first) < 0 {
			first = at
		}
		if f.of[name] <= f.level/2 && (!look || at.compare(c.reach) < 0) {
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
	case c.more:
		for name, at := range f.short {
			if c.reach.compare(at) <= 0 && at.compare(to) < 0 {
				f.short[name], moved = to, true
				if to.compare(f.reach) >= 0 {
					delete(f.short, name)
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

// reachOf is up to where all heads of a tenant are here.
func (f *front) reachOf(tenant string) place {
	if at, ok := f.short[tenant]; ok {
		return at
	}
	return f.reach
}

// count counts heads that were added to a lane, or taken out if n is negative.
func (f *front) count(l *lane, n int) {
	f.heads += n
	if f.of[l.key.tenant] += n; f.of[l.key.tenant] == 0 {
		delete(f.of, l.key.tenant)
	}
}

// shrink forgets heads but for so many: the last of the tenants with the most, so that
// the mail of others is not hidden behind theirs. If there are more tenants than that, it
// forgets the last of all.
func (f *front) shrink(keep int) {
	f.level = level(slices.Collect(maps.Values(f.of)), keep)
	if f.level == 0 {
		var all []place
		for _, l := range f.order {
			all = append(all, l.places()...)
		}
		slices.SortFunc(all, place.compare)
		f.reach = all[keep-1]
		maps.DeleteFunc(f.short, func(_ string, at place) bool { return at.compare(f.reach) >= 0 })
	} else {
		f.shorten()
	}
	touched := make(map[*lane]bool)
	for _, l := range f.order {
		before, reach := len(l.heads), f.reachOf(l.key.tenant)
		l.heads = slices.DeleteFunc(l.heads, func(h knownHead) bool { return h.place.compare(reach) > 0 })
		if len(l.heads) < before {
			f.count(l, len(l.heads)-before)
			touched[l] = true
		}
	}
	f.sort(touched)
}

// shorten says up to where heads are here of tenants that have more than a level.
func (f *front) shorten() {
	all := make(map[string][]place)
	for _, l := range f.order {
		if f.of[l.key.tenant] > f.level {
			all[l.key.tenant] = append(all[l.key.tenant], l.places()...)
		}
	}
	if f.short == nil {
		f.short = make(map[string]place)
	}
	for name, list := range all {
		slices.SortFunc(list, place.compare)
		f.short[name] = list[f.level-1]
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
