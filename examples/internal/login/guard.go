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
// for the same user, so no user can be locked out. The zero value is ready for
// concurrent use.
type Guard struct {
	mu      sync.Mutex
	clients map[netip.Addr]*failures
}

// failures are the failures of a client.
type failures struct {
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

// Try has an attempt of a client decided, after it has waited for as long as it has to.
// wait waits, and is false if it cannot.
func (g *Guard) Try(client netip.Addr, wait func(time.Duration) bool, decide func() bool) error {
	f := g.enter(key(client))
	defer g.leave(f)
	for began := time.Now(); ; {
		d := f.try(decide)
		if d <= 0 {
			return nil
		}
		if time.Since(began)+d > maxWait || !wait(d) {
			return ErrTooMany
		}
	}
}

// key is what an attacker has one of: an IPv4 address, or an IPv6 network.
func key(client netip.Addr) netip.Addr {
	if p, err := client.Unmap().Prefix(64); err == nil && client.Unmap().Is6() {
		return p.Addr()
	}
	return client.Unmap()
}

func (g *Guard) enter(k netip.Addr) *failures {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.clients[k]
	if f == nil {
		if len(g.clients) >= mostKnown {
			g.forget()
		}
		f = &failures{}
		if g.clients == nil {
			g.clients = make(map[netip.Addr]*failures)
		}
		g.clients[k] = f
	}
	f.users++
	return f
}

func (g *Guard) leave(f *failures) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f.users--
}

// forget makes room: it forgets clients that have no waiting time, and if all have, any
// that has no attempt in progress.
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
		if len(g.clients) < mostKnown {
			return
		}
	}
}

// try decides an attempt, or says how long it has to wait first.
func (f *failures) try(decide func() bool) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	n := f.left(now)
	if n > 0 {
		if until := f.last.Add(delay(n)); now.Before(until) {
			return until.Sub(now)
		}
	}
	if decide() {
		return 0
	}
	f.n, f.last = n+1, time.Now()
	return 0
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
