package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestSecondary is an agent in the secondary role: 20 in a domain whose 10 is down
// and whose 30 is not.
func TestSecondary(t *testing.T) {
	const zone = "e.test. MX 10 a.e.test.\ne.test. MX 20 b.e.test.\ne.test. MX 30 c.e.test.\n" +
		"a.e.test. A 198.51.100.1\nb.e.test. A 198.51.100.2\nc.e.test. A 198.51.100.3"
	t.Run("MX-27 only better hosts are tried, for as long as the mail lives", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			primary, worse := &smtptest.Host{Extensions: full()}, &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone: zone, Hosts: map[string]*smtptest.Host{"a.e.test": primary, "c.e.test": worse},
			})
			o.agent.Sender.Hello = "b.e.test"
			o.agent.Sender.Router = delivery.ByMX(&mx.Router{
				Resolver: o.net, Self: []string{"b.e.test"}, Relay: true,
			})
			o.net.Cut("a.e.test")
			o.start()
			o.submit(message("u@e.test"))
			pass(72 * time.Hour)
			if n := len(o.of(delivery.Deferred)); n < 15 {
				t.Errorf("tried %d times in three days", n)
			}
			o.net.Heal("a.e.test")
			pass(5 * time.Hour)
			if n := len(primary.Messages()); n != 1 {
				t.Errorf("the primary has %d messages", n)
			}
			for _, d := range o.net.Network().Dials() {
				if d.Addr.String() != "198.51.100.1:25" {
					t.Errorf("dialled %v", d.Addr)
				}
			}
			if n := len(worse.Connections()); n != 0 {
				t.Errorf("%d connections to a host that is no better", n)
			}
		})
	})
}
