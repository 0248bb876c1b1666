package sched

import (
	"slices"
	"time"
)

// maxJoined is the most recipients of a shipment.
const maxJoined = 5000

func (s *Scheduler) newShipment() *shipment {
	if last := len(s.spareShips) - 1; last >= 0 {
		sh := s.spareShips[last]
		s.spareShips = s.spareShips[:last]
		return sh
	}
	return &shipment{}
}

// push lets a delivery wait for its turn at a site, together with others of its message
// if there are any.
func (s *Scheduler) push(now time.Time, t *site, m *item) {
	if t.waiting == 0 && !t.known && !t.inNewest {
		t.inNewest = true
		s.newest = append(s.newest, t)
	}
	m.state = waiting
	joins := m.party != nil && m.join != ""
	if joins {
		sh := t.byMessage[m.Message]
		if sh != nil && sh.items[0].join == m.join && sh.rcpts+m.Recipients <= maxJoined {
			sh.items, sh.rcpts, m.ship = append(sh.items, m), sh.rcpts+m.Recipients, sh
			s.count(sh.lane, 1)
			sh.rankBy(m)
			return
		}
	}
	l := s.lane(t, m.tenant)
	s.count(l, 1)
	sh := s.newShipment()
	*sh = shipment{site: t, lane: l, items: append(sh.items[:0], m), rcpts: m.Recipients, rank: m.rank, first: m.ID}
	m.ship = sh
	s.queueUp(now, sh)
	if joins {
		if t.byMessage == nil {
			t.byMessage = make(map[string]*shipment)
		}
		t.byMessage[m.Message] = sh
	}
}

// pull removes a delivery from those that wait at its site.
func (s *Scheduler) pull(now time.Time, m *item) {
	sh := m.ship
	t, l := sh.site, sh.lane
	sh.items = withoutItem(sh.items, m)
	sh.rcpts -= m.Recipients
	m.ship = nil
	s.count(l, -1)
	if len(sh.items) == 0 {
		s.unqueue(sh)
		s.dissolve(sh, m.Message)
	} else {
		sh.rerank()
	}
	s.forgetLane(l)
	s.eased(now, t)
}

// rerank moves a shipment that waits to the place of the first of its deliveries.
func (sh *shipment) rerank() {
	sh.rank, sh.first = sh.items[0].rank, sh.items[0].ID
	for _, m := range sh.items[1:] {
		sh.rankBy(m)
	}
	sh.lane.waiting.fix(sh)
}

// rankBy moves a shipment up to the place of one of its deliveries, if that is first.
func (sh *shipment) rankBy(m *item) {
	if m.rank.Before(sh.rank) || m.rank.Equal(sh.rank) && m.ID < sh.first {
		sh.rank, sh.first = m.rank, m.ID
		sh.lane.waiting.fix(sh)
	}
}

// dissolve frees a shipment without deliveries.
func (s *Scheduler) dissolve(sh *shipment, message string) {
	if sh.site.byMessage[message] == sh {
		delete(sh.site.byMessage, message)
	}
	*sh = shipment{items: sh.items[:0]}
	s.spareShips = append(s.spareShips, sh)
}

// part removes a delivery from the shipment with which it is in flight.
func (s *Scheduler) part(now time.Time, m *item) {
	sh := m.ship
	sh.items = withoutItem(sh.items, m)
	m.ship, m.state = nil, moving
	s.count(sh.lane, -1)
	s.eased(now, sh.site)
}

// empty removes all deliveries that wait at a site, and returns them in the order of
// their ranks. They are in no shipment and at no site afterwards.
func (s *Scheduler) empty(t *site) (list []*item) {
	for t.waiting > 0 {
		l := t.turn.list[len(t.turn.list)-1]
		for _, sh := range slices.Clone(l.waiting.list) {
			list = append(list, sh.items...)
		}
		for len(l.waiting.list) > 0 {
			sh := l.waiting.list[len(l.waiting.list)-1]
			s.unqueue(sh)
			for _, m := range sh.items {
				m.ship, m.state = nil, moving
				s.count(l, -1)
			}
			s.dissolve(sh, sh.items[0].Message)
		}
		s.forgetLane(l)
	}
	slices.SortFunc(list, func(a, b *item) int {
		if c := a.rank.Compare(b.rank); c != 0 {
			return c
		}
		return int(a.ID) - int(b.ID)
	})
	return list
}

// count changes how many deliveries a lane, its site and its groups hold.
func (s *Scheduler) count(l *lane, n int) {
	l.held += n
	if l.site.held += n; l.site.class == slow {
		s.heldSlow += n
		l.tenant.heldSlow += n
	}
	for _, g := range l.site.groups {
		g.count(l.tenant, n)
	}
	if n < 0 && l.held < fewWaiting && l.tenant.turned > 0 {
		s.claims.search = true
	}
}

func withoutItem(list []*item, m *item) []*item {
	for i := range list {
		if list[i] == m {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}
