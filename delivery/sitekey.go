package delivery

import (
	"slices"
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/mx"
)

// siteKey names the site that a route leads to: its hosts in order of
// preference with their ports, TLS and logins. Routes with the same hosts have
// the same key, in whatever order equals were drawn and whatever numbers the
// preferences are. The caller holds r.mu.
func (r *run) siteKey(route *mx.Route) string {
	if len(route.Hosts) == 1 {
		return r.hostKey(&route.Hosts[0])
	}
	keys := make([]string, len(route.Hosts))
	for i := range route.Hosts {
		keys[i] = r.hostKey(&route.Hosts[i])
	}
	for from := 0; from < len(keys); {
		to := from + 1
		for to < len(keys) && route.Hosts[to].Preference == route.Hosts[from].Preference {
			to++
		}
		slices.Sort(keys[from:to])
		keys[to-1] += ";"
		from = to
	}
	return strings.Join(keys, ",")
}

func (r *run) hostKey(h *mx.Host) string {
	if h.Port == 0 && h.TLS == mx.TLSDefault && !h.ImplicitTLS && h.Login == nil && len(h.Identities) == 0 {
		return h.Name
	}
	b := make([]byte, 0, len(h.Name)+16)
	b = append(b, h.Name...)
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(h.Port), 10)
	b = append(b, '/')
	b = strconv.AppendUint(b, uint64(h.TLS), 10)
	if h.ImplicitTLS {
		b = append(b, 'i')
	}
	for _, name := range h.Identities {
		b = append(append(b, '='), name...)
	}
	if h.Login != nil {
		b = append(b, '@')
		b = strconv.AppendInt(b, int64(r.login(h.Login)), 10)
	}
	return string(b)
}

// maxLogins is how many logins are told apart before the numbers begin anew.
const maxLogins = 10_000

// login numbers logins, so that a key holds nothing secret.
func (r *run) login(l mx.Login) int {
	n, known := r.logins[l]
	if !known {
		if len(r.logins) >= maxLogins {
			clear(r.logins)
		}
		r.lastLogin++
		n = r.lastLogin
		r.logins[l] = n
	}
	return n
}

// noRouteKey names what stands for a destination as long as nobody can say
// where its mail goes. No host is called so.
func noRouteKey(destination string) string { return "? " + destination }
