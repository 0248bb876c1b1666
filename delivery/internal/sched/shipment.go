package sched

import (
	"slices"
	"time"
)

// Ship is a shipment's number: deliveries of one message that are in one attempt.
type Ship uint64

// shipment is deliveries of one message that go to one site together.
type shipment struct {
	n     Ship // zero while it waits
	site  *site
	lane  *lane
	items []*item
	rcpts int
	rank  time.Time
	first ID
	at    int // in its lane

	slow, trial bool // begun at a site that is not quick, as a trial
	unsent      bool // trouble of our own kept it from being made
	turns       int  // so many went before it in the same turn
}

// maxJoined is how many recipients a shipment has before the next begins.
const maxJoined = 5000

func shipmentBefore(a, b *shipment) bool {
	if !a.rank.Equal(b.rank) {
		return a.rank.Before(b.rank)
	}
	return a.first < b.first
}

func (s *Scheduler) newShipment() *shipment {
	if last := len(s.spareShips) - 1; last >= 0 {
		sh := s.spareShips[last]
		s.spareShips = s.spareShips[:last]
		return sh
	}
	return &shipment{}
}

// push lets a delivery wait for its turn at a site, with others of its message
// where there are any.
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

// pull takes a delivery out of those that wait at its site.
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

// rerank puts a shipment that waits where the first of its deliveries belongs.
func (sh *shipment) rerank() {
	sh.rank, sh.first = sh.items[0].rank, sh.items[0].ID
	for _, m := range sh.items[1:] {
		sh.rankBy(m)
	}
	sh.lane.waiting.fix(sh)
}

// rankBy ranks a shipment no lower than one of its deliveries.
func (sh *shipment) rankBy(m *item) {
	if m.rank.Before(sh.rank) || m.rank.Equal(sh.rank) && m.ID < sh.first {
		sh.rank, sh.first = m.rank, m.ID
		sh.lane.waiting.fix(sh)
	}
}

// dissolve frees a shipment that nothing is left of.
func (s *Scheduler) dissolve(sh *shipment, message string) {
	if sh.site.byMessage[message] == sh {
		delete(sh.site.byMessage, message)
	}
	*sh = shipment{items: sh.items[:0]}
	s.spareShips = append(s.spareShips, sh)
}

// part takes a delivery out of the shipment it is in flight with.
func (s *Scheduler) part(now time.Time, m *item) {
	sh := m.ship
	sh.items = withoutItem(sh.items, m)
	m.ship, m.state = nil, moving
	s.count(sh.lane, -1)
	s.eased(now, sh.site)
}

// Ended says that the attempts at a shipment have ended. What the caller has said
// nothing of is gone, unless trouble of our own kept it from being sent: that waits
// as before.
func (s *Scheduler) Ended(now time.Time, n Ship) {
	sh := s.ships[n]
	if sh == nil {
		return
	}
	delete(s.ships, n)
	t, l := sh.site, sh.lane
	t.progress = now
	t.inFlight--
	s.inFlight--
	s.leaveGroups(now, t)
	l.inFlight--
	l.tenant.inFlight--
	if sh.slow {
		s.slow--
	}
	if sh.trial {
		s.trials--
	}
	s.fixTenant(l.tenant)
	if l.turnAt != absent {
		t.turn.fix(l)
	}
	if sh.unsent {
		s.probeFailed(now, 0, n)
	}
	for len(sh.items) > 0 {
		m := sh.items[len(sh.items)-1]
		if !sh.unsent {
			s.leave(now, m)
			continue
		}
		s.part(now, m)
		switch {
		case s.drained:
			s.giveBack(now, m, Back{Why: Draining})
		case t.closed(now):
			s.keepAt(now, t, m)
		default:
			s.push(now, t, m)
		}
	}
	s.probeOverShip(now, n)
	s.handOn = handOn{t, sh.turns + 1}
	*sh = shipment{items: sh.items[:0]}
	s.spareShips = append(s.spareShips, sh)
	s.forgetLane(l)
	s.forgetTenant(l.tenant)
	s.used(t)
	s.classify(now, t)
	s.touch(now, t)
	s.eased(now, t)
}

// empty takes out what waits at a site, in the order of ranks. What it returns is in
// no shipment any more, and the site has it no longer.
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
