package delivery_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// many is an internet of n domains, each with a host of its own.
func many(n int) (*smtptest.Internet, []*smtptest.Host) {
	var zone strings.Builder
	hosts, list := make(map[string]*smtptest.Host), make([]*smtptest.Host, n)
	zone.WriteString("$TTL 3600\n")
	for i := range n {
		name := fmt.Sprintf("mx.d%d.test", i)
		fmt.Fprintf(&zone, "d%d.test. MX 10 %s.\n%s. A 198.51.100.%d\n", i, name, name, i+1)
		list[i] = &smtptest.Host{Extensions: full()}
		hosts[name] = list[i]
	}
	return &smtptest.Internet{Zone: zone.String(), Hosts: hosts}, list
}

// TestOutages are hosts that go and come back.
func TestOutages(t *testing.T) {
	t.Run("QUE-7 QUE-11 all destinations are down for a day, and back at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const domains, each = 40, 30
			net, hosts := many(domains)
			o := newOffice(t, net)
			o.start()
			for i := range domains {
				o.net.Cut(fmt.Sprintf("mx.d%d.test", i))
			}
			for i := range domains * each {
				o.submit(message(fmt.Sprintf("u%d@d%d.test", i, i%domains)))
			}
			pass(24 * time.Hour)
			// The schedule has ten attempts in a day: one message's, not thirty's.
			dials := len(o.net.Network().Dials())
			if dials > 15*domains {
				t.Errorf("%d connections tried to %d hosts that were down for a day", dials, domains)
			}
			for i := range domains {
				o.net.Heal(fmt.Sprintf("mx.d%d.test", i))
			}
			pass(5 * time.Hour)
			for i, h := range hosts {
				if n := len(h.Messages()); n != each {
					t.Errorf("host %d has %d messages, want %d", i, n, each)
				}
				// One is tried with before the others come, twenty at a time.
				if n := len(h.Connections()); n > 25 {
					t.Errorf("host %d saw %d connections for %d messages", i, n, each)
				}
			}
			if n := o.left(); n != 0 {
				t.Errorf("%d deliveries are left", n)
			}
		})
	})
	t.Run("QUE-11 a host that flaps gets everything, once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net, hosts := many(2)
			o := newOffice(t, net)
			o.start()
			const n = 12 * 60
			for i := range n {
				switch i % 20 {
				case 0:
					o.net.Cut("mx.d0.test")
				case 10:
					o.net.Heal("mx.d0.test")
				}
				o.submit(message(fmt.Sprintf("u%d@d0.test", i)))
				o.submit(message(fmt.Sprintf("u%d@d1.test", i)))
				pass(time.Minute)
				if got := len(hosts[1].Messages()); got != i+1 {
					t.Fatalf("the host that does not flap has %d messages, want %d", got, i+1)
				}
			}
			o.net.Heal("mx.d0.test")
			pass(5 * time.Hour)
			taken := map[string]int{}
			for _, m := range hosts[0].Messages() {
				taken[m.To()[0]]++
			}
			unknown := len(o.of(delivery.UnknownOutcome))
			if more := len(hosts[0].Messages()) - len(taken); len(taken) != n || more > unknown {
				t.Errorf("%d messages arrived, want %d; %d of them again, where %d outcomes were unknown",
					len(taken), n, more, unknown)
			}
			dials := 0
			for _, d := range o.net.Network().Dials() {
				if d.Addr.String() == "198.51.100.1:25" {
					dials++
				}
			}
			if dials > n {
				t.Errorf("%d connections were tried to the host that flaps, for %d messages", dials, n)
			}
		})
	})
}
