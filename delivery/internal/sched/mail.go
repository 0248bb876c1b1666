package sched

import "time"

// ID is a delivery's number. The caller gives each that it claims one of its own,
// which is not zero.
type ID uint64

// Mail is what a Scheduler knows of a delivery.
type Mail struct {
	ID                           ID
	Message, Destination, Tenant string
	Priority, Recipients         int
	Due                          time.Time // since when it has been due

	// Deadline is when it must be looked at even if it cannot be sent; zero is never.
	Deadline time.Time
}

// Route is where a delivery goes.
type Route struct {
	// Site is the name of the hosts.
	Site string

	// Join is the same for deliveries of one message that may share an attempt at
	// the site; empty is shared with no other.
	Join string

	// Own is set where other mail for the destination may have another route.
	Own bool
}

type state uint8

const (
	unrouted  state = iota // waits for its route to be asked for
	routing                // its route is being asked for
	gathering              // waits for those of its message
	waiting                // waits at its site
	begun                  // is in an attempt
	moving                 // has left its site
	leaving                // is being settled
)

// item is a delivery that is held.
type item struct {
	Mail
	state  state
	own    bool
	rank   time.Time // since when it counts as due, with its priority
	place  *place
	tenant *tenant
	party  *party
	join   string
	to     string // the site, while gathering
	ship   *shipment
}

// place is a destination with deliveries that are held.
type place struct {
	name  string
	held  int   // not leaving
	site  *site // where the last one went; nil where there was none yet
	index int   // in Scheduler.placeList
}

// party is the deliveries of one message that were claimed together. They wait for
// each other's routes, for a moment, so that those which lead to one site go in one
// attempt.
type party struct {
	left  int // without a route yet
	until time.Time
	ready []*item
	done  bool
}

// gatherTime is how long a route is waited for on behalf of the others.
const gatherTime = 20 * time.Millisecond

// Claimed takes what a claim has found. The deliveries of one message stand
// together where they came together. more says that the queue has more that is due;
// else next is when something will be, zero where there is nothing.
func (s *Scheduler) Claimed(now time.Time, list []Mail, more bool, next time.Time) {
	s.Recovered(now, QueueFails)
	var g *party
	for i := range list {
		if i == 0 || list[i].Message != list[i-1].Message {
			g = nil
			if i+1 < len(list) && list[i+1].Message == list[i].Message {
				g = &party{until: now.Add(gatherTime)}
				s.parties = append(s.parties, g)
			}
		}
		s.hold(now, &list[i], g)
	}
	s.answered(now, len(list), more, next)
}

// hold takes one delivery.
func (s *Scheduler) hold(now time.Time, mail *Mail, g *party) {
	m := s.newItem()
	m.Mail, m.state, m.party = *mail, unrouted, g
	m.rank = mail.Due.Add(-time.Duration(mail.Priority) * s.settings.PriorityStep)
	m.tenant = s.tenant(mail.Tenant)
	m.tenant.held++
	s.held++
	p := s.places[mail.Destination]
	if p == nil {
		p = &place{name: mail.Destination}
		p.index = len(s.placeList)
		s.placeList = append(s.placeList, p)
		s.places[p.name] = p
	}
	p.held++
	m.place = p
	s.items[m.ID] = m
	if g != nil {
		g.left++
	}
	switch t := s.sites[noRouteKey(p.name)]; {
	case s.drained:
		s.giveBack(now, m, Back{Why: Draining})
	case t != nil && t.closed(now):
		s.keep(now, t, m, Back{Why: NoRoute, Whole: true, Until: t.until, Said: t.said})
	default:
		s.unrouted = append(s.unrouted, m.ID)
		return
	}
	s.notToCome(now, m)
}

func (s *Scheduler) newItem() *item {
	if last := len(s.spareItems) - 1; last >= 0 {
		m := s.spareItems[last]
		s.spareItems = s.spareItems[:last]
		return m
	}
	return &item{}
}

// Routed says where a delivery goes.
func (s *Scheduler) Routed(now time.Time, id ID, r Route) {
	m := s.items[id]
	if m == nil || m.state != routing {
		return
	}
	s.routeFound(now, id)
	if t := s.sites[noRouteKey(m.Destination)]; t != nil {
		s.revive(now, t)
		s.forgetSite(t)
	}
	m.to, m.join, m.own = r.Site, r.Join, r.Own
	g := m.party
	if g == nil || g.done {
		s.arrive(now, m)
		s.touch(now, m.place.site)
		return
	}
	m.state = gathering
	g.ready = append(g.ready, m)
	s.expectLess(now, g)
}

func (s *Scheduler) expectLess(now time.Time, g *party) {
	if g.left--; g.left == 0 {
		s.release(now, g)
	}
}

// notToCome has those of its message no longer wait for the route of a delivery.
func (s *Scheduler) notToCome(now time.Time, m *item) {
	if m.party != nil && !m.party.done {
		s.expectLess(now, m.party)
	}
}

// release sends those of a party on their way that are ready.
func (s *Scheduler) release(now time.Time, g *party) {
	if g.done {
		return
	}
	list := g.ready
	g.done, g.ready = true, nil
	for _, m := range list {
		m.state = moving
	}
	for _, m := range list {
		s.arrive(now, m)
	}
	for _, m := range list {
		if m.state == waiting {
			s.touch(now, m.ship.site)
		}
	}
}

// arrive lets a delivery wait at its site, unless that is left alone or has no
// room.
func (s *Scheduler) arrive(now time.Time, m *item) {
	t := s.site(now, m.to)
	m.place.site = t
	switch {
	case s.drained:
		s.giveBack(now, m, Back{Why: Draining})
	case t.closed(now):
		s.keepAt(now, t, m)
	case !s.hasRoom(now, t, m):
		s.parkAt(now, t, m)
	default:
		s.push(now, t, m)
		if !t.vain.IsZero() {
			t.vain = time.Time{}
			s.wantRefill(now, t)
		}
	}
}

// Gone says that the caller settles a delivery by itself: it has expired, has no
// route, or an attempt has decided about it.
func (s *Scheduler) Gone(now time.Time, id ID) {
	if m := s.items[id]; m != nil {
		s.takeOut(now, m)
	}
}

// takeOut takes a delivery out that the caller settles.
func (s *Scheduler) takeOut(now time.Time, m *item) {
	expected := m.state < gathering
	s.leave(now, m)
	if expected {
		s.notToCome(now, m)
	}
}

// Unroutable says that a delivery has no route for now, and that the caller settles
// it. Its destination is left alone for as long as wait says.
func (s *Scheduler) Unroutable(now time.Time, id ID, wait time.Duration, said string) {
	m := s.items[id]
	if m == nil {
		return
	}
	t := s.site(now, noRouteKey(m.Destination))
	t.said = said
	t.fail(now, now, wait)
	s.takeOut(now, m)
	s.used(t)
}

// Misses is how often in a row a destination had no route.
func (s *Scheduler) Misses(destination string) int {
	if t := s.sites[noRouteKey(destination)]; t != nil {
		return t.failures
	}
	return 0
}

// noRouteKey names what stands for a destination as long as nobody can say where
// its mail goes. No host is called so.
func noRouteKey(destination string) string { return "? " + destination }

// Stalled says that trouble of our own kept a delivery's route from being found. It
// is asked for again.
func (s *Scheduler) Stalled(now time.Time, id ID, c Cause) {
	m := s.items[id]
	if m == nil || m.state != routing {
		return
	}
	s.Troubled(now, c)
	s.probeFailed(now, id, 0)
	m.state = unrouted
	if s.drained {
		s.giveBack(now, m, Back{Why: Draining})
		return
	}
	s.unrouted = append(s.unrouted, id)
}

// Moved says that a delivery of a shipment has another route by now.
func (s *Scheduler) Moved(now time.Time, id ID, r Route) {
	m := s.items[id]
	if m == nil || m.state != begun {
		return
	}
	t := m.ship.site
	s.part(now, m)
	if k := t.kept[m.Destination]; k != nil {
		s.liftOne(t, k) // it goes elsewhere, too
		s.claims.again(now)
	}
	m.to, m.join, m.own = r.Site, r.Join, r.Own
	s.arrive(now, m)
	s.touch(now, m.place.site)
}

// KeptBack says that an attempt has decided nothing about a delivery because its
// site is left alone. It goes back without having been tried.
func (s *Scheduler) KeptBack(now time.Time, id ID) {
	m := s.items[id]
	if m == nil || m.state != begun {
		return
	}
	t := m.ship.site
	s.part(now, m)
	if t.closed(now) {
		s.keepAt(now, t, m)
	} else {
		s.parkAt(now, t, m)
	}
}

// Settled says that the queue has recorded what became of a delivery, or has lost
// it. If any of it is left, that is due again at the time given; zero is at once. The
// delivery may be one that the Scheduler was not told of.
func (s *Scheduler) Settled(now time.Time, id ID, left bool, due time.Time) {
	if left {
		s.claims.expect(now, due)
	}
	m := s.items[id]
	if m == nil {
		return
	}
	s.takeOut(now, m)
	delete(s.items, id)
	s.held--
	m.tenant.held--
	s.released(now, m.tenant)
	s.forgetTenant(m.tenant)
	*m = item{}
	s.spareItems = append(s.spareItems, m)
}

// leave takes a delivery out of everything but the count of what is held.
func (s *Scheduler) leave(now time.Time, m *item) {
	switch m.state {
	case leaving:
		return
	case unrouted:
		s.unrouted = without(s.unrouted, m.ID)
	case routing:
		s.probeOver(m.ID)
	case gathering:
		m.party.ready = withoutItem(m.party.ready, m)
	case waiting:
		s.pull(now, m)
	case begun:
		s.part(now, m)
	}
	m.state = leaving
	p := m.place
	if p.held--; p.held == 0 {
		s.forgetPlace(p)
	}
}

// giveBack hands a delivery back to the queue.
func (s *Scheduler) giveBack(now time.Time, m *item, b Back) {
	s.leave(now, m)
	b.ID = m.ID
	s.back = append(s.back, b)
}

func without(list []ID, id ID) []ID {
	for i := range list {
		if list[i] == id {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

func withoutItem(list []*item, m *item) []*item {
	for i := range list {
		if list[i] == m {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// forgetPlace forgets a destination that nothing is held for.
func (s *Scheduler) forgetPlace(p *place) {
	last := len(s.placeList) - 1
	s.placeList[p.index] = s.placeList[last]
	s.placeList[p.index].index = p.index
	s.placeList[last] = nil
	s.placeList = s.placeList[:last]
	delete(s.places, p.name)
}
