package session

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Limits are what a Gate counts connections against: in total, to one site, to
// one host and to one address; how much a connection may carry, in messages
// where that is limited, and for how long; and how many recipients a transaction has.
type Limits struct {
	Connections, PerSite, PerHost, PerAddress int
	Messages                                  int
	ConnectionLife                            time.Duration
	Recipients                                int

	// Rules say what holds for a host in place of PerSite, Messages and Recipients; nil
	// leaves them as they are.
	Rules Rules
}

// Rules answer with what holds for a site's connections to a host.
type Rules interface {
	Host(site, host string) HostLimits
}

// HostLimits are what holds for a site's connections to one host, and the groups that
// they count in as well.
type HostLimits struct {
	PerSite, Messages, Recipients int
	Groups                        []GroupLimits
}

// at is what holds for a site's connections to a host.
func (l *Limits) at(site, host string) HostLimits {
	if l.Rules == nil {
		return HostLimits{PerSite: l.PerSite, Messages: l.Messages, Recipients: l.Recipients}
	}
	return l.Rules.Host(site, host)
}

// Gate keeps an agent's connections to its limits: those in use and those kept
// for the next message. A place for a new one that an unused one takes up is
// made by ending that one. Whoever waits for a place has it before those who come
// later, unless a limit that does not concern them is in the way.
type Gate struct {
	limits func() Limits

	mu      sync.Mutex
	total   int
	sites   map[string]int
	hosts   map[string]tally
	addrs   map[netip.Addr]int
	groups  map[string]*group
	passes  map[*pass]bool
	waiting []*waiter // in order
}

// tally is how many connections a host has, and how many of them are kept
// unused.
type tally struct{ open, idle int }

// pass is the right to one connection. A nil pass is one nobody counts.
type pass struct {
	gate *Gate
	site string
	host string
	addr netip.Addr

	groups []string // that it is counted in
}

// NewGate returns a gate that asks for the limits whenever they matter, so that
// they may change meanwhile.
func NewGate(limits func() Limits) *Gate {
	return &Gate{
		limits: limits,
		sites:  make(map[string]int), hosts: make(map[string]tally), addrs: make(map[netip.Addr]int),
		groups: make(map[string]*group), passes: make(map[*pass]bool),
	}
}

// limit is one of those that connections are counted against.
type limit uint8

const (
	noLimit limit = iota
	inTotal
	perAddress
	perHost
	perSite
	perGroup
)

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
	case g.groupFull(at.Groups, 0):
		return perGroup
	default:
		return noLimit
	}
}

// above is what a rule allows a site, where that is more than others have; else zero.
func (l *Limits) above(at *HostLimits) int {
	if at.PerSite > l.PerSite {
		return at.PerSite
	}
	return 0
}

// counts reports whether a connection counts against the limit that is in the way of
// another.
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

// leave gives a connection's place back.
func (p *pass) leave() {
	if p == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.gate.count(p, -1)
	p.gate.admit()
}

// Wake has those who wait looked at again, since the limits have changed.
func (g *Gate) Wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.regroup()
	g.admit()
	for _, w := range g.waiting {
		w.look()
	}
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
		g.groupFull(at.Groups, 1)
}

// rest and resume say that a connection is kept unused, and that it is taken up
// again: by the site given, which it counts for from then on.
func (p *pass) rest() {
	if p == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.gate.tally(p.host, 0, 1)
	p.gate.offer(p)
}

func (p *pass) resume(site string) {
	if p == nil {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tally(p.host, 0, -1)
	g.move(p, site)
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

// spent reports whether a session has carried what one may.
func (p *pass) spent(born time.Time, messages int, now time.Time) bool {
	if p == nil {
		return false
	}
	l := p.gate.limits()
	most := l.at(p.site, p.host).Messages
	return p.gate.over(p) || now.Sub(born) >= l.ConnectionLife || most > 0 && messages >= most
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

// Spread puts hosts of equal preference in the order in which a site should try
// them. As long as connections may be added that is the order that was drawn, so
// that each host has its part of the mail; but those that have their share of
// the site's connections come last, so that the slowest host does not have them
// all. Once nothing may be added, those with a session to spare come first.
// Preference is never touched.
func (g *Gate) Spread(hosts []mx.Host, site string, share func(equals []mx.Host) int) {
	for len(hosts) > 0 {
		n := 1
		for n < len(hosts) && hosts[n].Preference == hosts[0].Preference {
			n++
		}
		if n > 1 {
			g.rank(hosts[:n], site, share(hosts[:n]))
		}
		hosts = hosts[n:]
	}
}

func (g *Gate) rank(equals []mx.Host, site string, share int) {
	limits := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	place := func(h *mx.Host) int {
		t, at := g.hosts[h.Name], limits.at(site, h.Name)
		most := min(share, max(limits.PerHost, limits.above(&at)))
		room := g.total < limits.Connections && g.sites[site] < at.PerSite
		switch {
		case t.open-t.idle >= most:
			return 2
		case !room && t.idle == 0:
			return 1
		default:
			return 0
		}
	}
	slices.SortStableFunc(equals, func(a, b mx.Host) int { return place(&a) - place(&b) })
}
