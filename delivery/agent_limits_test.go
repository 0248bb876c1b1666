package delivery_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// domains is zone text for n domains d0.test, d1.test, ... with the same host.
func domains(n int, host string) string {
	var b strings.Builder
	b.WriteString("$TTL 3600\n")
	for i := range n {
		fmt.Fprintf(&b, "d%d.test. MX 10 %s\n", i, host)
	}
	fmt.Fprintf(&b, "%s A 192.0.2.1\n", host)
	return b.String()
}

// most is how many connections were open at once.
func (o *office) most() (n int) {
	for _, d := range o.net.Network().Dials() {
		n = max(n, d.Open)
	}
	return n
}

func TestAgentLimits(t *testing.T) {
	slow := func() *smtptest.Host {
		return &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: time.Second}}}
	}
	for _, c := range []struct {
		name   string
		limits delivery.Limits
		want   int
	}{
		{"QUE-13 in total", delivery.Limits{Connections: 3}, 3},
		{"QUE-13 to a site", delivery.Limits{PerSite: 4}, 4},
		{"QUE-13 to a host", delivery.Limits{PerHost: 2}, 2},
		{"QUE-13 to an address", delivery.Limits{PerAddress: 5}, 5},
		{"QUE-13 by default", delivery.Limits{}, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, &smtptest.Internet{
					Zone: domains(50, "mx.test."), Hosts: map[string]*smtptest.Host{"mx.test": slow()},
				})
				o.agent.Settings.Limits = c.limits
				o.start()
				const n = 300
				for i := range n {
					o.submit(message(fmt.Sprintf("u@d%d.test", i%50)))
				}
				pass(time.Duration(n) * time.Second)
				if got := len(o.of(delivery.Delivered)); got != n {
					t.Fatalf("%d delivered, want %d", got, n)
				}
				if got := o.most(); got != c.want {
					t.Errorf("%d connections at once, want %d", got, c.want)
				}
				if got := len(o.visits()); got > 2*c.want {
					t.Errorf("%d connections for %d messages of 50 domains: a site is to use its sessions again", got, n)
				}
				for _, e := range o.of(delivery.Deferred) {
					t.Errorf("waiting for a limit cost an attempt: %v", e.Err)
				}
			})
		})
	}
	t.Run("QUE-13 in total, over many sites", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const sites, n = 12, 240
			zone, hosts := "$TTL 3600\n", make(map[string]*smtptest.Host)
			for i := range sites {
				zone += fmt.Sprintf("d%[1]d.test. MX 10 mx.d%[1]d.test.\nmx.d%[1]d.test. A 192.0.2.%[1]d\n", i)
				hosts[fmt.Sprintf("mx.d%d.test", i)] = slow()
			}
			o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: hosts})
			o.agent.Settings.Limits.Connections = 5
			o.start()
			for i := range n {
				o.submit(message(fmt.Sprintf("u@d%d.test", i%sites)))
			}
			pass(n * time.Second)
			if got, most := len(o.of(delivery.Delivered)), o.most(); got != n || most != 5 {
				t.Errorf("%d delivered over %d connections at once, want %d over 5", got, most, n)
			}
		})
	})
	t.Run("QUE-13 to a site of two hosts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const n = 100
			o := newOffice(t, &smtptest.Internet{
				Zone:  "$TTL 3600\ne.test. MX 10 a.test.\ne.test. MX 10 b.test.\na.test. A 192.0.2.1\nb.test. A 192.0.2.2\n",
				Hosts: map[string]*smtptest.Host{"a.test": slow(), "b.test": slow()},
			})
			o.agent.Settings.Limits = delivery.Limits{PerSite: 3, PerHost: 20, PerAddress: 20}
			o.start()
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			pass(n * time.Second)
			if got, most := len(o.of(delivery.Delivered)), o.most(); got != n || most != 3 {
				t.Errorf("%d delivered over %d connections at once, want %d over 3", got, most, n)
			}
		})
	})
	t.Run("SMTP-14 one recipient for each transaction", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
			o.agent.Settings.Limits.Recipients = 1
			o.start()
			o.submit(message("a@e.test", "b@e.test", "c@e.test"))
			pass(time.Minute)
			for _, m := range host.Messages() {
				if len(m.Recipients) != 1 || string(m.Content) != text {
					t.Errorf("a transaction for %q with the content %q", m.To(), m.Content)
				}
			}
			if got := len(host.Messages()); got != 3 {
				t.Errorf("%d transactions, want 3", got)
			}
		})
	})
	t.Run("QUE-13 a rate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{
				Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": {Extensions: full()}},
			})
			o.agent.Settings.Limits.Rate = 2
			o.start()
			for i := range 20 {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			pass(5 * time.Second)
			if got := len(o.of(delivery.Delivered)); got < 9 || got > 11 {
				t.Errorf("%d delivered in 5 s, want 2 a second", got)
			}
			if err := o.agent.Configure(delivery.Settings{}); err != nil {
				t.Fatal(err)
			}
			pass(time.Second)
			if got := len(o.of(delivery.Delivered)); got != 20 {
				t.Errorf("%d delivered a second after the limit was lifted, want all", got)
			}
		})
	})
}

func TestTogether(t *testing.T) {
	world := func() (*smtptest.Internet, *smtptest.Host) {
		host := &smtptest.Host{Extensions: full()}
		return &smtptest.Internet{Zone: domains(3, "mx.test."), Hosts: map[string]*smtptest.Host{"mx.test": host}}, host
	}
	t.Run("QUE-12 one transaction for several domains with the same hosts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net, host := world()
			o := newOffice(t, net)
			o.submit(message("a@d0.test", "b@d1.test", "c@d2.test", "d@d0.test"))
			o.start()
			pass(time.Minute)
			if got := len(o.of(delivery.Delivered)); got != 4 {
				t.Errorf("%d delivered, want 4", got)
			}
			if got := len(host.Messages()); got != 1 {
				t.Errorf("%d transactions, want one", got)
			}
		})
	})
	t.Run("QUE-4 a sibling that is deferred is retried alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net, host := world()
			host.Script = []smtptest.Cue{{At: smtptest.Rcpt, Address: "b@d1.test", Times: 1, Reply: "450 4.2.1 later"}}
			o := newOffice(t, net)
			o.submit(message("a@d0.test", "b@d1.test"))
			o.start()
			pass(time.Hour)
			list := host.Messages()
			if len(list) != 2 || strings.Join(list[1].To(), " ") != "b@d1.test" {
				t.Errorf("the host has %d messages, the second for %v, want b alone", len(list), list)
			}
			if o.left() != 0 {
				t.Errorf("%d deliveries are left", o.left())
			}
		})
	})
	t.Run("QUE-13 waiting is not charged", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net, host := world()
			host.Script = []smtptest.Cue{{At: smtptest.Banner, Times: 1, Reply: "421 4.3.2 busy", Then: smtptest.Close}}
			o := newOffice(t, net)
			const n = 40
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@d0.test", i)))
			}
			o.start()
			pass(time.Hour)
			if got := len(o.of(delivery.Delivered)); got != n {
				t.Errorf("%d delivered, want %d", got, n)
			}
			if got := len(o.of(delivery.Deferred)); got > 2 {
				t.Errorf("%d attempts charged for one connection that was closed with 421", got)
			}
		})
	})
}

func TestFlush(t *testing.T) {
	for _, c := range []struct {
		name string
		what queue.Selection
	}{
		{"QUE-11 everything", queue.Selection{}},
		{"QUE-11 a destination", queue.Selection{Destination: "e.test"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full()}
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				_ = o.net.Network().SetServer("192.0.2.1", nil)
				o.start()
				for i := range 10 {
					o.submit(message(fmt.Sprintf("u%d@e.test", i)))
				}
				pass(time.Second)
				_ = o.net.Network().SetServer("192.0.2.1", host)
				if _, err := o.agent.Flush(t.Context(), c.what); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
				if got := len(o.of(delivery.Delivered)); got != 10 {
					t.Errorf("%d delivered at once after a flush, want 10", got)
				}
			})
		})
	}
}
