package sched

import (
	"fmt"
	"slices"
	"time"
)

// nothing has the scheduler decide where nothing has happened that it waits for: there
// is nothing to be done.
func (w *world) nothing(when string) {
	w.s.Decide(w.now, &w.out)
	if o := &w.out; len(o.Route)+len(o.Begin)+len(o.Back)+len(o.Lift)+len(o.Trouble) > 0 || o.ToClaim {
		w.fail("%s there is something to do: %d routes, %d beginnings, %d go back, %d are lifted, %d notices, a claim: %t",
			when, len(o.Route), len(o.Begin), len(o.Back), len(o.Lift), len(o.Trouble), o.ToClaim)
	}
}

// decidesAgain has it decide twice.
func (w *world) decidesAgain(step) {
	wake := w.out.Wake
	if w.nothing("again,"); !w.out.Wake.Equal(wake) {
		w.fail("it wants to wake at %v, and then at %v", wake, w.out.Wake)
	}
}

// wakesEarly has it decide before it wants to wake.
func (w *world) wakesEarly(p step) {
	at := w.now.Add(time.Duration(1+p.more(0)) * time.Millisecond << (p.more(1) % 16))
	if wake := w.out.Wake; !wake.IsZero() && !at.Before(wake) {
		at = wake.Add(-1)
	}
	if at.After(w.now) {
		w.now = at
		w.nothing("before the time")
	}
}

// checkWake is that it sleeps while there is nothing to do, and no longer.
func (w *world) checkWake() {
	wake := w.out.Wake
	if !wake.IsZero() && !wake.After(w.now) {
		w.fail("it does not sleep: it wants to wake %v ago", w.now.Sub(wake))
	}
	s := w.s
	if w.claim != nil || w.drained || w.stopped || s.troubled() || !wake.IsZero() && !wake.After(w.now.Add(emptyPause)) {
		return
	}
	if s.held > w.set.Ahead-claimMost {
		if wake.IsZero() || wake.After(w.now.Add(stuckAfter)) {
			w.fail("it does not look for room in its memory before %v", wake)
		}
		return
	}
	for t := s.known.head; t != nil; t = t.next {
		if t.parked > 0 && !t.full() && !t.closed(w.now) && (t.isQuick(w.now) || s.heldSlow < w.set.Ahead/2*3/4) {
			w.fail("M2: %s has room, and nothing is claimed of what is parked", t.key)
		}
	}
	leftOut := false
	for _, t := range s.sites {
		leftOut = leftOut || t.skipped
	}
	for _, m := range w.backlog {
		if w.dueAt(m, &Claim{}).After(w.now) {
			continue
		}
		if w.isFull(w.siteOf(m.Destination)) {
			continue
		}
		if p := s.places[m.Destination]; p != nil && p.site != nil && p.site.full() {
			continue // one of its deliveries has moved there
		}
		if w.moved[m.Destination] != "" && leftOut {
			continue // perhaps with the site where its mail went until it moved
		}
		if slices.ContainsFunc(w.settling, func(o *mail) bool { return o.Destination == m.Destination }) {
			continue // until when that is kept back is known once it is settled
		}
		if u := s.tenants[m.Tenant]; u == nil || u.held < memoryShare*(w.set.Ahead-s.held)*3/4 {
			w.fail("%s of %s is due and not claimed", m.Destination, m.Tenant)
			return
		}
	}
}

// isFull reports whether a site has no room. If it is forgotten, its groups may still be
// full by the mail of others.
func (w *world) isFull(name string) bool {
	if t := w.s.sites[name]; t != nil {
		return t.full()
	}
	return slices.ContainsFunc(w.siteLimits(name).Groups, func(l GroupLimits) bool {
		g := w.s.groups[l.Name]
		return g != nil && g.full()
	})
}

// checkLimits is what a claim asks for: rules M1 and M3.
func (w *world) checkLimits(c *Claim) {
	if c.Max < 1 || c.Max > claimMost || c.PerDestination != claimMost || c.PerTenant < 1 || c.PerTenant > claimMost && len(c.Destinations) == 0 {
		w.fail("a claim asks for %d, %d of a destination, %d of a tenant", c.Max, c.PerDestination, c.PerTenant)
	}
	if w.s.troubled() && c.Max != 1 {
		w.fail("O1: a claim of %d while there is trouble", c.Max)
	}
	if w.stopped {
		w.fail("a claim while there is no room for what attempts make")
	}
	if left := w.set.Ahead - len(w.mails); left < claimMost {
		w.fail("N2: a claim with room for %d", left)
	}
	if c.Others || len(c.Destinations) > 0 {
		return
	}
	for name, p := range w.s.places {
		if full := p.site != nil && p.site.full(); full != slices.Contains(c.Except, name) {
			w.fail("M1: the site of %s is full: %t, and a claim leaves out %q", name, full, c.Except)
		}
	}
	held := map[string]int{}
	for _, m := range w.mails {
		held[m.Tenant]++
	}
	for _, u := range w.s.tenantList {
		if much := held[u.name] >= memoryShare*(w.set.Ahead-len(w.mails)); much != slices.Contains(c.ExceptTenants, u.name) {
			w.fail("M3: %s holds %d of %d, and a claim leaves out %q", u.name, held[u.name], len(w.mails), c.ExceptTenants)
		}
	}
}

// why checks what is said of a delivery that goes back.
func (w *world) why(m *mail, b *Back) {
	by := func(until time.Time) time.Time {
		if d := m.Deadline; d.After(w.now) && d.Before(until) {
			return d
		}
		return until
	}
	right := true
	switch b.Why {
	case Parked:
		right = b.Whole && b.Until.Equal(by(w.now.Add(parkedFor))) && !b.Likely.Before(w.now.Add(minLikely)) && !b.Likely.After(w.now.Add(parkedFor))
	case Down, Refused:
		until := by(w.closed[m.site])
		right = w.quiet || w.forgotten[m.site] || b.Whole == !m.own() && b.Said == w.said[m.site] && (b.Why == Refused) == w.refused[m.site] &&
			(b.Until.Equal(until) || b.Whole && b.Until.Before(until))
	case NoRoute:
		until := by(w.noRoute[m.Destination])
		right = w.quiet || w.forgotten[noRouteKey(m.Destination)] || b.Whole && b.Said == "no" && (b.Until.Equal(until) || b.Until.Before(until))
	case Draining:
		right = w.drained && b.Until.IsZero()
	}
	if !right {
		w.fail("%+v goes back, at %v, from %s, which is closed until %v, refuses: %t, says %q; own %t", b, w.now, m.site, w.closed[m.site], w.refused[m.site], w.said[m.site], m.own())
	}
}

// look is what somebody sees who looks at the scheduler.
func (w *world) look(step) {
	w.lookAtStats()
	w.lookAtMail()
	w.lookAtSites()
	w.lookAtDemands()
	w.lookAtFlights()
}

func (w *world) lookAtStats() {
	n := w.s.Stats(w.now)
	if n.InFlight != w.inFlight || n.Held != len(w.mails) || n.Trouble != w.trouble {
		w.fail("Stats: %+v, want %d in flight, %d held, trouble %d", n, w.inFlight, len(w.mails), w.trouble)
	}
	if c, since := w.s.Trouble(); c != n.Trouble || !since.Equal(n.Since) || since.IsZero() == (c != NoTrouble) || since.After(w.now) {
		w.fail("Trouble: %d since %v, Stats: %+v", c, since, n)
	}
	refused, down := 0, 0
	for _, r := range w.refused {
		if r {
			refused++
		}
	}
	for site, until := range w.closed {
		if until.After(w.now) && !w.refused[site] {
			down++
		}
	}
	for _, until := range w.noRoute {
		if until.After(w.now) {
			down++
		}
	}
	if n.Refused != refused || n.Down != down {
		w.fail("Stats: %+v, want %d refused and %d down", n, refused, down)
	}
}

func (w *world) lookAtMail() {
	if _, ok := w.s.Holds(w.now, 1<<40); ok {
		w.fail("Holds: it holds what nobody knows")
	}
	for id, m := range w.mails {
		at, ok := w.s.Holds(w.now, id)
		var want string
		if m.at == atSite || m.at == inAttempt {
			want = m.site
		}
		if !ok || at.InFlight != (m.at == inAttempt) || at.Site != want {
			w.fail("Holds: %+v, %t, want it at %q, in flight: %t", at, ok, want, m.at == inAttempt)
		}
		if idle := w.s.Idle(id); idle && m.at != atSite && m.at != claimed || m.at == atSite && !idle {
			w.fail("%d is idle: %t, %d", id, idle, m.at)
		}
		if m.at == atSite && w.s.items[id].state == waiting {
			w.standing(&at, m.site)
		} else if at.Down || at.Refused || at.Full || at.Paced || at.NoRoute || !at.Until.IsZero() {
			w.fail("Holds: %+v, want nothing in its way", at)
		}
	}
	for n := range 12 {
		d := destination(n)
		at, ok := w.s.Keeps(w.now, d)
		if kept := w.parked[d].After(w.now) || w.paused[d].After(w.now) && w.paused[d].After(w.lost[d]); kept && !ok {
			w.fail("Keeps: nothing of %s, which is kept back", d)
		}
		if until := w.noRoute[d]; until.After(w.now) != at.NoRoute || at.NoRoute && !until.Equal(at.Until) {
			w.fail("Keeps: %+v, want that there is no route to %s until %v", at, d, until)
		}
		if ok && !at.NoRoute {
			w.standing(&at, at.Site)
		}
		if t := w.s.sites[at.Site]; t != nil && t.kept[d] != nil && t.kept[d].parked && !at.Down && !at.Refused && !at.NoRoute && !at.Paced && !at.Full {
			w.fail("Keeps: %+v, want that there is no room for %s", at, d)
		}
	}
}

// standing checks what a site is said to have against another attempt.
func (w *world) standing(at *Standing, site string) {
	until := w.closed[site]
	if closed := until.After(w.now); closed != (at.Down || at.Refused) || at.Down && at.Refused || closed && !until.Equal(at.Until) {
		w.fail("%+v, want that %s is closed: %t, until %v", at, site, closed, until)
	}
	if (at.Down || at.Refused) && (at.Full || at.Paced) || at.Full && at.Paced || at.Refused && !w.refused[site] || at.Down && w.refused[site] {
		w.fail("%+v: more than one thing in its way, or another", at)
	}
	limits, paced := w.siteLimits(site), time.Time{}
	may := w.mayAt(site, limits)
	apart := func(last time.Time, rate float64) {
		if rate > 0 {
			if at := last.Add(time.Duration(float64(time.Second) / rate)); at.After(paced) {
				paced = at
			}
		}
	}
	full := w.inFlight >= w.set.Connections || w.bySite[site] >= may.Most
	apart(w.began[site], may.Rate)
	for _, g := range limits.Groups {
		may := w.mayIn(g)
		apart(w.beganIn[g.Name], may.Rate)
		full = full || w.byGroup[g.Name] >= may.Most
	}
	if at.Down || at.Refused {
		return
	}
	if paced.After(w.now) && (!at.Paced || at.Until.Before(paced)) {
		w.fail("%+v, want that %s is not to be asked before %v", at, site, paced)
	}
	if full && !at.Full && !at.Paced {
		w.fail("%+v, want that there is no room for another attempt", at)
	}
	if at.Paced && !at.Until.After(w.now) || at.Full && !at.Until.IsZero() {
		w.fail("%+v: until when it is is wrong", at)
	}
}

func (w *world) lookAtSites() {
	waiting, seen := map[string]int{}, map[string]bool{}
	names := map[string]string{}
	for _, m := range w.mails {
		if m.at == atSite && w.s.items[m.ID].state != gathering {
			waiting[m.site]++
			names[m.Destination] += " " + m.site
		}
	}
	for _, t := range w.s.SiteStates(w.now, map[string][]string{"sa": {}}) {
		if t.NoRoute {
			d := t.Destinations
			if t.Site != "" || t.Down || t.InFlight > 0 || t.Waiting > 0 {
				w.fail("SiteStates: %+v, want that there is no route to it", t)
			}
			for i := range d {
				if len(d) != 1 || w.noRoute[d[i]].IsZero() {
					w.fail("SiteStates: %+v, want what has no route", t)
				}
			}
			continue
		}
		if seen[t.Site] {
			w.fail("SiteStates: %s twice", t.Site)
		}
		seen[t.Site] = true
		if t.InFlight != w.bySite[t.Site] || t.Waiting > waiting[t.Site] || t.Waiting == 0 && waiting[t.Site] > 0 || t.Window < 1 {
			w.fail("SiteStates: %+v, want %d waiting in %d in flight", t, waiting[t.Site], w.bySite[t.Site])
		}
		w.standing(&t.Standing, t.Site)
		slices.Sort(t.Destinations)
		if len(slices.Compact(slices.Clone(t.Destinations))) != len(t.Destinations) {
			w.fail("SiteStates: %+v names one twice", t)
		}
		if t.InFlight+t.Waiting+len(t.Destinations) == 0 && !t.Down && !t.Refused && t.Site != "sa" && w.s.sites[t.Site].held == 0 {
			w.fail("SiteStates: %+v is of no interest", t)
		}
	}
	for site := range waiting {
		if !seen[site] {
			w.fail("SiteStates: nothing of %s", site)
		}
	}
	if w.s.sites["sa"] != nil && !seen["sa"] {
		w.fail("SiteStates: nothing of the one that is wanted")
	}
}

func (w *world) lookAtFlights() {
	for _, f := range w.flying {
		if n := w.s.Beside(f.ship); n != w.bySite[f.site]-1 {
			w.fail("Beside: %d, want %d", n, w.bySite[f.site]-1)
		}
		if n := w.s.Failures(f.ship); n != w.failed[f.site] {
			w.fail("Failures of %s: %d, want %d", f.site, n, w.failed[f.site])
		}
		if said, want := w.s.Said(f.ship), w.said[f.site]; said != want && (w.failed[f.site] > 0 || w.refused[f.site]) || said != "" && w.failed[f.site] == 0 && !w.refused[f.site] {
			w.fail("Said of %s: %q, want %q", f.site, said, want)
		}
		if n, want := w.s.Window(f.ship), max(w.limits(f.site), 1); n > want || (w.failed[f.site] > 0 || w.refused[f.site]) && n != 1 {
			w.fail("Window of %s: %d, want %d at most", f.site, n, want)
		}
		if until := w.s.Until(f.ship); until.After(w.now) != w.closed[f.site].After(w.now) || until.After(w.now) && !until.Equal(w.closed[f.site]) {
			w.fail("Until of %s: %v, want %v", f.site, until, w.closed[f.site])
		}
	}
	if w.s.Beside(0) != 0 || w.s.Failures(0) != 0 || w.s.Window(0) != 1 || !w.s.Until(0).IsZero() || w.s.Said(0) != "" {
		w.fail("it tells of an attempt that is none")
	}
}

// limits is PerSite of a site, which no window passes.
func (w *world) limits(site string) int { return w.siteLimits(site).PerSite }

// says is what the hosts of a site say this time.
func says(p step) string { return fmt.Sprint("no ", p.more(5)%3) }
