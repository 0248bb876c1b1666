//go:build linux

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// far is the round trip of the long way.
const far = 100 * time.Millisecond

// extensions are what the distant host offers.
func extensions(chunking bool) []string {
	offers := []string{"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 50000000"}
	if chunking {
		offers = append(offers, "CHUNKING")
	}
	return offers
}

// distance is what came of many messages over a long way.
type distance struct {
	perSecond float64 // messages, after the connections were made and before they ran out of work
	turns     float64 // round trips a message, those that open and close connections included
	opened    int     // connections
	peak      int     // connections on which somebody waited for a reply, at one time
}

// measureDistance sends messages to a host a long way off, over a number of
// connections at most.
func measureDistance(t *testing.T, c candidate, chunking bool, connections, messages int) distance {
	t.Helper()
	host := &smtptest.Host{Name: "distant.bench.test", Extensions: extensions(chunking), Discard: true}
	wire := startWire(t, farAddr, host.Start(t), far)
	relay := c.start(t, settings{perSite: connections})
	if _, err := inject(relayAddr, 20, messages, size, func(int) string { return "user@" + farDomain }); err != nil {
		t.Fatal(err)
	}
	arrivals, err := awaitHost(t, host, messages)
	if err != nil {
		t.Fatal(err)
	}
	relay.stop()
	from, to := messages/5, messages*9/10
	return distance{
		perSecond: float64(to-from) / arrivals[to].Sub(arrivals[from]).Seconds(),
		turns:     float64(wire.turns.Load()) / float64(messages),
		opened:    int(wire.connections.Load()),
		peak:      int(wire.peak.Load()),
	}
}

// awaitHost waits until a host has n messages and returns when each arrived.
func awaitHost(t *testing.T, host *smtptest.Host, n int) ([]time.Time, error) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	last, since := 0, time.Now()
	for {
		got := host.Messages()
		if len(got) >= n {
			var at []time.Time
			for _, m := range got[:n] {
				at = append(at, m.At)
			}
			return at, nil
		}
		if len(got) > last {
			last, since = len(got), time.Now()
		}
		if time.Since(since) > patience {
			return nil, fmt.Errorf("%d of %d messages have arrived, and no more for %v", last, n, patience)
		}
		<-look.C
	}
}
