package session

import "time"

// Limits are what a Gate counts connections against: in total, to one site, to
// one host and to one address; how much a connection may carry, in messages
// if that is limited, and for how long; and how many recipients a transaction has.
type Limits struct {
	Connections, PerSite, PerHost, PerAddress int
	Messages                                  int
	ConnectionLife                            time.Duration
	Recipients                                int

	// Rules say what holds for a host in place of PerSite, Messages and Recipients; nil
	// leaves them as they are.
	Rules Rules
}

// above returns what a rule allows a site if that is more than others have; otherwise
// zero.
func (l *Limits) above(at *HostLimits) int {
	if at.PerSite > l.PerSite {
		return at.PerSite
	}
	return 0
}

// at is what holds for a site's connections to a host.
func (l *Limits) at(site, host string) HostLimits {
	if l.Rules == nil {
		return HostLimits{PerSite: l.PerSite, Messages: l.Messages, Recipients: l.Recipients}
	}
	return l.Rules.Host(site, host)
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

	Shared bool // others share PerSite
}

// GroupLimits are limits that connections to several hosts share; zero means no limit.
type GroupLimits struct {
	Name        string
	Connections int
	Rate        float64 // messages a second
	Shared      bool    // others share them
}

// groups is what a gate counts for each group.
type groups map[string]*group

type group struct {
	open int
	next time.Time // no message before
}

func (g groups) of(name string) *group {
	n := g[name]
	if n == nil {
		n = &group{}
		g[name] = n
	}
	return n
}

// full reports whether one of some groups has as many connections as it may, and so
// many more.
func (g groups) full(limits []GroupLimits, more int) bool {
	for i := range limits {
		if l := &limits[i]; l.Connections > 0 && g[l.Name] != nil && g[l.Name].open >= l.Connections+more {
			return true
		}
	}
	return false
}

// move has a connection that counts in the groups named count in others, and returns
// their names.
func (g groups) move(from []string, to []GroupLimits) []string {
	for _, name := range from {
		g[name].open--
	}
	from = from[:0]
	for i := range to {
		g.of(to[i].Name).open++
		from = append(from, to[i].Name)
	}
	return from
}

// reserve takes the next time at which all of some groups allow a message, and returns
// how long that is away.
func (g groups) reserve(limits []GroupLimits, now time.Time) time.Duration {
	at := now
	for i := range limits {
		if n := g[limits[i].Name]; n != nil && n.next.After(at) {
			at = n.next
		}
	}
	for i := range limits {
		if l := &limits[i]; l.Rate > 0 {
			g.of(l.Name).next = at.Add(time.Duration(min(float64(time.Second)/l.Rate, float64(24*time.Hour))))
		}
	}
	return at.Sub(now)
}

// forget forgets groups about which nothing is known any more.
func (g groups) forget(now time.Time) {
	for name, n := range g {
		if n.open == 0 && !n.next.After(now) {
			delete(g, name)
		}
	}
}
