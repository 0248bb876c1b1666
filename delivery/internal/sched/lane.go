package sched

import (
	"slices"
	"time"
)

// tenantBefore implements rule T1.
func tenantBefore(a, b *tenant) bool {
	if a.inFlight != b.inFlight {
		return a.inFlight < b.inFlight
	}
	return a.served < b.served
}

// laneBefore implements rule T2.
func laneBefore(a, b *lane) bool {
	if !a.key.Equal(b.key) {
		return a.key.Before(b.key)
	}
	return a.served < b.served
}

// laneDue implements rule T3.
func laneDue(a, b *lane) bool {
	if a.inFlight != b.inFlight {
		return a.inFlight < b.inFlight
	}
	return a.served < b.served
}

// precedes reports whether a lane whose turn it is at its site takes the turn of the
// tenant of another lane there: rules T3 and T4.
func (l *lane) precedes(other *lane) bool {
	u := other.tenant
	return l != other && (u.inFlight > 0 || l.served < u.served)
}

// shipmentBefore implements rule T6.
func shipmentBefore(a, b *shipment) bool {
	if !a.rank.Equal(b.rank) {
		return a.rank.Before(b.rank)
	}
	return a.first < b.first
}

// tenant returns the tenant of a name, a new one if none of its mail is held.
func (s *Scheduler) tenant(name string) *tenant {
	u := s.tenants[name]
	if u == nil {
		s.served++
		u = &tenant{name: name, served: s.served, index: len(s.tenantList)}
		for c := range u.lanes {
			u.lanes[c] = heap[*lane]{less: laneBefore, at: func(l *lane) *int { return &l.at }}
			u.at[c] = absent
		}
		s.tenants[name] = u
		s.tenantList = append(s.tenantList, u)
	}
	return u
}

// forgetTenant forgets a tenant without mail and lanes.
func (s *Scheduler) forgetTenant(u *tenant) {
	if u.held > 0 || u.sites > 0 || u.turned > 0 {
		return
	}
	last := len(s.tenantList) - 1
	s.tenantList[u.index] = s.tenantList[last]
	s.tenantList[u.index].index = u.index
	s.tenantList[last] = nil
	s.tenantList = s.tenantList[:last]
	delete(s.tenants, u.name)
}

// fixTenant moves a tenant to its place among those with mail that may begin.
func (s *Scheduler) fixTenant(u *tenant) {
	for c := range u.at {
		if u.at[c] != absent {
			s.boards[c].fix(u)
		}
	}
}

// lane returns the lane of a tenant at a site, a new one if there is none.
func (s *Scheduler) lane(t *site, u *tenant) *lane {
	l := t.lanes[u]
	if l == nil {
		if t.lanes == nil {
			t.lanes = make(map[*tenant]*lane)
		}
		l = &lane{tenant: u, site: t, at: absent, turnAt: absent}
		l.waiting = heap[*shipment]{less: shipmentBefore, at: func(sh *shipment) *int { return &sh.at }}
		t.lanes[u] = l
		u.sites++
	}
	return l
}

// forgetLane forgets a lane without mail. The last lane of a site stays for its next
// mail.
func (s *Scheduler) forgetLane(l *lane) {
	if l.held > 0 || l.inFlight > 0 || len(l.site.lanes) == 1 && s.sites[l.site.key] == l.site {
		return
	}
	delete(l.site.lanes, l.tenant)
	l.tenant.sites--
	s.forgetTenant(l.tenant)
}

// queueUp adds a shipment to its lane.
func (s *Scheduler) queueUp(now time.Time, sh *shipment) {
	l, t := sh.lane, sh.site
	l.waiting.add(sh)
	t.waiting++
	if len(l.waiting.list) == 1 {
		s.served++
		l.served, l.since = s.served, now
		t.turn.add(l)
	}
	s.rekey(l)
}

// unqueue takes a shipment out of its lane.
func (s *Scheduler) unqueue(sh *shipment) {
	l, t := sh.lane, sh.site
	l.waiting.remove(sh)
	t.waiting--
	if len(l.waiting.list) == 0 {
		t.turn.remove(l)
		s.unlist(l)
		return
	}
	s.rekey(l)
}

// rekey moves a lane to its place among those of its tenant.
func (s *Scheduler) rekey(l *lane) {
	sh, _ := l.waiting.first()
	l.key = l.since.Add(-time.Duration(sh.items[0].Priority) * s.settings.PriorityStep)
	if l.at != absent {
		l.tenant.lanes[l.site.class].fix(l)
	}
}

// list adds a lane to those that may begin an attempt.
func (s *Scheduler) list(l *lane) {
	if l.at != absent {
		return
	}
	u, c := l.tenant, l.site.class
	u.lanes[c].add(l)
	if u.at[c] == absent {
		s.boards[c].add(u)
	}
}

func (s *Scheduler) unlist(l *lane) {
	if l.at == absent {
		return
	}
	u, c := l.tenant, l.site.class
	u.lanes[c].remove(l)
	if len(u.lanes[c].list) == 0 {
		s.boards[c].remove(u)
	}
}

// quickTime is the longest time that an attempt at a quick site takes.
const quickTime = 5 * time.Second

// isQuick reports whether the site is quick now.
func (t *site) isQuick(now time.Time) bool {
	return t.known && t.last < quickTime && (t.inFlight == 0 || now.Sub(t.progress) < quickTime)
}

// classify moves a site to the class to which it belongs now.
func (s *Scheduler) classify(now time.Time, t *site) {
	c := slow
	if t.isQuick(now) {
		c = quick
	}
	if c == t.class {
		return
	}
	var listed []*lane
	for _, l := range t.turn.list {
		if l.at != absent {
			s.unlist(l)
			listed = append(listed, l)
		}
	}
	sign := 1
	if t.class = c; c == quick {
		sign = -1
	}
	s.heldSlow += sign * t.held
	for u, l := range t.lanes {
		u.heldSlow += sign * l.held
	}
	for _, l := range listed {
		s.list(l)
	}
	s.moveRefill(t)
}

// moveRefill moves a site whose class has changed to the line of that class: a site
// that has become quick does not wait for room that slow ones take.
func (s *Scheduler) moveRefill(t *site) {
	if !t.refill || t == s.claims.site {
		return
	}
	for k := range s.claims.refills {
		line := s.claims.refills[k]
		if i := slices.Index(line, t); i >= 0 {
			s.claims.refills[k] = slices.Delete(line, i, i+1)
		}
	}
	s.claims.refills[t.class] = append(s.claims.refills[t.class], t)
}

// alarmFor sees to it that a site is looked at again at a time.
func (s *Scheduler) alarmFor(t *site, at time.Time) {
	switch {
	case t.alarmAt == absent:
		t.alarm = at
		s.alarms.add(t)
	case at.Before(t.alarm):
		t.alarm = at
		s.alarms.fix(t)
	}
}
