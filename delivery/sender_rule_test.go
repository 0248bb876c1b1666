package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestOtherSendersRoute: mail that a table sends elsewhere because of who sends
// it does not wait for the hosts of others' mail to the same domain.
func TestOtherSendersRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, &smtptest.Internet{
			Zone: "e.test. MX 10 mx.e.test.\nmx.e.test. A 192.0.2.1\nsmart.test. A 192.0.2.2",
			Hosts: map[string]*smtptest.Host{
				"mx.e.test": {Extensions: full()}, "smart.test": {Extensions: full()},
			},
		})
		table := &smarthost.Table{Router: &mx.Router{Resolver: o.net}}
		err := table.Set(smarthost.Rules{Special: []smarthost.Rule{
			{From: "vip@from.test", Hosts: []smarthost.Host{{Name: "smart.test"}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		o.agent.Sender.Router = table
		if err := o.net.Cut("mx.e.test"); err != nil {
			t.Fatal(err)
		}
		o.start()
		for range 3 { // the second and third are kept back for the first
			o.submit(message("u@e.test"))
		}
		<-time.After(time.Minute)
		vip := message("u@e.test")
		vip.From = "vip@from.test"
		o.submit(vip)
		<-time.After(time.Second)
		if n := len(o.of(delivery.Delivered)); n != 1 {
			t.Errorf("%d delivered by the smart host after a second, want 1", n)
		}
	})
}
