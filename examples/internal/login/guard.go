package login

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// ErrTooMany says that a client has failed too often to be served now.
var ErrTooMany = errors.New("too many failed logins from this address; try again later")

// Guard slows down clients that fail. After failures, a client's next attempt is
// decided after one second, then two, four, and so on up to half a minute, regardless
// of its number of connections: its attempts are decided one after another. Each minute
// without a failure cancels one. Attempts of other clients are not slowed down, even
// for the same user, so no user can be locked out.
//
// A user who has logged in from an address counts there as a client of its own. So a
// device with an old password does not slow down the other users of its office. The zero
// value is ready for concurrent use.
type Guard struct {
	mu      sync.Mutex
	clients map[client]*failures
	known   map[client]struct{} // have logged in
}

// client is what an attacker has one of: an address, as key returns it. user is empty
// unless that user has logged in from there.
type client struct {
	addr netip.Addr
	user string
}

// failures are the failures of a client.
type failures struct {
	of    client
	mu    sync.Mutex // held while an attempt is decided
	n     int
	last  time.Time
	users int // attempts under way; of Guard.mu
}

const (
	maxDelay  = 30 * time.Second
	maxWait   = time.Minute // of one attempt
	oneLess   = time.Minute
	mostKnown = 10_000 // clients
)

// Try has an attempt of a user to log in decided, after it has waited for as long as it
// has to. wait waits, and is false if it cannot.
func (g *Guard) Try(addr netip.Addr, user string, wait func(time.Duration) bool, decide func() bool) error {
	own := client{key(addr), user}
	f := g.enter(own)
	defer g.leave(f)
	for began := time.Now(); ; {
		right, d := f.try(decide)
		if right {
			g.remember(own)
		}
		if d <= 0 {
			return nil
		}
		if time.Since(began)+d > maxWait || !wait(d) {
			return ErrTooMany
		}
	}
}

// key is an IPv4 address, or an IPv6 network.
func key(addr netip.Addr) netip.Addr {
	if p, err := addr.Unmap().Prefix(64); err == nil && addr.Unmap().Is6() {
		return p.Addr()
	}
	return addr.Unmap()
}

// enter returns the failures that count for an attempt.
func (g *Guard) enter(k client) *failures {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.known[k]; !ok {
		k.user = ""
	}
	f := g.clients[k]
	if f == nil {
		if len(g.clients) >= mostKnown {
			g.forget()
		}
		f = &failures{of: k}
		if g.clients == nil {
			g.clients = make(map[client]*failures)
		}
		g.clients[k] = f
	}
	f.users++
	return f
}

// remember remembers that a user has logged in. If there are too many, another is
// forgotten.
func (g *Guard) remember(own client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		g.known = make(map[client]struct{})
	}
	g.known[own] = struct{}{}
	for k := range g.known {
		if len(g.known) <= mostKnown {
			return
		}
		if k != own {
			delete(g.known, k)
		}
	}
}

// leave ends an attempt. A client without failures is not kept.
func (g *Guard) leave(f *failures) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.users--; f.users == 0 && f.n == 0 {
		delete(g.clients, f.of)
	}
}

// forget makes room: it forgets clients that have no waiting time, and if these are few,
// any that has no attempt in progress. It makes room for many, because it looks at all.
func (g *Guard) forget() {
	for _, all := range []bool{false, true} {
		for k, f := range g.clients {
			if f.users == 0 && (all || f.left(time.Now()) == 0) {
				delete(g.clients, k)
			}
			if all && len(g.clients) < mostKnown/2 {
				return
			}
		}
		if len(g.clients) < mostKnown*3/4 {
			return
		}
	}
}

// try decides an attempt, or says how long it has to wait first.
func (f *failures) try(decide func() bool) (right bool, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	n := f.left(now)
	if n > 0 {
		if until := f.last.Add(delay(n)); now.Before(until) {
			return false, until.Sub(now)
		}
	}
	if decide() {
		return true, 0
	}
	f.n, f.last = n+1, time.Now()
	return false, 0
}

// left is how many failures are still held against a client.
func (f *failures) left(now time.Time) int {
	return max(f.n-int(now.Sub(f.last)/oneLess), 0)
}

// delay is how long a client waits after so many failures.
func delay(n int) time.Duration {
	if n > 5 {
		return maxDelay
	}
	return time.Second << (n - 1)
}
