package delivery

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nexthop-mail/nexthop/mx"
)

// siteKeys names the sites that routes lead to. Its zero value is ready.
type siteKeys struct {
	mu        sync.Mutex
	logins    map[mx.Login]int
	lastLogin int
}

// of names the site that a route leads to: its hosts in order of preference with
// their ports, TLS and logins. Routes with the same hosts have the same key, in
// whatever order equals were drawn and whatever numbers the preferences are.
func (k *siteKeys) of(route *mx.Route) string {
	if len(route.Hosts) == 1 {
		return k.host(&route.Hosts[0])
	}
	keys := make([]string, len(route.Hosts))
	for i := range route.Hosts {
		keys[i] = k.host(&route.Hosts[i])
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

func (k *siteKeys) host(h *mx.Host) string {
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
		b = strconv.AppendInt(b, int64(k.login(h.Login)), 10)
	}
	return string(b)
}

// maxLogins is how many logins are numbered before the numbers begin again.
const maxLogins = 10_000

// login numbers logins, so that a key contains no secrets.
func (k *siteKeys) login(l mx.Login) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, known := k.logins[l]
	if !known {
		if k.logins == nil || len(k.logins) >= maxLogins {
			k.logins = make(map[mx.Login]int)
		}
		k.lastLogin++
		n = k.lastLogin
		k.logins[l] = n
	}
	return n
}

// joinKey is the same for routes to one site whose mail may be judged together;
// empty is together with no other. A route of which hosts are missing or left out
// makes outcomes temporary that another's would not, and a fallback is for its own
// route's mail.
func joinKey(route *mx.Route) string {
	switch {
	case route.Unlisted > 0, route.Fallback != nil && route.FallbackID == "":
		return ""
	case slices.ContainsFunc(route.LeftOut, func(l mx.LeftOut) bool {
		return l.Reason == mx.LookupFailed || l.Reason == mx.BadRecord || l.Reason == mx.OverLimit
	}):
		return ""
	}
	b := []byte{byte(route.Via), '-'}
	if route.Secure {
		b[1] = 's'
	}
	return string(append(b, route.FallbackID...))
}

// sameAddresses reports whether the hosts of two routes to one site have the same
// addresses, in whatever order. A Router may know several hosts by one name.
func sameAddresses(a, b []mx.Host) bool {
	return slices.EqualFunc(inOrder(a), inOrder(b), func(x, y mx.Host) bool {
		byAddress := func(list []netip.Addr) []netip.Addr {
			return slices.SortedFunc(slices.Values(list), netip.Addr.Compare)
		}
		return slices.Equal(byAddress(x.Addrs), byAddress(y.Addrs))
	})
}

// inOrder returns hosts in a fixed order that does not depend on their preference.
func inOrder(hosts []mx.Host) []mx.Host {
	return slices.SortedStableFunc(slices.Values(hosts), func(a, b mx.Host) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), int(a.Port)-int(b.Port))
	})
}

// dependsOnSender reports whether other mail for the destination may have
// another route.
func dependsOnSender(route *mx.Route) bool {
	return route.BySender || route.Via == mx.ViaSmartHost || route.Via == mx.ViaFallback
}
