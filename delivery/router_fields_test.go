package delivery_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// ownRouter is a Router that says nothing of itself.
type ownRouter struct{}

func (ownRouter) Route(context.Context, string, string) (mx.Route, error) { return mx.Route{}, nil }

// TestValidateWithRouter: what a Sender does not look at because it has a Router is no
// secret.
func TestValidateWithRouter(t *testing.T) {
	byMX := func(self ...string) delivery.Router {
		return delivery.ByMX(&mx.Router{Resolver: &mxtest.DNS{}, Self: self})
	}
	for _, c := range []struct {
		name   string
		sender *delivery.Sender
		field  string // empty where nothing is wrong
	}{
		{"nothing", &delivery.Sender{}, ""},
		{"Resolver", &delivery.Sender{Resolver: &mxtest.DNS{}}, "Resolver"},
		{"SelfAddrs", &delivery.Sender{SelfAddrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, "SelfAddrs"},
		{"Relay", &delivery.Sender{Relay: true}, "Relay"},
		{"AllowLoopback", &delivery.Sender{AllowLoopback: true}, "AllowLoopback"},
		{"RefusePrivate", &delivery.Sender{RefusePrivate: true}, "RefusePrivate"},
		{"Family", &delivery.Sender{Family: mx.IPv4Only}, "Family"},
		{"DeferNoSuchDomain", &delivery.Sender{DeferNoSuchDomain: true}, "DeferNoSuchDomain"},
		{"a name the Router does not know", &delivery.Sender{Self: []string{"us.test", "other.test"}, Router: byMX("us.test")}, "Self[1]"},
		{"a name it knows in another spelling", &delivery.Sender{Self: []string{"US.test."}, Router: byMX("us.test")}, ""},
		{"a table that does not know it", &delivery.Sender{Self: []string{"us.test"}, Router: &smarthost.Table{Router: &mx.Router{Resolver: &mxtest.DNS{}}}}, "Self[0]"},
		{"a table on the system's resolvers", &delivery.Sender{Self: []string{"us.test"}, Router: &smarthost.Table{}}, "Self[0]"},
		{"a Router of one's own", &delivery.Sender{Self: []string{"us.test"}, Router: ownRouter{}}, ""},
		{"SelfAddrs that are none", &delivery.Sender{SelfAddrs: []netip.Addr{{}}}, "SelfAddrs[0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.sender
			if s.Router == nil {
				s.Router = byMX()
			}
			defer s.Close()
			err := s.Validate()
			if (err != nil) != (c.field != "") || err != nil && !strings.Contains(err.Error(), "delivery.Sender."+c.field+": ") {
				t.Errorf("it says %v, want something about %q", err, c.field)
			}
			if s.Router = nil; c.name != "SelfAddrs that are none" {
				if err := s.Validate(); err != nil {
					t.Errorf("without a Router it says %v", err)
				}
			}
		})
	}
}

// TestRoutingFieldsOfSender: what a Sender says about this host and the hosts it may
// use holds without a Router of its own.
func TestRoutingFieldsOfSender(t *testing.T) {
	own := ""
	nets, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nets {
		if p, err := netip.ParsePrefix(n.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			own = p.Addr().String()
		}
	}
	const zone = "nat.test. MX 10 a.nat.test.\na.nat.test. A 198.51.100.1\ninside.test. MX 10 a.inside.test.\na.inside.test. A 10.1.2.3\n"
	type field struct {
		name, to, zone string
		set            func(s *delivery.Sender)
		want           queue.Outcome
		status         string
	}
	fields := []field{
		{"MX-25 the outside of a NAT", "nat.test", zone, func(s *delivery.Sender) { s.SelfAddrs = []netip.Addr{netip.MustParseAddr("198.51.100.1")} }, queue.Failed, "5.4.6"},
		{"an address in a private network", "inside.test", zone, func(s *delivery.Sender) { s.RefusePrivate = true }, queue.Failed, "5.4.4"},
		{"MX-4 a domain that does not exist", "gone.test", zone, func(s *delivery.Sender) { s.DeferNoSuchDomain = true }, queue.Deferred, "4.1.2"},
		{"MX-4 the same by default", "gone.test", zone, func(*delivery.Sender) {}, queue.Failed, "5.1.2"},
	}
	if own != "" { // a machine has an address beside loopback, a container may not
		fields = append(fields, field{
			"MX-25 an interface of a relay", "us.test", "us.test. MX 10 a.us.test.\na.us.test. A " + own + "\n",
			func(s *delivery.Sender) { s.Relay = true }, queue.Failed, "5.4.6",
		})
	}
	for _, c := range fields {
		t.Run(c.name, func(t *testing.T) {
			s := &delivery.Sender{Hello: "from.test", Resolver: &mxtest.DNS{Zone: c.zone}}
			c.set(s)
			defer s.Close()
			report, _ := s.Send(t.Context(), &queue.Message{
				Content: queue.String("Subject: x\r\n\r\nx\r\n"), Recipients: []queue.Recipient{{Address: "u@" + c.to}},
			})
			r := report.Recipients[0]
			if r.Outcome != c.want || r.Err.Enhanced != c.status {
				t.Errorf("%v, %v; want %v with %s", r.Outcome, r.Err, c.want, c.status)
			}
		})
	}
}

// TestGreetingAsTheRouterKnowsUs: names that only the Router was told are looked for in
// greetings, too.
func TestGreetingAsTheRouterKnowsUs(t *testing.T) {
	for name, table := range map[string]bool{"QUE-19 of ByMX": false, "QUE-19 of a smarthost.Table": true} {
		t.Run(name, func(t *testing.T) {
			host := &smtptest.Host{Name: "us.test"}
			in := (&smtptest.Internet{Zone: "e.test. MX 10 nat.test.\nnat.test. A 198.51.100.1\n", Hosts: map[string]*smtptest.Host{"nat.test": host}}).Start(t)
			router := &mx.Router{Resolver: in, Self: []string{"us.test"}}
			s := &delivery.Sender{Hello: "from.test", Router: delivery.ByMX(router), Dial: in.DialContext}
			if table {
				s.Router = &smarthost.Table{Router: router}
			}
			defer s.Close()
			report, err := s.Send(t.Context(), &queue.Message{
				Content: queue.String("Subject: x\r\n\r\nx\r\n"), Recipients: []queue.Recipient{{Address: "u@e.test"}},
			})
			if r := report.Recipients[0]; r.Outcome != queue.Failed || r.Err.Enhanced != "5.4.6" || len(host.Messages()) > 0 {
				t.Errorf("%v, %v; want a loop", r.Outcome, err)
			}
		})
	}
}
