package sched

import "slices"

// tally is what is counted anew of all deliveries that are held, to compare with what the
// scheduler has counted step by step.
type tally struct {
	tenants  map[*tenant]*tenant
	lanes    map[*lane]*lane
	sites    map[*site]*site
	places   map[*place]int
	groups   map[*group]map[*tenant]int
	slow     int
	trials   int
	inFlight int
}

func newTally(s *Scheduler) *tally {
	a := &tally{
		tenants: map[*tenant]*tenant{}, lanes: map[*lane]*lane{}, sites: map[*site]*site{}, places: map[*place]int{},
		groups: map[*group]map[*tenant]int{},
	}
	for _, u := range s.tenants {
		a.tenants[u] = &tenant{}
	}
	for _, g := range s.groups {
		a.groups[g] = map[*tenant]int{}
	}
	for t := s.known.head; t != nil; t = t.next {
		a.sites[t] = &site{}
		for u, l := range t.lanes {
			a.tenants[u].sites++
			a.lanes[l] = &lane{}
		}
		for _, u := range t.turned {
			a.tenants[u].turned++
		}
	}
	for _, m := range s.items {
		a.tenants[m.tenant].held++
		if m.state != leaving {
			a.places[m.place]++
		}
		if m.state == waiting || m.state == begun {
			l := m.ship.lane
			a.lanes[l].held++
			a.sites[l.site].held++
			if l.site.class == slow {
				a.tenants[m.tenant].heldSlow++
			}
			for _, g := range l.site.groups {
				a.groups[g][m.tenant]++
			}
		}
	}
	for _, sh := range s.ships {
		a.inFlight++
		a.sites[sh.site].inFlight++
		a.lanes[sh.lane].inFlight++
		a.tenants[sh.lane.tenant].inFlight++
		if sh.slow {
			a.slow++
		}
		if sh.trial {
			a.trials++
		}
	}
	return a
}

// count compares what the scheduler has counted, and looks for what it should have
// forgotten, or has in the wrong place.
func (w *world) count(step) {
	s := w.s
	a := newTally(s)
	if s.slow != a.slow || s.trials != a.trials || s.inFlight != a.inFlight {
		w.fail("counted %d slow, %d trials, %d in flight, want %d, %d, %d", s.slow, s.trials, s.inFlight, a.slow, a.trials, a.inFlight)
	}
	w.countTenants(a)
	w.countPlaces(a)
	for t := s.known.head; t != nil; t = t.next {
		w.countSite(a, t)
	}
	w.countLists()
}

func (w *world) countTenants(a *tally) {
	s := w.s
	if len(s.tenantList) != len(s.tenants) {
		w.fail("%d tenants in the list of %d", len(s.tenantList), len(s.tenants))
	}
	for u, want := range a.tenants {
		if s.tenantList[u.index] != u {
			w.fail("%s does not know its place", u.name)
		}
		if u.held != want.held || u.heldSlow != want.heldSlow || u.inFlight != want.inFlight || u.sites != want.sites || u.turned != want.turned {
			w.fail("%s: %+v, want %+v", u.name, *u, *want)
		}
		if u.held+u.sites+u.turned == 0 {
			w.fail("%s is not forgotten", u.name)
		}
		for c := range u.lanes {
			if heaped(&u.lanes[c]) < 0 || (len(u.lanes[c].list) > 0) != (u.at[c] != absent) {
				w.fail("what %s may begin is in the wrong order", u.name)
			}
		}
	}
}

func (w *world) countPlaces(a *tally) {
	s := w.s
	if len(s.placeList) != len(s.places) {
		w.fail("%d destinations in the list of %d", len(s.placeList), len(s.places))
	}
	for name, p := range s.places {
		if p.name != name || p.held != a.places[p] || p.held == 0 || s.placeList[p.index] != p {
			w.fail("%s: %+v, want %d held", name, *p, a.places[p])
		}
	}
}

func (w *world) countSite(a *tally, t *site) {
	want := a.sites[t]
	if t.held != want.held || t.inFlight != want.inFlight || heaped(&t.turn) < 0 {
		w.fail("%s holds %d, %d in flight, want %d and %d", t.key, t.held, t.inFlight, want.held, want.inFlight)
	}
	waiting, byMessage, idle := 0, 0, 0
	for u, l := range t.lanes {
		want := a.lanes[l]
		if l.held != want.held || l.inFlight != want.inFlight || l.tenant != u {
			w.fail("%s of %s: %+v, want %+v", t.key, u.name, *l, *want)
		}
		if l.held+l.inFlight == 0 {
			if idle++; idle > 1 { // one stays for the next mail
				w.fail("what %s had at %s is not forgotten", u.name, t.key)
			}
		}
		n := heaped(&l.waiting)
		if n < 0 || (n > 0) != (l.turnAt != absent) {
			w.fail("what waits at %s of %s is in the wrong order", t.key, u.name)
		}
		waiting += n
		for _, sh := range l.waiting.list {
			first := sh.items[0]
			for _, m := range sh.items {
				if m.rank.Before(first.rank) || m.rank.Equal(first.rank) && m.ID < first.ID {
					first = m
				}
			}
			if !sh.rank.Equal(first.rank) || sh.first != first.ID {
				w.fail("a shipment has not the rank of its first")
			}
			if t.byMessage[sh.items[0].Message] == sh {
				byMessage++
			}
		}
	}
	if t.waiting != waiting || len(t.byMessage) != byMessage {
		w.fail("%d wait at %s, %d by their messages, want %d and %d", t.waiting, t.key, len(t.byMessage), waiting, byMessage)
	}
	parked := 0
	for i, k := range t.keptList {
		if k.at != i || t.kept[k.destination] != k {
			w.fail("%s is kept in the wrong place", k.destination)
		}
		if k.parked {
			parked++
		}
	}
	if t.parked != parked || len(t.kept) != len(t.keptList) {
		w.fail("%s has parked %d, want %d", t.key, t.parked, parked)
	}
	for i, u := range t.turned {
		if slices.Contains(t.turned[:i], u) {
			w.fail("%s has turned away %s twice", t.key, u.name)
		}
	}
}

// countLists is of the lists in which sites are.
func (w *world) countLists() {
	s := w.s
	if heaped(&s.alarms) < 0 || heaped(&s.boards[quick]) < 0 || heaped(&s.boards[slow]) < 0 {
		w.fail("what comes next is in the wrong order")
	}
	parked, known := 0, 0
	for t := s.known.head; t != nil; t = t.next {
		known++
		parked += t.parked
		in := func(list []*site) (n int) {
			for _, other := range list {
				if other == t {
					n++
				}
			}
			return n
		}
		only := func(what string, n int, is bool) {
			if n > 1 || (n == 1) != is {
				w.fail("%s is %d times among those that %s, want it there: %t", t.key, n, what, is)
			}
		}
		blocked, waits := 0, 0
		for _, g := range t.groups {
			blocked += in(g.blocked)
			waits += in(g.parked)
		}
		only("would begin", blocked, t.blocked)
		only("would be given mail", waits, t.waits)
		only("nothing is known of", in(s.newest), t.inNewest)
		only("have turned mail away", in(s.turning), t.turnedAt != absent)
		only("want a claim", in(s.claims.refills[quick])+in(s.claims.refills[slow]), t.refill && s.claims.site != t)
		if t.refill && s.claims.site != t && in(s.claims.refills[t.class]) != 1 {
			w.fail("%s waits for a claim among those of the other class", t.key)
		}
		if (len(t.turned) > 0) != (t.turnedAt != absent) || t.turnedAt != absent && s.turning[t.turnedAt] != t {
			w.fail("%s has turned away %d", t.key, len(t.turned))
		}
		if t.next == nil && s.known.tail != t || t.next != nil && t.next.prev != t {
			w.fail("the list of sites is broken at %s", t.key)
		}
	}
	if known != len(s.sites) || parked != s.parked {
		w.fail("%d sites of %d, %d parked, counted %d", known, len(s.sites), parked, s.parked)
	}
	for name, g := range s.groups {
		if g.Name != name || g.sites == 0 {
			w.fail("group %s is not forgotten", name)
		}
	}
}

// heaped is how many elements a heap has, or less than none where one is in the wrong
// place.
func heaped[T comparable](h *heap[T]) int {
	for i, e := range h.list {
		if *h.at(e) != i || i > 0 && h.less(e, h.list[(i-1)/2]) {
			return -1
		}
	}
	return len(h.list)
}
