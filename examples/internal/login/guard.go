package login

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// ErrTooMany is that of an attempt by a client that has failed too often to be heard now.
var ErrTooMany = errors.New("too many failed logins from this address; try again later")

// Guard slows down those who fail. A client whose last attempts failed is heard after a
// second, after two, four, and so on to half a minute, however many connections it has: its
// attempts are decided one after another. Each minute without a failure makes up for
// one. Attempts of others, and at the same user, are not slowed, so that nobody can be
// locked out. The zero value is ready for use, by many at once.
type Guard struct {
	mu      sync.Mutex
	clients map[netip.Addr]*failures
}

// failures are those of a client.
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

// forget makes room: it forgets clients that have nothing to wait for, and if all have,
// any that is not at work.
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
