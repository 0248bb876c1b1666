// The race detector takes its time with every access to memory. make test runs this file
// without it.

//go:build !race

package bench

import (
	"context"
	"crypto/tls"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestResumedConnections holds that a connection whose TLS is resumed takes at most half the
// processor time of one with a whole handshake, at client and server together, the system's
// left out. Each is opened for one short message. The two kinds take turns, so that what
// else the machine does concerns both; the server is a process of its own, so that the
// shares are known.
func TestResumedConnections(t *testing.T) {
	const turns, connections = 20, 40
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as the server's: threads that look for work cost time
	addr, serverCPU := otherProcessOf(t, withTLS)
	var resumed, began int
	sender := func(tickets bool) *delivery.Sender {
		s := &delivery.Sender{
			Hello: "bench.test", Router: byTLS{addr}, MaxIdle: -1,
			TLSConfig: &tls.Config{SessionTicketsDisabled: !tickets, VerifyConnection: func(s tls.ConnectionState) error {
				if began++; s.DidResume {
					resumed++
				}
				return nil
			}},
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	m := &queue.Message{From: "a@bench.test", Recipients: []queue.Recipient{{Address: "u@sink.test"}}, Content: queue.String("Subject: s\r\n\r\nb\r\n")}
	type used struct{ client, server time.Duration }
	measure := func(s *delivery.Sender) (u used) {
		client, server := userCPU(), serverCPU()
		for range connections {
			if _, err := s.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		return used{userCPU() - client, serverCPU() - server}
	}
	whole, again := sender(false), sender(true)
	measure(whole) // both are warm, and the second has a ticket
	measure(again)
	resumed, began = 0, 0
	var all [2]used
	ratio := 1.0
	for round := 1; round <= 3 && ratio > 0.5; round++ { // one is enough on a machine that does nothing else
		for range turns {
			for i, s := range []*delivery.Sender{whole, again} {
				u := measure(s)
				all[i].client += u.client
				all[i].server += u.server
			}
		}
		n := time.Duration(round * turns * connections)
		if resumed != int(n) || began != 2*resumed {
			t.Fatalf("%d of %d connections are resumed, want half", resumed, began)
		}
		for i, kind := range []string{"with a whole handshake", "that is resumed"} {
			t.Logf("a connection %s: %v at the client, %v at the server", kind, all[i].client/n, all[i].server/n)
		}
		ratio = float64(all[1].client+all[1].server) / float64(all[0].client+all[0].server)
		t.Logf("a resumed connection takes %.2f of the processor time; of the client's share, %.2f", ratio, float64(all[1].client)/float64(all[0].client))
	}
	if ratio > 0.5 {
		t.Errorf("a resumed connection takes %.2f of the processor time of another, want half at most", ratio)
	}
}

// byTLS routes all mail to one address, with TLS.
type byTLS struct{ addr netip.AddrPort }

func (r byTLS) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	route, err := toSink(r).Route(ctx, from, domain)
	route.Hosts[0].TLS = mx.TLSEncrypt
	return route, err
}
