package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestVouchedForOne: destinations that share their hosts do not share what a
// policy knows of one of them.
func TestVouchedForOne(t *testing.T) {
	ca := authority(t)
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, &smtptest.Internet{
			Zone: "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nmx.test. A 192.0.2.1",
			Hosts: map[string]*smtptest.Host{"mx.test": {
				Name: "mx.test", Authority: ca, Extensions: append(full(), "STARTTLS", "REQUIRETLS"),
			}},
		})
		o.agent.Sender.TLSConfig = ca.ClientConfig()
		o.agent.Sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
			return delivery.TLSPolicy{Level: mx.TLSVerify, Vouched: route.Domain == "a.test"}, nil
		})
		o.start()
		for range 10 { // whichever of the two comes first
			m := message("u@a.test", "u@b.test")
			m.From, m.TLS = "x@nowhere.test", queue.TLSRequired
			o.submit(m)
		}
		<-time.After(time.Minute)
		for kind, to := range map[delivery.EventKind]string{delivery.Delivered: "u@a.test", delivery.Failed: "u@b.test"} {
			n := 0
			for _, e := range o.of(kind) {
				switch {
				case e.Recipient == to:
					n++
				case e.Recipient != "x@nowhere.test":
					t.Errorf("%v: %s", kind, e.Recipient)
				}
			}
			if n != 10 {
				t.Errorf("%s was %v %d times, want 10", to, kind, n)
			}
		}
	})
}
