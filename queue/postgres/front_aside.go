package postgres

import "slices"

// setAside forgets heads of lanes that a claim leaves out, the last of them, so that those
// which remain and all others are so many. Half of the room is left to them: what one
// claim leaves out, the next may admit. From then on no head of these names beyond what is
// remembered is, until a claim admits them.
func (f *front) setAside(a *admission, keep int) {
	type head struct {
		place
		of name
	}
	var list []head
	for _, l := range f.order {
		if of, out := a.leavesOut(l.key); out {
			for _, h := range l.heads {
				list = append(list, head{h.place, of})
			}
		}
	}
	left := max(keep-(f.heads-len(list)), keep/2)
	if len(list) <= left {
		return
	}
	slices.SortFunc(list, func(a, b head) int { return a.compare(b.place) })
	if f.aside == nil {
		f.aside = make(map[name]place)
	}
	for _, h := range list[left:] {
		before := place{h.rank, h.seq - 1}
		if at, ok := f.aside[h.of]; !ok || before.compare(at) < 0 {
			f.aside[h.of] = before
		}
	}
	f.cutLanes()
}

// back are the names that a claim admits whose heads were forgotten because others did
// not. The heads must be found first, or what comes later would be taken before: so the
// claim leaves the names out, and about every second one looks for them.
func (f *front) back(a *admission) map[name]place {
	var back map[name]place
	for n, at := range f.aside {
		if a.leavesOutName(n) {
			continue
		}
		if back == nil {
			back = make(map[name]place)
		}
		back[n] = at
	}
	return back
}

// lookBack has about every second claim look for heads of names that it leaves out for a moment.
// Those that begin to be looked for meanwhile have their turn after the end.
func (f *front) lookBack(c *frontCall, a *admission) {
	if len(a.back) == 0 || !f.looked.next() {
		return
	}
	first, next := everywhere, everywhere
	for _, at := range a.back {
		if at.compare(first) < 0 {
			first = at
		}
		if at.compare(f.backAt) >= 0 && at.compare(next) < 0 {
			next = at
		}
	}
	if next == everywhere {
		next = first
	}
	c.back, c.more, c.reach, c.page = a.back, false, next, f.mostLooks()
}

// cameBack notes up to where a claim has looked for heads of names, and reports whether
// that says anything of one.
func (f *front) cameBack(c *frontCall, to place) (moved bool) {
	for n := range c.back {
		at, ok := f.aside[n]
		if !ok || c.reach.compare(at) > 0 || at.compare(to) >= 0 {
			continue
		}
		moved = true
		if f.aside[n] = to; to.compare(f.reach) >= 0 {
			delete(f.aside, n)
		}
	}
	f.backAt = to
	return moved
}
