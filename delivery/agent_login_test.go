package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

func TestLoginRefused(t *testing.T) {
	t.Run("QUE-15 EXT-20 mail waits for a login to be mended, one alert, then all flows", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ca := authority(t)
			host := &smtptest.Host{
				Name: "smart.test", Extensions: append(full(), "STARTTLS"), ExtensionsTLS: append(full(), "AUTH PLAIN"),
				Authority: ca, Users: map[string]string{"u": "right"},
				Script: []smtptest.Cue{{At: smtptest.Auth, Times: 3, Reply: "535 5.7.8 bad credentials"}},
			}
			o := newOffice(t, &smtptest.Internet{
				Zone: "smart.test. A 192.0.2.1", Hosts: map[string]*smtptest.Host{"smart.test:587": host},
			})
			table := &smarthost.Table{Router: &mx.Router{Resolver: o.net}}
			if err := table.Set(smarthost.Rules{Default: smart(t, "submission://u:right@smart.test")}); err != nil {
				t.Fatal(err)
			}
			o.agent.Sender.Router, o.agent.Sender.TLSConfig = table, ca.ClientConfig()
			o.start()
			const n = 30
			for i := range n {
				o.submit(message(fmt.Sprintf("u@d%d.test", i)))
			}
			pass(4 * time.Minute)
			if got := len(host.Connections()); got > 2 {
				t.Errorf("%d logins with refused credentials in four minutes", got)
			}
			pass(time.Hour)
			if got := len(o.of(delivery.Delivered)); got != n {
				t.Errorf("%d delivered, want %d", got, n)
			}
			if got := len(o.of(delivery.Deferred)) + len(o.of(delivery.Failed)); got != 0 {
				t.Errorf("%d attempts were charged for a login that was refused", got)
			}
			if p, r := len(o.of(delivery.LoginRefused)), len(o.of(delivery.LoginAccepted)); p != 1 || r != 1 {
				t.Errorf("paused %d times, resumed %d times; want once each", p, r)
			}
			if s := o.agent.Stats(); s.LoginRefused != 0 {
				t.Errorf("%d sites are paused", s.LoginRefused)
			}
		})
	})
}

func TestPoliciesApart(t *testing.T) {
	t.Run("QUE-12 SMTP-43 domains whose policies differ share no transaction", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ca := authority(t)
			host := &smtptest.Host{Name: "mx.test", Extensions: append(full(), "STARTTLS"), Authority: ca}
			o := newOffice(t, &smtptest.Internet{Zone: domains(3, "mx.test."), Hosts: map[string]*smtptest.Host{"mx.test": host}})
			o.agent.Sender.TLSConfig = ca.ClientConfig()
			o.agent.Sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
				if route.Domain == "d1.test" {
					return delivery.TLSPolicy{Level: mx.TLSVerify, Source: "mta-sts", Key: "d1"}, nil
				}
				return delivery.TLSPolicy{}, nil
			})
			o.submit(message("a@d0.test", "b@d1.test", "c@d2.test"))
			o.start()
			pass(time.Minute)
			if got := len(host.Messages()); got != 2 {
				t.Errorf("%d transactions, want one for the domain with a policy and one for the others", got)
			}
			for _, e := range o.of(delivery.Delivered) {
				want := "encrypted"
				if e.Destination == "d1.test" {
					want = "mta-sts"
				}
				if e.TLS.String() != want {
					t.Errorf("%s went %s, want %s", e.Recipient, e.TLS, want)
				}
			}
		})
	})
}
