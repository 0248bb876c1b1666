package sched

import (
	"fmt"
	"slices"
	"time"
)

// world is a queue, hosts and an agent around a Scheduler, as simple as they can be,
// and what is known to be right of them.
type world struct {
	s   *Scheduler
	now time.Time
	out Output
	set Settings

	backlog []*mail // not claimed, in the order in which they were put
	mails   map[ID]*mail
	lastID  ID
	parked  map[string]time.Time
	paused  map[string]time.Time
	claim   *Claim

	routing   []ID
	flying    []*flight
	settling  []*mail
	inFlight  int
	bySite    map[string]int
	began     map[string]time.Time // the last attempt at a site
	sites     map[string]SiteLimits
	byGroup   map[string]int
	beganIn   map[string]time.Time // the last attempt in a group
	shares    map[Shared]*part
	behind    bool                 // nobody has said yet that there is more of a limit
	closed    map[string]time.Time // no attempt before
	alive     map[string]time.Time
	failed    map[string]int // in a row
	refused   map[string]bool
	said      map[string]string
	noRoute   map[string]time.Time // by destination: without a route until then
	moved     map[string]string    // destinations with another site than usual
	passed    map[string]passed    // by tenant with nothing in flight that could begin
	before    map[*lane]before     // by lane with nothing in flight
	unclaimed map[string]int       // claims that have found nothing of a tenant's that holds nothing
	known     map[string]*site
	groups    map[string]*group
	forgotten map[string]bool      // sites that have been since the last decision
	lost      map[string]time.Time // by destination: paused until then for a site that was forgotten
	drained   bool
	stopped   bool
	quiet     bool // much happens between two decisions
	trouble   Cause

	wrong string
}

type mail struct {
	Mail
	n    ID // of the message's delivery, for the order
	at   where
	site string
	join string
	not  time.Time // not before
}

// own is whether other mail for the destination may have another route.
func (m *mail) own() bool { return m.Destination[1] == 'b' }

// passed is how many attempts of others have begun since a tenant could have, and how
// many may (rule T4).
type passed struct{ n, most int }

// before is who has begun at a site since a lane's mail waits there (rule T5).
type before struct {
	stamp uint64
	begun map[string]bool
}

type where uint8

const (
	inQueue where = iota
	claimed       // or being routed
	atSite
	inAttempt
	back
	gone
)

type flight struct {
	ship  Ship
	site  string
	mail  []ID
	began time.Time
}

var origin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(set Settings) *world {
	return &world{
		s: New(set), now: origin, set: set, mails: map[ID]*mail{},
		parked: map[string]time.Time{}, paused: map[string]time.Time{}, bySite: map[string]int{},
		began: map[string]time.Time{}, closed: map[string]time.Time{}, alive: map[string]time.Time{},
		failed: map[string]int{}, refused: map[string]bool{}, said: map[string]string{}, noRoute: map[string]time.Time{}, moved: map[string]string{}, passed: map[string]passed{}, before: map[*lane]before{}, byGroup: map[string]int{}, beganIn: map[string]time.Time{},
		unclaimed: map[string]int{}, shares: map[Shared]*part{}, known: map[string]*site{}, groups: map[string]*group{}, forgotten: map[string]bool{}, lost: map[string]time.Time{},
	}
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// siteOf is where a destination's mail goes: three destinations share a site.
func (w *world) siteOf(destination string) string {
	if to, ok := w.moved[destination]; ok {
		return to
	}
	return "s" + string('a'+(destination[1]-'a')/3)
}

func (w *world) route(m *mail) Route {
	m.join = [...]string{"j", "j", "k", ""}[m.Destination[1]%4]
	return Route{Site: w.siteOf(m.Destination), Join: m.join, Own: m.own()}
}

// put adds mail of a message to some destinations, to be looked at by the deadline where
// it has one, and with so many recipients at each.
func (w *world) put(tenant string, priority, rcpts int, deadline time.Time, destinations ...string) {
	w.lastID++
	message := fmt.Sprint("m", w.lastID)
	for _, d := range destinations {
		w.lastID++
		m := &mail{Mail: Mail{
			Message: message, Destination: d, Tenant: tenant, Priority: priority, Recipients: rcpts, Due: w.now, Deadline: deadline,
		}, n: w.lastID}
		w.backlog = append(w.backlog, m)
	}
	w.s.MailCame(w.now)
}

// dueAt is when the queue would hand a delivery out to a claim.
func (w *world) dueAt(m *mail, c *Claim) time.Time {
	at := m.not
	if until := w.paused[m.Destination]; until.After(at) {
		at = until
	}
	if until := w.parked[m.Destination]; !c.Others && len(c.Destinations) == 0 && until.After(at) {
		at = until
	}
	return at
}

// answer hands out what a claim asks for.
func (w *world) answer() {
	c := w.claim
	w.claim = nil
	var list []*mail
	perTenant, perDestination := map[string]int{}, map[string]int{}
	more, next := false, time.Time{}
	left := w.backlog[:0:0]
	for _, m := range w.backlog {
		if slices.Contains(c.Except, m.Destination) || slices.Contains(c.ExceptTenants, m.Tenant) ||
			len(c.Destinations) > 0 && !slices.Contains(c.Destinations, m.Destination) {
			left = append(left, m)
			continue
		}
		switch at := w.dueAt(m, c); {
		case at.After(w.now):
			if next.IsZero() || at.Before(next) {
				next = at
			}
			left = append(left, m)
		case len(list) == c.Max || perTenant[m.Tenant] >= c.PerTenant || perDestination[m.Destination] >= c.PerDestination:
			more = true
			left = append(left, m)
		default:
			perTenant[m.Tenant]++
			perDestination[m.Destination]++
			list = append(list, m)
		}
	}
	w.checkClaim(left, perTenant)
	w.backlog = left
	mails := make([]Mail, len(list))
	for i, m := range list {
		w.lastID++
		m.ID, m.at = w.lastID, claimed
		if m.Due = m.not; m.not.IsZero() {
			m.Due = origin
		}
		w.mails[m.ID], mails[i] = m, m.Mail
	}
	w.s.Claimed(w.now, mails, more, next)
}

// decide lets the scheduler decide, does what it says, and checks it.
func (w *world) decide() {
	w.s.Decide(w.now, &w.out)
	w.forget()
	for _, id := range w.out.Route {
		if m := w.mails[id]; m == nil || m.at != claimed {
			w.fail("N1: %d is to be routed and was not claimed", id)
		}
		w.routing = append(w.routing, id)
	}
	for i := range w.out.Begin {
		w.begin(&w.out.Begin[i])
	}
	for i := range w.out.Back {
		w.goBack(&w.out.Back[i])
	}
	for _, l := range w.out.Lift {
		w.lift(l)
	}
	if w.out.ToClaim {
		if w.claim != nil || w.drained {
			w.fail("a claim beside a claim, or after the end")
		}
		c := w.out.Claim
		w.claim = &c
		w.checkLimits(w.claim)
	}
	w.tell()
	w.check()
}

func (w *world) tell() {
	for _, n := range w.out.Trouble {
		if n.Over == (w.trouble == NoTrouble) {
			w.fail("O: trouble %v told twice", n)
		}
		w.trouble = n.Cause
		if n.Over {
			w.trouble = NoTrouble
		}
	}
}

func (w *world) begin(b *Begin) {
	first := w.mails[b.Mail[0]]
	f := &flight{ship: b.Ship, site: b.Site, mail: slices.Clone(b.Mail), began: w.now}
	w.flying = append(w.flying, f)
	w.inFlight++
	w.bySite[b.Site]++
	limits := w.siteLimits(b.Site)
	may := w.mayAt(b.Site, limits)
	if w.inFlight > w.set.Connections || w.bySite[b.Site] > may.Most {
		w.fail("L1: %d attempts in flight, %d at %s", w.inFlight, w.bySite[b.Site], b.Site)
	}
	w.beginInGroups(limits.Groups)
	if until := w.closed[b.Site]; w.now.Before(until) {
		w.fail("L4: an attempt at %s, %v before its time", b.Site, until.Sub(w.now))
	}
	if w.tooSoon(w.began[b.Site], may.Rate) {
		w.fail("L3: an attempt at %s %v after the last", b.Site, w.now.Sub(w.began[b.Site]))
	}
	w.began[b.Site] = w.now
	if w.drained || w.stopped {
		w.fail("an attempt begins after the end")
	}
	rcpts := 0
	for _, id := range b.Mail {
		m := w.mails[id]
		if m == nil || m.at != atSite || m.site != b.Site || m.Message != first.Message {
			w.fail("N1: %+v begins and does not wait at %s with %+v", m, b.Site, first)
			return
		}
		if rcpts += m.Recipients; m != first && (m.join != first.join || m.join == "" || rcpts > maxJoined) {
			w.fail("%+v begins in one attempt with %+v, to %d recipients", m, first, rcpts)
		}
		m.at = inAttempt
	}
	w.order(b.Mail)
	for tenant, p := range w.passed {
		p.n++
		w.passed[tenant] = p
	}
	delete(w.passed, first.Tenant)
	w.siteTurn(first)
}

// beginInGroups is rules L1 and L3 for groups.
func (w *world) beginInGroups(groups []GroupLimits) {
	for _, g := range groups {
		may := w.mayIn(g)
		if w.byGroup[g.Name]++; w.byGroup[g.Name] > may.Most {
			w.fail("L1: %d attempts in flight in group %s", w.byGroup[g.Name], g.Name)
		}
		if w.tooSoon(w.beganIn[g.Name], may.Rate) {
			w.fail("L3: an attempt in group %s %v after the last", g.Name, w.now.Sub(w.beganIn[g.Name]))
		}
		w.beganIn[g.Name] = w.now
	}
}

// siteTurn is rule T5.
func (w *world) siteTurn(first *mail) {
	for l, b := range w.before {
		if l.site.key != first.site || l.tenant.name == first.Tenant || l.served != b.stamp {
			continue
		}
		if b.begun[first.Tenant] {
			w.fail("T5: %s begins twice at %s while %s waits there", first.Tenant, first.site, l.tenant.name)
		}
		b.begun[first.Tenant] = true
	}
}

// order is rule T6.
func (w *world) order(begun []ID) {
	rank := func(m *mail) time.Time { return m.Due.Add(-time.Duration(m.Priority) * w.set.PriorityStep) }
	first := w.mails[begun[0]]
	for _, id := range begun {
		if m := w.mails[id]; rank(m).Before(rank(first)) {
			first = m
		}
	}
	t := w.s.sites[first.site]
	l := t.lanes[w.s.tenants[first.Tenant]]
	for _, sh := range l.waiting.list {
		for _, m := range sh.items {
			if o := w.mails[m.ID]; o.Message != first.Message && rank(o).Before(rank(first)) {
				w.fail("T6: %d begins before %d, which comes first", first.ID, o.ID)
			}
		}
	}
}

func (w *world) goBack(b *Back) {
	m := w.mails[b.ID]
	if m == nil || m.at != claimed && m.at != atSite && m.at != inAttempt {
		w.fail("N1: %d goes back and was not held", b.ID)
		return
	}
	w.why(m, b)
	m.at = back
	w.settling = append(w.settling, m)
	m.not = m.Due
	switch {
	case b.Why == Draining:
	case !b.Until.After(w.now):
		w.fail("%d goes back until now", b.ID)
	case b.Why == Parked:
		w.parked[m.Destination] = b.Until
	case b.Whole:
		w.paused[m.Destination] = b.Until
	default:
		m.not = b.Until
	}
}

func (w *world) lift(l Lift) {
	switch {
	case l.Parked:
		delete(w.parked, l.Destination)
	case l.Each:
		for _, m := range w.backlog {
			if m.Destination == l.Destination && m.not.After(w.now) {
				m.not = w.now
			}
		}
		for _, m := range w.settling {
			if m.Destination == l.Destination && m.not.After(w.now) {
				m.not = w.now
			}
		}
	default:
		delete(w.paused, l.Destination)
	}
}

// check is what holds after every decision.
func (w *world) check() {
	s := w.s
	if s.held > w.set.Ahead {
		w.fail("N2: %d held, of %d", s.held, w.set.Ahead)
	}
	if s.inFlight != w.inFlight {
		w.fail("%d in flight, want %d", s.inFlight, w.inFlight)
	}
	n, slowHeld := 0, 0
	for t := s.known.head; t != nil; t = t.next {
		n += t.held
		if t.class == slow {
			slowHeld += t.held
		}
		if t.held < 0 || t.inFlight != w.bySite[t.key] {
			w.fail("%s holds %d, %d in flight, want %d", t.key, t.held, t.inFlight, w.bySite[t.key])
		}
	}
	w.checkGroups()
	if slowHeld != s.heldSlow {
		w.fail("%d held at sites that are not quick, counted as %d", slowHeld, s.heldSlow)
	}
	w.checkRoom()
	w.checkWaiting()
	w.checkWake()
}

// checkGroups is what holds of groups.
func (w *world) checkGroups() {
	held, sites := map[string]int{}, 0
	for t := w.s.known.head; t != nil; t = t.next {
		for _, g := range w.siteLimits(t.key).Groups {
			held[g.Name] += t.held
			sites++
		}
	}
	for name, g := range w.s.groups {
		if g.inFlight != w.byGroup[name] || g.held != held[name] {
			w.fail("group %s has %d in flight and holds %d, want %d and %d", name, g.inFlight, g.held, w.byGroup[name], held[name])
		}
		sites -= g.sites
	}
	if sites != 0 {
		w.fail("%d sites are in no group, and should be", sites)
	}
}

// mostClaims is how many claims pass before one finds the mail of a tenant that holds
// nothing: three kinds of claim by turns, of which one looks for it every other time,
// after the one that was under way.
const mostClaims = 7

// checkClaim is rule M4, after a claim that has left so much.
func (w *world) checkClaim(left []*mail, found map[string]int) {
	passed := map[string]bool{}
	for _, m := range left {
		if u := w.s.tenants[m.Tenant]; found[m.Tenant] == 0 && (u == nil || u.held == 0) && !m.not.After(w.now) && !w.paused[m.Destination].After(w.now) {
			passed[m.Tenant] = true
		}
	}
	for tenant := range w.unclaimed {
		if !passed[tenant] || w.s.troubled() {
			delete(w.unclaimed, tenant)
		}
	}
	for tenant := range passed {
		if w.unclaimed[tenant]++; w.unclaimed[tenant] > mostClaims {
			w.fail("M4: %d claims have found nothing of %s's, who holds nothing", w.unclaimed[tenant], tenant)
		}
	}
}

// checkRoom is rules L5 and T4.
func (w *world) checkRoom() {
	s := w.s
	if s.troubled() || w.drained || w.stopped || w.behind {
		clear(w.passed)
		return
	}
	could := map[*tenant]bool{}
	for t := s.known.head; t != nil; t = t.next {
		if t.waiting == 0 || t.closed(w.now) || t.inFlight >= t.limit() || w.now.Before(t.paced) || !w.mayBegin(t.key) {
			continue
		}
		kept := !t.isQuick(w.now) && s.slow >= w.set.Connections-w.set.Connections/4
		if !kept && s.inFlight < w.set.Connections {
			w.fail("L5: %s waits while there is room: %d of %d in flight", t.key, s.inFlight, w.set.Connections)
		}
		if !t.isQuick(w.now) && w.set.Connections >= 4 {
			continue // what is kept for the others may go before it
		}
		for _, l := range t.turn.list {
			if l.tenant.inFlight == 0 {
				could[l.tenant] = true
			}
		}
	}
	w.checkPassed(could)
}

// checkPassed is rule T4, for the tenants that could begin.
func (w *world) checkPassed(could map[*tenant]bool) {
	for name, p := range w.passed {
		switch u := w.s.tenants[name]; {
		case !could[u]:
			delete(w.passed, name)
		case p.n > p.most:
			w.fail("T4: %d attempts of others while %s waited, want %d at most", p.n, name, p.most)
		}
	}
	for u := range could {
		if _, known := w.passed[u.name]; known {
			continue
		}
		most := 0
		for _, other := range w.s.tenantList {
			if other.served < u.served {
				most++
			}
		}
		for t := w.s.known.head; t != nil; t = t.next {
			for _, l := range t.turn.list {
				if l.tenant != u && l.served < u.served {
					most++
				}
			}
		}
		w.passed[u.name] = passed{0, most}
	}
}

// checkWaiting notes who waits where with nothing in flight there (rule T5).
func (w *world) checkWaiting() {
	for l, b := range w.before {
		if l.turnAt == absent || l.inFlight > 0 || l.served != b.stamp {
			delete(w.before, l)
		}
	}
	for t := w.s.known.head; t != nil; t = t.next {
		for _, l := range t.turn.list {
			if _, known := w.before[l]; !known && l.inFlight == 0 {
				w.before[l] = before{l.served, map[string]bool{}}
			}
		}
	}
}
