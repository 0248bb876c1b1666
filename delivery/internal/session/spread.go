package session

import (
	"slices"

	"github.com/nexthop-mail/nexthop/mx"
)

// Spread puts hosts of equal preference in the order in which a site should try them.
// As long as connections may be added, that is the drawn order, so that each host has
// its part of the mail; but hosts that have their share of the site's connections come
// last, so that the slowest host does not get them all. When no connection may be
// added, hosts with an unused session come first. The order of preference is never
// changed.
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
