package delivery_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// hostAt is a Router that knows one host, at a port of this machine.
type hostAt netip.AddrPort

func (h hostAt) Route(_ context.Context, _, domain string) (mx.Route, error) {
	at := netip.AddrPort(h)
	return mx.Route{Domain: domain, Via: mx.ViaSmartHost, Hosts: []mx.Host{
		{Name: "mx1.e.test", Addrs: []netip.Addr{at.Addr()}, Port: at.Port()},
	}}, nil
}

// TestSource is which local address a message is sent from, over loopback sockets.
func TestSource(t *testing.T) {
	host := &smtptest.Host{}
	at := netip.MustParseAddrPort(host.Start(t))
	// from sends a message and returns the local address that the host saw.
	from := func(s *delivery.Sender, m *queue.Message) string {
		t.Helper()
		if report, err := s.Send(t.Context(), m); err != nil {
			t.Fatalf("%v: %v", report.Recipients[0].Outcome, err)
		}
		list := host.Connections()
		return netip.MustParseAddrPort(list[len(list)-1].Remote.String()).Addr().String()
	}
	sender := func(source ...string) *delivery.Sender {
		s := &delivery.Sender{Hello: "from.test", Router: hostAt(at), MaxIdle: -1}
		for _, a := range source {
			s.Source = append(s.Source, netip.MustParseAddr(a))
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	t.Run("none leaves it to the system", func(t *testing.T) {
		if got := from(sender(), message("u@e.test")); got != "127.0.0.1" {
			t.Errorf("from %s", got)
		}
	})
	t.Run("none of the family leaves it to the system", func(t *testing.T) {
		if got := from(sender("2001:db8::1"), message("u@e.test")); got != "127.0.0.1" {
			t.Errorf("from %s", got)
		}
	})
	t.Run("QUE-10 the same one at every attempt, and all of the family for all messages", func(t *testing.T) {
		s := sender("2001:db8::1", "127.0.0.2", "127.0.0.3", "2001:db8::2")
		seen := make(map[string]bool)
		for i := range 16 {
			m := message("u@e.test")
			m.ID = fmt.Sprintf("message-%d", i)
			first := from(s, m)
			seen[first] = true
			m.From = "b@from.test" // it is the same message all the same
			if again := from(s, m); again != first {
				t.Errorf("from %s and then from %s", first, again)
			}
		}
		if len(seen) != 2 || !seen["127.0.0.2"] || !seen["127.0.0.3"] {
			t.Errorf("16 messages from %v, want both of 127.0.0.2 and 127.0.0.3", seen)
		}
	})
	t.Run("QUE-10 a message without an identifier is known by its sender", func(t *testing.T) {
		s := sender("127.0.0.2", "127.0.0.3")
		seen := make(map[string]bool)
		for i := range 16 {
			m := message("u@e.test")
			m.From = fmt.Sprintf("a%d@from.test", i)
			seen[from(s, m)] = true
		}
		if len(seen) != 2 {
			t.Errorf("16 senders from %v, want both of 127.0.0.2 and 127.0.0.3", seen)
		}
	})
}
