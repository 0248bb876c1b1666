package login

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	thief  = netip.MustParseAddr("192.0.2.1")
	honest = netip.MustParseAddr("192.0.2.2")
)

func sleep(d time.Duration) bool { time.Sleep(d); return true }

// attempt tries once, and says after how long it was decided.
func attempt(t *testing.T, g *Guard, client netip.Addr, right bool) (took time.Duration) {
	t.Helper()
	return attemptOf(t, g, client, "alice", right)
}

// attemptOf is attempt for a user.
func attemptOf(t *testing.T, g *Guard, client netip.Addr, user string, right bool) (took time.Duration) {
	t.Helper()
	began := time.Now()
	if err := g.Try(client, user, sleep, func() bool { took = time.Since(began); return right }); err != nil {
		t.Error(err)
	}
	return took
}

func TestThoseWhoFailAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Guard)
		for i, seconds := range []int{0, 1, 2, 4, 8, 16, 30, 30} {
			want := time.Duration(seconds) * time.Second
			if got := attempt(t, g, thief, false); got != want {
				t.Errorf("attempt %d is decided after %v, want %v", i, got, want)
			}
			if got := attempt(t, g, honest, true); got != 0 {
				t.Errorf("another client waits for %v", got)
			}
		}
		if got := attempt(t, g, thief, true); got != 30*time.Second {
			t.Errorf("the right password after %v, want 30 s: guessing it is slow, too", got)
		}
		time.Sleep(20 * time.Minute)
		if got := attempt(t, g, thief, false); got != 0 {
			t.Errorf("after 20 minutes it is decided after %v, want at once", got)
		}
	})
}

// TestDeviceWithAnOldPassword: the other users at its address log in without a wait. Its
// own user waits, and so does a user who was never there.
func TestDeviceWithAnOldPassword(t *testing.T) {
	office := netip.MustParseAddr("192.0.2.3")
	synctest.Test(t, func(t *testing.T) {
		g := new(Guard)
		attemptOf(t, g, office, "alice", true)
		attemptOf(t, g, office, "bob", true)
		for range 8 {
			attemptOf(t, g, office, "alice", false)
		}
		if got := attemptOf(t, g, office, "bob", true); got != 0 {
			t.Errorf("bob waits for %v because of alice's device", got)
		}
		if got := attemptOf(t, g, office, "alice", true); got != 30*time.Second {
			t.Errorf("alice waits for %v, want 30 s: somebody guesses her password", got)
		}
		if got := attemptOf(t, g, office, "carol", false); got != 0 {
			t.Errorf("the first attempt of carol is decided after %v, want at once", got)
		}
		if got := attemptOf(t, g, office, "dave", true); got != time.Second {
			t.Errorf("dave, who was never there, waits for %v, want 1 s", got)
		}
		if got := attemptOf(t, g, office, "bob", true); got != 0 {
			t.Errorf("bob waits for %v because of carol", got)
		}
	})
}

// TestOwnAccountOfAnAttacker: with it, others are guessed no faster.
func TestOwnAccountOfAnAttacker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Guard)
		for i, seconds := range []int{0, 1, 2, 4, 8, 16, 30} {
			attemptOf(t, g, thief, "mallory", true)
			if got := attemptOf(t, g, thief, "alice", false); got != time.Duration(seconds)*time.Second {
				t.Errorf("attempt %d is decided after %v, want %d s", i, got, seconds)
			}
		}
		if got := attemptOf(t, g, netip.MustParseAddr("192.0.2.9"), "mallory", false); got != 0 {
			t.Errorf("another address waits for %v", got)
		}
	})
}

// TestManyAtOnce: connections beside each other do not get a client more attempts.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Guard)
		var all sync.WaitGroup
		var mu sync.Mutex
		decided, tooMany := 0, 0
		for range 100 {
			all.Go(func() {
				err := g.Try(thief, "alice", sleep, func() bool {
					mu.Lock()
					defer mu.Unlock()
					decided++
					return false
				})
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrTooMany) {
					tooMany++
				}
			})
		}
		all.Wait()
		if decided > 7 || decided < 5 || decided+tooMany != 100 {
			t.Errorf("%d attempts were decided within a minute and %d refused, want 6 or so", decided, tooMany)
		}
	})
}

func TestNetworksOfIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Guard)
		attempt(t, g, netip.MustParseAddr("2001:db8::1"), false)
		if got := attempt(t, g, netip.MustParseAddr("2001:db8::2"), false); got != time.Second {
			t.Errorf("an address beside is decided after %v, want 1 s", got)
		}
		if got := attempt(t, g, netip.MustParseAddr("2001:db8:0:1::1"), false); got != 0 {
			t.Errorf("another network is decided after %v, want at once", got)
		}
		attempt(t, g, thief, false)
		if got := attempt(t, g, netip.MustParseAddr("::ffff:192.0.2.1"), false); got != time.Second {
			t.Errorf("the same address in IPv6 is decided after %v, want 1 s", got)
		}
	})
}

// TestMemoryOfFailuresIsBounded: however many clients fail, and those who wait go on to.
func TestMemoryOfFailuresIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Guard)
		addr := netip.MustParseAddr("10.0.0.0")
		for range 3 * mostKnown {
			addr = addr.Next()
			attempt(t, g, addr, false)
		}
		if len(g.clients) > mostKnown {
			t.Errorf("%d clients are known, want %d at most", len(g.clients), mostKnown)
		}
		for range 2 * mostKnown {
			addr = addr.Next()
			attempt(t, g, addr, true)
		}
		if len(g.known) > mostKnown || len(g.clients) > mostKnown {
			t.Errorf("%d users and %d clients are known, want %d at most", len(g.known), len(g.clients), mostKnown)
		}
	})
}

func TestServerThatStops(t *testing.T) {
	g := new(Guard)
	attempt(t, g, thief, false)
	err := g.Try(thief, "alice", func(time.Duration) bool { return false }, func() bool { t.Error("decided"); return true })
	if !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
}
