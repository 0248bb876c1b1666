//go:build linux

package bench

import (
	"fmt"
	"testing"
)

// TestConnections: a relay under load keeps its connections, and shares them
// among the domains of one host.
func TestConnections(t *testing.T) {
	startDNS(t)
	for n, most := range map[int]float64{1: 0.01, domains: 0.05} {
		t.Run(fmt.Sprintf("%d domains", n), func(t *testing.T) {
			const messages = 2500
			got := measureThroughput(t, candidate{nexthop, 0, startFew}, messages, n, false)
			t.Logf("%.4f connections a message, %.0f messages/s", got.connections, got.perSecond)
			if got.connections > most {
				t.Errorf("%.3f connections a message, want %.2f at most", got.connections, most)
			}
		})
	}
}

// startFew starts the relay with its own limit of connections to a site.
func startFew(t *testing.T, s settings) *running {
	t.Helper()
	s.perSite = 20
	return startRelay(t, s)
}

// TestRoundTrips: a message over a connection that has carried one costs one round
// trip where the host has PIPELINING and CHUNKING, two where it has PIPELINING
// only, and all connections are used at once.
func TestRoundTrips(t *testing.T) {
	startDNS(t)
	for _, c := range []struct {
		chunking    bool
		trips       int // a message
		connections int
		messages    int
	}{
		{true, 1, 1, 20}, {false, 2, 1, 10}, {true, 1, 20, 300},
	} {
		t.Run(fmt.Sprintf("CHUNKING %t with %d connections", c.chunking, c.connections), func(t *testing.T) {
			got := measureDistance(t, candidate{nexthop, 0, startRelay}, c.chunking, c.connections, c.messages)
			t.Logf("%.2f round trips a message, %d connections, %d at work at once, %.1f messages/s",
				got.turns, got.opened, got.peak, got.perSecond)
			// What one is at between two messages is not seen as work.
			if got.opened != c.connections || got.peak < (c.connections+1)/2 || got.peak > c.connections {
				t.Errorf("%d connections, %d of them at work at once; want %d", got.opened, got.peak, c.connections)
			}
			// A connection's EHLO, and its first message, which waits for the envelope's replies.
			if most := c.trips*c.messages + 2*c.connections; got.turns*float64(c.messages) > float64(most)+0.5 {
				t.Errorf("%.0f round trips, want %d at most", got.turns*float64(c.messages), most)
			}
		})
	}
}

// TestBlackHole: a preferred host that never answers costs its timeout once, and
// not once per connection or message.
func TestBlackHole(t *testing.T) {
	startDNS(t)
	got := measureHole(t, candidate{nexthop, 0, startRelay}, 100)
	t.Logf("%d tries, %d connections to the other host, %v waited for the first message and %v for each other",
		got.tries, got.opened, got.first, got.waiting)
	if got.tries != 1 {
		t.Errorf("the black hole was tried %d times, want once", got.tries)
	}
	if got.opened < 2 {
		t.Error("one connection carried everything, which shows nothing")
	}
}
