package guide

import (
	"net/netip"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// onLoopback returns a sender that asks a DNS server of the tests for the MX hosts, and
// expects these on loopback, all at one port.
func onLoopback(dns *mxtest.Server, port uint16) *delivery.Sender {
	return &delivery.Sender{
		Hello:    "app.example.org",
		Resolver: &mx.Client{Servers: []mx.Server{{Addr: dns.Addr()}}},
		Port:     port, AllowLoopback: true,
	}
}

func TestOnLoopback(t *testing.T) {
	dns := &mxtest.Server{DNS: &mxtest.DNS{Zone: "example.com. MX 10 mail.example.com.\nmail.example.com. A 127.0.0.1"}}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	host := &smtptest.Host{}
	sender := onLoopback(dns, netip.MustParseAddrPort(host.Start(t)).Port())
	if _, err := sender.Send(t.Context(), &queue.Message{
		From: "app@example.org", Recipients: []queue.Recipient{{Address: "bob@example.com"}},
		Content: queue.String("Subject: Hello\n\nHello.\n"),
	}); err != nil {
		t.Error(err)
	}
	if err := sender.Close(); err != nil || len(host.Messages()) != 1 {
		t.Errorf("%d messages arrived, %v, want 1", len(host.Messages()), err)
	}
	host.Check(t)
}
