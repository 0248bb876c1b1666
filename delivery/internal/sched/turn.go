package sched

import "time"

// tenant is one of those whose mail is held.
type tenant struct {
	name     string
	held     int
	heldSlow int // of these, at sites that are not quick
	inFlight int
	served   uint64 // when it began something the last time, or came
	lanes    [classes]heap[*lane]
	at       [classes]int
	sites    int  // where it has a lane
	turned   int  // sites that have turned its mail away
	left     bool // out of the claim that is being made
	index    int  // in Scheduler.tenantList
}

// lane is the mail of one tenant at one site.
type lane struct {
	tenant   *tenant
	site     *site
	waiting  heap[*shipment]
	held     int // deliveries that wait or are in flight
	inFlight int
	served   uint64
	key      time.Time // since when it waits for its turn, with the priority of its first
	since    time.Time
	at       int // among the lanes of the tenant that may begin
	turnAt   int // among those at the site
}

// tenantBefore is rule T1.
func tenantBefore(a, b *tenant) bool {
	if a.inFlight != b.inFlight {
		return a.inFlight < b.inFlight
	}
	return a.served < b.served
}

// laneBefore is rule T2.
func laneBefore(a, b *lane) bool {
	if !a.key.Equal(b.key) {
		return a.key.Before(b.key)
	}
	return a.served < b.served
}

// laneDue is rule T3.
func laneDue(a, b *lane) bool {
	if a.inFlight != b.inFlight {
		return a.inFlight < b.inFlight
	}
	return a.served < b.served
}

// precedes reports whether a lane whose turn it is at the site takes the turn of
// another's tenant there: rules T3 and T4.
func (l *lane) precedes(other *lane) bool {
	u := other.tenant
	return l != other && (u.inFlight > 0 || l.served < u.served)
}

// tenant is the tenant of a name, a new one where none of its mail is held.
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

// forgetTenant forgets a tenant that nothing is left of.
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

// fixTenant puts a tenant where it belongs among those that may begin.
func (s *Scheduler) fixTenant(u *tenant) {
	for c := range u.at {
		if u.at[c] != absent {
			s.boards[c].fix(u)
		}
	}
}

// lane is the lane of a tenant at a site.
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

// forgetLane forgets a lane that nothing is left of. The last one of a site stays
// for the next mail.
func (s *Scheduler) forgetLane(l *lane) {
	if l.held > 0 || l.inFlight > 0 || len(l.site.lanes) == 1 && s.sites[l.site.key] == l.site {
		return
	}
	if l.site.lanes[l.tenant] == l {
		delete(l.site.lanes, l.tenant)
		l.tenant.sites--
		s.forgetTenant(l.tenant)
	}
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

// rekey puts a lane where it belongs among those of its tenant.
func (s *Scheduler) rekey(l *lane) {
	sh, _ := l.waiting.first()
	l.key = l.since.Add(-time.Duration(sh.items[0].Priority) * s.settings.PriorityStep)
	if l.at != absent {
		l.tenant.lanes[l.site.class].fix(l)
	}
}

// list puts a lane among those that may begin.
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

// touch puts all lanes of a site among those that may begin, if they may.
func (s *Scheduler) touch(now time.Time, t *site) {
	if t == nil || !s.ready(now, t) {
		return
	}
	s.classify(now, t)
	for _, l := range t.turn.list {
		s.list(l)
	}
}

// ready reports whether an attempt at a site may begin, as far as the site goes.
func (s *Scheduler) ready(now time.Time, t *site) bool {
	switch {
	case t.waiting == 0:
		return false
	case t.closed(now):
		s.alarmFor(t, t.until)
		return false
	case t.inFlight >= min(t.limit(), t.most):
		return false
	case now.Before(t.paced):
		s.alarmFor(t, t.paced)
		return false
	default:
		return s.groupsReady(now, t)
	}
}

// beginAll begins what may.
func (s *Scheduler) beginAll(now time.Time, out *Output) {
	for {
		l, trial := s.next(now)
		if l == nil {
			return
		}
		s.begin(now, l, trial, out)
	}
}

// kept is how many connections are kept for sites that are quick.
func (s *Scheduler) reserve() int { return s.settings.Connections / 4 }

// next is the lane whose turn it is, nil where nothing may begin.
func (s *Scheduler) next(now time.Time) (l *lane, trial bool) {
	if s.inFlight >= s.settings.Connections || s.stopped || s.drained {
		return nil, false
	}
	l = s.best(now, quick)
	if t := s.handedOn(now); t != nil && (l == nil || l.tenant.inFlight > 0) {
		if other := s.best(now, slow); other == nil || other.tenant.inFlight > 0 || !s.slowMayBegin() {
			first, _ := t.turn.first()
			return first, false
		}
	}
	if s.slowMayBegin() {
		return s.first(l, s.best(now, slow)), false
	}
	if l == nil {
		if t := s.forTrial(now); t != nil {
			first, _ := t.turn.first()
			return first, true
		}
	}
	return l, false
}

// first is which of two lanes comes first, if there are two.
func (s *Scheduler) first(l, other *lane) *lane {
	if l == nil || other != nil && (tenantBefore(other.tenant, l.tenant) || other.tenant == l.tenant && laneBefore(other, l)) {
		return other
	}
	return l
}

// slowMayBegin reports whether an attempt may begin at a site that is not quick.
func (s *Scheduler) slowMayBegin() bool { return s.slow < s.settings.Connections-s.reserve() }

// handOn is the turn of an attempt that has ended: what its site has next may have it.
type handOn struct {
	site  *site
	turns int
}

// maxTurns is how many attempts at a site follow each other in one turn: to change the
// site may take a new connection.
const maxTurns = 16

// handedOn is the site whose turn goes on, nil where none does.
func (s *Scheduler) handedOn(now time.Time) *site {
	t := s.handOn.site
	if t == nil || s.handOn.turns >= maxTurns || !s.ready(now, t) {
		return nil
	}
	if s.classify(now, t); t.class == slow && !s.slowMayBegin() {
		return nil
	}
	return t
}

// best is the lane of a class whose turn it is.
func (s *Scheduler) best(now time.Time, c class) *lane {
	for {
		u, ok := s.boards[c].first()
		if !ok {
			return nil
		}
		l, _ := u.lanes[c].first()
		if !s.ready(now, l.site) {
			s.unlist(l)
			continue
		}
		if s.classify(now, l.site); l.site.class == c {
			return l
		}
	}
}

const firstTrial = 250 * time.Millisecond

// trialWaits reports whether a trial may begin as soon as its time has come.
func (s *Scheduler) trialWaits(now time.Time) bool {
	if s.inFlight >= s.settings.Connections || s.trials >= s.reserve()/2 || s.stopped || s.drained {
		return false
	}
	t := s.newestReady()
	return t != nil && s.ready(now, t)
}

// newestReady is the newest site of which nothing is known, with mail.
func (s *Scheduler) newestReady() *site {
	for last := len(s.newest) - 1; last >= 0; last-- {
		if t := s.newest[last]; !t.known && t.waiting > 0 && t.inFlight == 0 {
			s.newest = s.newest[:last+1]
			return t
		}
		s.newest[last].inNewest = false
		s.newest[last] = nil
	}
	s.newest = s.newest[:0]
	return nil
}

// forTrial is the site that is given a trial, nil where there is none.
func (s *Scheduler) forTrial(now time.Time) *site {
	if s.trials >= s.reserve()/2 || now.Before(s.nextTrial) {
		return nil
	}
	t := s.newestReady()
	if t == nil || !s.ready(now, t) {
		return nil
	}
	return t
}

// begin begins an attempt at the site of a lane, with what is due there.
func (s *Scheduler) begin(now time.Time, l *lane, trial bool, out *Output) {
	t := l.site
	if first, _ := t.turn.first(); first.precedes(l) {
		l = first
	}
	sh, _ := l.waiting.first()
	s.unqueue(sh)
	if id := sh.items[0].Message; t.byMessage[id] == sh {
		delete(t.byMessage, id)
	}
	s.lastShip++
	if s.handOn.site == t {
		sh.turns = s.handOn.turns
	}
	s.handOn = handOn{}
	sh.n, sh.slow, sh.trial = s.lastShip, t.class == slow && !trial, trial
	s.ships[sh.n] = sh
	if sh.slow {
		s.slow++
	}
	if trial {
		s.trials++
		s.nextTrial = now.Add(firstTrial * time.Duration((s.trials+1)*(s.trials+1)))
	}
	if t.inFlight++; t.inFlight == 1 {
		t.progress = now
	}
	s.inFlight++
	s.enterGroups(now, t)
	s.served++
	l.inFlight++
	l.served, l.since = s.served, now
	l.tenant.inFlight++
	l.tenant.served = s.served
	if l.turnAt != absent {
		t.turn.fix(l)
		s.rekey(l)
	}
	s.fixTenant(l.tenant)
	s.pace(now, t)
	from := len(out.ids)
	for _, m := range sh.items {
		m.state = begun
		out.ids = append(out.ids, m.ID)
	}
	out.Begin = append(out.Begin, Begin{Ship: sh.n, Site: t.key, Mail: out.ids[from:len(out.ids):len(out.ids)]})
}

// pace notes when the next attempt at a site may begin.
func (s *Scheduler) pace(now time.Time, t *site) {
	if wait := max(t.pace, interval(t.rate)); wait > 0 {
		t.paced = now.Add(wait)
	}
}

// interval is the time between two of so many a second; zero where that is no limit.
func interval(rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(min(float64(time.Second)/rate, float64(24*time.Hour)))
}
