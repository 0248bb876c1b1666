package delivery_test

import (
	"net"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestSmartHostOnThisMachine: a relay passes mail on to another server on the same
// machine, under its outside address and at a port of its own; what is the relay
// itself all the same is known by its greeting.
func TestSmartHostOnThisMachine(t *testing.T) {
	for _, c := range []struct {
		name, greeting string
		want           queue.Outcome
	}{
		{"MX-28 another server at another port", "filter.test", queue.Delivered},
		{"QUE-19 this relay at another port", "relay.test", queue.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &smtptest.Host{Name: c.greeting}
			in := (&smtptest.Internet{Zone: "mail.test. A 198.51.100.5\n", Hosts: map[string]*smtptest.Host{"mail.test:10026": h}}).Start(t)
			table := &smarthost.Table{Router: &mx.Router{
				Resolver: in, Relay: true, Self: []string{"relay.test"},
				InterfaceAddrs: func() ([]net.Addr, error) {
					return []net.Addr{&net.IPNet{IP: net.ParseIP("198.51.100.5"), Mask: net.CIDRMask(24, 32)}}, nil
				},
			}}
			if err := table.Set(smarthost.Rules{Default: []smarthost.Host{{Name: "mail.test", Port: 10026}}}); err != nil {
				t.Fatal(err)
			}
			s := &delivery.Sender{Hello: "relay.test", Router: table, Dial: in.DialContext, Self: []string{"relay.test"}}
			defer s.Close()
			report, err := s.Send(t.Context(), &queue.Message{
				Content: queue.String("Subject: x\r\n\r\nx\r\n"), Recipients: []queue.Recipient{{Address: "a@a.test"}},
			})
			if got := report.Recipients[0].Outcome; got != c.want {
				t.Errorf("outcome is %v, want %v; %v", got, c.want, err)
			}
		})
	}
}
