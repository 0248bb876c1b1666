package trouble

import (
	"net/netip"
	"sync"
	"time"
)

// Network is what connections have shown about the network: for each address family,
// whether it had a route at the last connection, and when that was.
type Network struct {
	mu   sync.Mutex
	none [2]bool // it had no route
	at   [2]time.Time
}

// routedFor is how long IPv6 is taken to have a route after a connection has shown that.
const routedFor = time.Minute

// Note notes whether there was a route to an address.
func (n *Network) Note(a netip.Addr, route bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := family(a)
	n.none[i], n.at[i] = !route, time.Now()
}

func family(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 0
	}
	return 1
}

// Up reports whether one of the families has a route, as far as is known. That the other
// has none is no trouble. If nothing is known about IPv6, it is taken to have no route,
// since a machine that has no other network uses it all the time.
func (n *Network) Up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.none[0] || !n.none[1] && time.Since(n.at[1]) < routedFor
}
