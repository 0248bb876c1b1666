package session

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
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
	groups  groups
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
		groups: make(groups), passes: make(map[*pass]bool),
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
	case g.groups.full(at.Groups, 0):
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

// sharesGroup reports whether a connection counts in a group that another would.
func (p *pass) sharesGroup(want *pass) bool {
	limits := p.gate.limits()
	return slices.ContainsFunc(limits.at(want.site, want.host).Groups, func(l GroupLimits) bool {
		return slices.Contains(p.groups, l.Name)
	})
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
	for p := range g.passes {
		g.countGroups(p, true)
	}
	g.groups.forget(time.Now())
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
		g.groups.full(at.Groups, 1)
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
	return p.gate.over(p) || age.Between(born, now) >= l.ConnectionLife || most > 0 && messages >= most
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

// waiter is a call that waits at a gate for the right to a connection, or for a
// session that will do.
type waiter struct {
	pass   *pass
	key    key
	signal chan struct{} // there may be a session to end
	done   chan struct{} // closed when it waits no longer
	way    limit         // that a session is being ended for on its behalf
	sess   *Session      // what it was given, where that is no place
}

// join takes a place, or waits for one; nil where it has it.
func (g *Gate) join(want *pass, k key) *waiter {
	limits := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reached(&limits, want) == noLimit {
		g.count(want, 1)
		return nil
	}
	w := &waiter{pass: want, key: k, signal: make(chan struct{}, 1), done: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	return w
}

// admit gives places to those who wait for one, in order. One that has a place which
// a session was ended for on another's behalf leaves that one to look for a further
// session. The caller holds g.mu.
func (g *Gate) admit() {
	if len(g.waiting) == 0 {
		return
	}
	limits := g.limits()
	owed := 0
	g.waiting = slices.DeleteFunc(g.waiting, func(w *waiter) bool {
		switch way := g.reached(&limits, w.pass); {
		case way == noLimit:
			g.count(w.pass, 1)
			if w.way == noLimit {
				owed++
			}
			close(w.done)
			return true
		case w.way == noLimit:
		case way != w.way:
			w.lookAgain()
		case owed > 0:
			owed--
			w.lookAgain()
		}
		return false
	})
}

// lookAgain has a waiter look for a session to end though one has been ended for it.
func (w *waiter) lookAgain() {
	w.way = noLimit
	w.look()
}

// look has a waiter look for a session to end.
func (w *waiter) look() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// offer tells the first who waits for room and has nothing coming of a connection that
// is kept unused and that takes up what is missing. The caller holds g.mu.
func (g *Gate) offer(p *pass) {
	if len(g.waiting) == 0 {
		return
	}
	limits := g.limits()
	for _, w := range g.waiting {
		if w.way == noLimit && p.counts(g.reached(&limits, w.pass), w.pass) {
			w.look()
			return
		}
	}
}

// hand hands a session that has been used to the first who waits for one like it.
func (g *Gate) hand(s *Session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w.key == s.key {
			g.waiting = slices.Delete(g.waiting, i, i+1)
			g.move(s.pass, w.pass.site)
			w.sess = s
			close(w.done)
			return true
		}
	}
	return false
}

// lacks is the limit that is in a waiter's way, unless a session is being ended for it
// already.
func (g *Gate) lacks(w *waiter) limit {
	limits := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.way != noLimit {
		return noLimit
	}
	return g.reached(&limits, w.pass)
}

// ends notes that a session is about to be ended for a waiter.
func (g *Gate) ends(w *waiter, way limit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.way = way
}

// withdraw ends a wait; false where it has come to its end already.
func (g *Gate) withdraw(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, w)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}
