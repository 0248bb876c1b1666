package session

import (
	"net/netip"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
)

// NewGate returns a gate that asks for the limits whenever they matter, so that
// they may change meanwhile.
func NewGate(limits func() Limits) *Gate {
	return &Gate{
		limits: limits,
		sites:  make(map[string]int), hosts: make(map[string]tally), addrs: make(map[netip.Addr]int),
		groups: make(groups), passes: make(map[*pass]bool),
	}
}

// reached is the limit that is in the way of one more connection.
func (g *Gate) reached(l *Limits, want *pass) limit {
	if g.total >= l.Connections {
		return inTotal
	}
	at := l.at(want.site, want.host)
	switch {
	case g.addrs[want.addr] >= max(l.PerAddress, l.above(&at)):
		return perAddress
	case g.hosts[want.host].open >= max(l.PerHost, l.above(&at)):
		return perHost
	case g.sites[want.site] >= at.PerSite:
		return perSite
	case g.groups.full(at.Groups, 0):
		return perGroup
	default:
		return noLimit
	}
}

// stands is counts for a caller that does not hold g.mu: other limits may have the
// connection count in other groups meanwhile.
func (p *pass) stands(way limit, want *pass) bool {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	return p.counts(way, want)
}

// counts reports whether a connection counts against the limit that is in the way of
// another. The caller holds g.mu.
func (p *pass) counts(way limit, want *pass) bool {
	switch way {
	case inTotal:
		return true
	case perAddress:
		return p.addr == want.addr
	case perHost:
		return p.host == want.host
	case perSite:
		return p.site == want.site
	case perGroup:
		return p.sharesGroup(want)
	default:
		return false
	}
}

// sharesGroup reports whether a connection counts in a group that another would.
func (p *pass) sharesGroup(want *pass) bool {
	limits := p.gate.limits()
	return slices.ContainsFunc(limits.at(want.site, want.host).Groups, func(l GroupLimits) bool {
		return slices.Contains(p.groups, l.Name)
	})
}

func (g *Gate) count(p *pass, n int) {
	g.total += n
	if g.sites[p.site] += n; g.sites[p.site] == 0 {
		delete(g.sites, p.site)
	}
	if g.addrs[p.addr] += n; g.addrs[p.addr] == 0 {
		delete(g.addrs, p.addr)
	}
	g.tally(p.host, n, 0)
	if n > 0 {
		g.passes[p] = true
	} else {
		delete(g.passes, p)
	}
	g.countGroups(p, n > 0)
}

func (g *Gate) tally(host string, open, idle int) {
	t := g.hosts[host]
	t.open += open
	t.idle += idle
	if t == (tally{}) {
		delete(g.hosts, host)
	} else {
		g.hosts[host] = t
	}
}

// countGroups counts a connection in its groups, and in no others. The caller holds g.mu.
func (g *Gate) countGroups(p *pass, open bool) {
	limits := g.limits()
	if limits.Rules == nil && len(p.groups) == 0 {
		return
	}
	var to []GroupLimits
	if open {
		to = limits.at(p.site, p.host).Groups
	}
	p.groups = g.groups.move(p.groups, to)
}

// move has a connection count for another site, if one is given.
func (g *Gate) move(p *pass, site string) {
	if site == "" {
		return
	}
	if g.sites[p.site]--; g.sites[p.site] == 0 {
		delete(g.sites, p.site)
	}
	p.site = site
	g.sites[site]++
	g.countGroups(p, true)
}

// over reports whether there are more connections than a limit allows, since
// it has been lowered.
func (g *Gate) over(p *pass) bool {
	l := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	at := l.at(p.site, p.host)
	return g.total > l.Connections || g.sites[p.site] > at.PerSite ||
		g.hosts[p.host].open > max(l.PerHost, l.above(&at)) || g.addrs[p.addr] > max(l.PerAddress, l.above(&at)) ||
		g.groups.full(at.Groups, 1)
}

// spent reports whether a session has carried what one may.
func (p *pass) spent(born time.Time, messages int, now time.Time) bool {
	if p == nil {
		return false
	}
	l := p.gate.limits()
	most := l.at(p.site, p.host).Messages
	return p.gate.over(p) || age.Between(born, now) >= l.ConnectionLife || most > 0 && messages >= most
}

// spent reports whether a session is too old, or has carried enough, to carry
// more.
func (s *Session) spent(now time.Time) bool {
	return !s.expires.IsZero() && age.Past(s.expires, now) || s.pass.spent(s.born, s.messages, now)
}

// MostRecipients is how many recipients one transaction may have by the limits; zero
// leaves it to the host.
func (s *Session) MostRecipients() int {
	if s.pass == nil {
		return 0
	}
	l := s.pass.gate.limits()
	return l.at(s.pass.site, s.pass.host).Recipients
}

// SizeOf is how many connections to a site there are, unused ones too.
func (g *Gate) SizeOf(site string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sites[site]
}

// Size is how many connections are open or being opened.
func (g *Gate) Size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}
