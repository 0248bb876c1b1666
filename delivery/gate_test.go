package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestWaitingForAHost: whoever waits for a connection to a host takes one up as
// soon as another is done with it.
func TestWaitingForAHost(t *testing.T) {
	const shared = "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nb.test. MX 20 other.test.\n" +
		"mx.test. A 192.0.2.1\nother.test. A 192.0.2.2"
	for name, limits := range map[string]delivery.Limits{
		"PerHost": {PerHost: 1}, "PerAddress": {PerAddress: 1}, "Connections": {Connections: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: time.Second}}}
				o := newOffice(t, &smtptest.Internet{Zone: shared, Hosts: map[string]*smtptest.Host{"mx.test": host}})
				o.agent.Settings.Limits = limits
				o.start()
				for range 3 {
					for _, to := range []string{"u@a.test", "u@b.test"} {
						o.submit(message(to))
					}
				}
				<-time.After(7 * time.Second)
				if n := len(o.of(delivery.Delivered)); n != 6 {
					t.Errorf("%d delivered after 7 s, want 6", n)
				}
			})
		})
	}
}
