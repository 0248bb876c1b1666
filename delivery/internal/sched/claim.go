package sched

import "time"

const (
	// tenantMost is the most deliveries of one tenant that a claim asks for.
	tenantMost = 64

	// refillMost is the most destinations that a claim for one site names.
	refillMost = 16

	// exceptMost is the most destinations of one site that a claim leaves out.
	exceptMost = 256

	// gatherMore is how long claims wait for more mail to come if there is plenty to do
	// meanwhile: a claim of many costs little more than a claim of one.
	gatherMore = time.Millisecond

	// emptyPause is the pause after a claim that found nothing although the queue has
	// mail that is due.
	emptyPause = 100 * time.Millisecond
)

// MailCame tells that the queue may have mail that is due.
func (s *Scheduler) MailCame(now time.Time) { s.claims.again(now) }

// claimAt returns when the next claim is due. If ok is false, only an event makes one due.
func (s *Scheduler) claimAt(now time.Time) (at time.Time, ok bool) {
	c := &s.claims
	switch {
	case !s.mayClaim():
		return at, false
	case s.crowded():
		return c.trimmed, true
	}
	d := c.general
	if c.hiding && !c.others.never {
		d.sooner(c.others.at)
	}
	if c.hiding && (c.search || c.bySite) {
		d.sooner(now)
	}
	if s.refillDue() {
		d.sooner(now)
	}
	if d.never {
		return at, false
	}
	if d.at.Before(c.before) {
		d.at = c.before
	}
	if d.at.Before(s.trouble.at) {
		d.at = s.trouble.at
	}
	return d.at, true
}

// claim returns the claim to make now, if ok.
func (s *Scheduler) claim(now time.Time) (want Claim, ok bool) {
	c := &s.claims
	if at, any := s.claimAt(now); !any || at.After(now) {
		return want, false
	}
	want = Claim{Max: claimMost, PerDestination: claimMost, PerTenant: tenantMost}
	if s.troubled() {
		want.Max = 1
	}
	for range kinds { // each kind in turn, so that no kind waits until another finds no more
		if c.last++; c.last == kinds {
			c.last = 0
		}
		switch c.last {
		case general:
			if !c.general.never && !c.general.at.After(now) {
				c.under, c.meantime[0] = general, due{never: true}
				s.leaveOut(&want)
				return want, true
			}
		case others:
			if c.hiding && (c.search || c.bySite || !c.others.never && !c.others.at.After(now)) {
				c.under, want.Others = others, true
				c.second, c.meantime[1] = c.bySite, due{never: true}
				s.search(&want)
				return want, true
			}
		case refill:
			if s.troubled() {
				continue
			}
			if t := s.nextRefill(now); t != nil {
				return s.refillClaim(t, want), true
			}
		}
	}
	return want, false
}

// leaveOut adds to a general claim the destinations and tenants to leave out.
func (s *Scheduler) leaveOut(want *Claim) {
	for _, p := range s.placeList {
		if p.site != nil && p.site.full() {
			p.site.skipped = true
			for _, g := range p.site.groups {
				g.skipped = true
			}
			want.Except = append(want.Except, p.name)
		}
	}
	left := s.settings.Ahead - s.held
	s.claims.withheld = false
	for _, u := range s.tenantList {
		if u.held >= memoryShare*left {
			s.claims.withheld = true
			want.ExceptTenants = append(want.ExceptTenants, u.name)
		}
	}
	if s.claims.hiding = len(want.Except) > 0 || s.parked > 0; s.claims.hiding {
		s.claims.others.sooner(s.claims.general.at)
	}
}

// search limits a claim for others to tenants that hold little. If some of these have
// enough mail at a site that has turned more away, such claims alternately leave out
// these tenants and the mail for that site.
func (s *Scheduler) search(want *Claim) {
	want.PerTenant = fewAhead
	for _, u := range s.tenantList {
		if u.left = u.held >= minAhead; u.left {
			want.ExceptTenants = append(want.ExceptTenants, u.name)
		}
	}
	some := false
	for _, t := range s.turning {
		for _, u := range t.turned {
			if u.held >= minAhead || !s.hasEnough(t, u) {
				continue
			}
			some = true
			if s.claims.second {
				for _, k := range t.keptList[:min(len(t.keptList), exceptMost)] {
					want.Except = append(want.Except, k.destination)
				}
				break
			}
			if !u.left {
				u.left = true
				want.ExceptTenants = append(want.ExceptTenants, u.name)
			}
		}
	}
	if s.claims.bySite = some && !s.claims.second; !s.claims.second {
		s.claims.search = false
	}
}

// refillDue reports whether a site is to get mail now.
func (s *Scheduler) refillDue() bool {
	if s.troubled() {
		return false
	}
	c := &s.claims
	return len(c.refills[quick]) > 0 || len(c.refills[slow]) > 0 && s.slowRefills()
}

// slowRefills reports whether there is room for more mail, of any tenant, at sites that
// are not quick.
func (s *Scheduler) slowRefills() bool { return s.heldSlow < s.slowAhead()*3/4 }

// nextRefill returns the site that is to get mail now, or nil.
func (s *Scheduler) nextRefill(now time.Time) *site {
	for _, k := range [...]class{quick, slow} {
		if k == slow && !s.slowRefills() {
			return nil
		}
		for line := &s.claims.refills[k]; len(*line) > 0; {
			t := (*line)[0]
			(*line)[0] = nil
			*line = (*line)[1:]
			t.refill = false
			if t.parked > 0 && !t.full() && !t.closed(now) {
				return t
			}
			s.wantRefill(now, t)
		}
	}
	return nil
}

// refillClaim returns a claim for one site. It leaves out tenants that hold their part
// there already, so that their mail in the queue does not stand in the way of others.
func (s *Scheduler) refillClaim(t *site, want Claim) Claim {
	c := &s.claims
	c.under, c.site, c.names = refill, t, c.names[:0]
	t.refill = true
	for i := 0; i < len(t.keptList) && len(c.names) < refillMost; i++ {
		if k := t.keptList[i]; k.parked {
			c.names = append(c.names, k.destination)
		}
	}
	want.Destinations = append([]string(nil), c.names...)
	want.Max = min(want.Max, max(min(t.ahead()-t.held, t.groupLeft()), 1))
	want.PerTenant = max(t.ahead()/max(len(t.turned), 1), 1)
	c.sated = c.sated[:0]
	for _, u := range t.turned {
		if l := t.lanes[u]; l != nil && l.held >= want.PerTenant {
			c.sated = append(c.sated, u)
			want.ExceptTenants = append(want.ExceptTenants, u.name)
		}
	}
	return want
}

// answered notes that the claim in progress has found n deliveries.
func (s *Scheduler) answered(now time.Time, n int, more bool, next time.Time) {
	c := &s.claims
	kind := c.under
	c.under = noClaim
	found := due{at: next, never: next.IsZero()}
	switch {
	case more && n == 0:
		found = due{at: now.Add(emptyPause)}
	case more:
		found = due{at: now}
	}
	switch kind {
	case general:
		c.general = found
		if !c.meantime[0].never {
			c.general.sooner(c.meantime[0].at)
		}
		if !more && n > 0 && n < claimMost/4 && s.loaded() {
			c.before = now.Add(gatherMore)
		}
	case others:
		if c.second {
			if !found.never {
				c.others.sooner(found.at)
			}
			return
		}
		c.others = found
		if !c.meantime[1].never {
			c.others.sooner(c.meantime[1].at)
		}
	case refill:
		s.refilled(now, c.site, n > 0, more, next)
	}
}

// refilled notes that the claim for a site was answered. If no more mail of the named
// destinations is due, they are no longer parked, and general claims find the mail that
// is due next. Otherwise the next claim for the site names other destinations. That claim
// waits until some of the mail has come to the site: it may have gone to another site,
// which may have no room either.
func (s *Scheduler) refilled(now time.Time, t *site, some, more bool, next time.Time) {
	c := &s.claims
	c.site, t.refill = nil, false
	keep := some && more
	if len(c.sated) > 0 { // the tenants left out have more
		keep = true
		if !more {
			s.welcome(t, c.sated)
		}
	}
	for _, name := range c.names {
		k := t.kept[name]
		switch {
		case k == nil || !k.parked:
		case keep:
			last := len(t.keptList) - 1
			moved := t.keptList[last]
			t.keptList[k.at], moved.at = moved, k.at
			t.keptList[last], k.at = k, last
		default:
			s.unpark(t, k)
			if !next.IsZero() {
				c.expect(now, next)
			}
		}
	}
	if keep && (some || more) {
		t.vain = now.Add(emptyPause)
	}
	s.wantRefill(now, t)
	s.easeGroups(now, t)
}

// loaded reports whether there is plenty to do.
func (s *Scheduler) loaded() bool { return s.held > 2*s.inFlight && s.held > claimMost/4 }

// ClaimFailed tells that the queue answered a claim with an error.
func (s *Scheduler) ClaimFailed(now time.Time) {
	c := &s.claims
	if t := c.site; t != nil {
		c.site, t.refill = nil, false
		s.wantRefill(now, t)
	}
	c.under = noClaim
	c.again(now)
	s.Troubled(now, QueueFails)
	s.trouble.failed(now)
}
