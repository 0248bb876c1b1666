package sched

import (
	"slices"
	"time"
)

// part is the part of a limit that others have left to this agent, until they take it
// back.
type part struct {
	Share
	until time.Time
}

// drawShares decides which of the limits that were drawn are shared, if any are.
func (w *world) drawShares(n uint64) {
	bit := func(k int) bool { return n>>k&1 > 0 }
	if bit(0) && bit(1) {
		return
	}
	w.set.Share = w.share
	w.sites["sa"] = SiteLimits{PerSite: w.set.PerSite, Rate: w.set.Rate}
	for i, name := range []string{"sa", "sb", "sc", "sd"} {
		l := w.sites[name]
		l.Shared = bit(2+i) && bit(6+i)
		for j := range l.Groups {
			l.Groups[j].Shared = bit(10 + int(l.Groups[j].Name[0]-'g'))
		}
		w.sites[name] = l
	}
}

// groupLimits returns the limits of a group, and whether there is such a group.
func (w *world) groupLimits(name string) (GroupLimits, bool) {
	for _, l := range w.sites {
		for _, g := range l.Groups {
			if g.Name == name {
				return g, true
			}
		}
	}
	return GroupLimits{}, false
}

// share is what the scheduler is told of the share of a limit.
func (w *world) share(now time.Time, limit Shared) Share {
	var (
		rate   float64
		shared bool
	)
	if g, _ := w.groupLimits(limit.Name); limit.Group {
		rate, shared = g.Rate, g.Shared
	} else {
		l := w.siteLimits(limit.Name)
		rate, shared = l.Rate, l.Shared
	}
	if !shared || !now.Equal(w.now) {
		w.fail("it asks for the share of %+v at %v, which is shared: %t, at %v", limit, now, shared, w.now)
	}
	if h := w.shares[limit]; h != nil && now.Before(h.until) && (rate == 0 || h.Rate > 0) {
		return h.Share
	}
	return Share{}
}

// mayAt returns how much of the limits of a site this agent may use now: no more than its
// share, and never more than the whole.
func (w *world) mayAt(site string, l SiteLimits) Share {
	may := Share{Most: l.PerSite, Rate: l.Rate}
	if l.Shared {
		may = may.less(w.share(w.now, Shared{Name: site}))
	}
	return may
}

func (w *world) mayIn(g GroupLimits) Share {
	may := Share{Most: 1 << 30, Rate: g.Rate}
	if g.Connections > 0 {
		may.Most = g.Connections
	}
	if g.Shared {
		may = may.less(w.share(w.now, Shared{Name: g.Name, Group: true}))
	}
	return may
}

// less returns what is allowed by both of two.
func (s Share) less(o Share) Share {
	s.Most = min(s.Most, o.Most)
	if s.Rate == 0 || o.Rate > 0 && o.Rate < s.Rate {
		s.Rate = o.Rate
	}
	return s
}

// tooSoon reports whether a rate allows no attempt yet after the last.
func (w *world) tooSoon(last time.Time, rate float64) bool {
	return rate > 0 && w.now.Sub(last) < time.Duration(float64(time.Second)/rate)
}

// mayBegin reports whether the limits of a site and its groups, and the shares of them,
// allow another attempt there.
func (w *world) mayBegin(site string) bool {
	l := w.siteLimits(site)
	if may := w.mayAt(site, l); w.bySite[site] >= may.Most || w.tooSoon(w.began[site], may.Rate) {
		return false
	}
	return !slices.ContainsFunc(l.Groups, func(g GroupLimits) bool {
		may := w.mayIn(g)
		return w.byGroup[g.Name] >= may.Most || w.tooSoon(w.beganIn[g.Name], may.Rate)
	})
}

// limitsInCommon are those that may be shared.
var limitsInCommon = []Shared{{Name: "sa"}, {Name: "sb"}, {Name: "sc"}, {Name: "sd"}, {Name: "g", Group: true}, {Name: "h", Group: true}}

// reshare has others take, or leave, more of a limit.
func (w *world) reshare(p step) {
	if w.set.Share == nil {
		return
	}
	list := limitsInCommon
	if i := p.pick(8); i < len(list) {
		list = list[i : i+1]
	}
	more := false
	for i, limit := range list {
		h, before := &part{}, w.shares[limit]
		if before == nil || !w.now.Before(before.until) {
			before = &part{}
		}
		if p.more(1)%8 > 0 { // else all of it is lost
			h.Most = (p.more(2) + i) % 5
			h.Rate = float64(1+(p.more(3)+i)%8) / 2
			h.until = w.now.Add(time.Duration(1+p.more(4)) * 100 * time.Millisecond)
		}
		more = more || h.Most > before.Most || h.Rate > before.Rate || h.until.After(before.until)
		w.shares[limit] = h
	}
	switch {
	case p.more(5)%4 > 0:
	case more:
		w.behind = true
		w.decide()
		w.behind = false
	default:
		return // that there is less is found out when it matters
	}
	w.s.Reshare(w.now)
}

// leaveAll has the others leave all limits to this agent for a day.
func (w *world) leaveAll() {
	if w.set.Share == nil {
		return
	}
	for _, limit := range limitsInCommon {
		w.shares[limit] = &part{Share{Most: 1 << 30, Rate: 1 << 20}, w.now.Add(24 * time.Hour)}
	}
	w.s.Reshare(w.now)
}

// lookAtDemands is what an agent tells others that it could use.
func (w *world) lookAtDemands() {
	told := map[string]Demand{}
	for _, d := range w.s.Demands() {
		if _, twice := told[d.Site]; twice {
			w.fail("Demands: %s twice", d.Site)
		}
		told[d.Site] = d
	}
	for t := w.s.known.head; t != nil; t = t.next {
		l := w.siteLimits(t.key)
		var groups []string
		for _, g := range l.Groups {
			if w.set.Share != nil && g.Shared {
				groups = append(groups, g.Name)
			}
		}
		shared := w.set.Share != nil && l.Shared
		d, ok := told[t.key]
		more := slices.ContainsFunc(t.keptList, func(k *kept) bool { return k.parked })
		if want := (shared || groups != nil) && t.held+t.inFlight+t.parked > 0; ok != want {
			w.fail("Demands: %s is among them: %t, want %t", t.key, ok, want)
		}
		if ok && (d.Shared != shared || !slices.Equal(d.Groups, groups) || d.InFlight != w.bySite[t.key] || d.More != more || (d.Waiting > 0) != (len(t.turn.list) > 0)) {
			w.fail("Demands: %+v, want %t, %q, %d, %t", d, shared, groups, w.bySite[t.key], more)
		}
		delete(told, t.key)
	}
	if len(told) > 0 {
		w.fail("Demands: %v of sites that are not known", told)
	}
}
