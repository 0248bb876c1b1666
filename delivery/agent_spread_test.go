package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// equals is zone text for two hosts of the same preference.
const equals = "e.test. MX 10 one.e.test.\ne.test. MX 10 two.e.test.\n" +
	"one.e.test. A 192.0.2.1\ntwo.e.test. A 192.0.2.2"

// TestSpread: equal hosts have equal parts of the mail, kept sessions or not, and
// the slower one does not get in the way of the other.
func TestSpread(t *testing.T) {
	t.Run("MX-16 a kept session does not decide between equals", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			one, two := &smtptest.Host{Extensions: full()}, &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone: equals, Hosts: map[string]*smtptest.Host{"one.e.test": one, "two.e.test": two},
			})
			o.start()
			const n = 400
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
				pass(time.Second)
			}
			// 140 to 260 of 400 leaves a fair draw out once in 10^9 runs.
			if a, b := len(one.Messages()), len(two.Messages()); a+b != n || a < 140 || b < 140 {
				t.Errorf("%d and %d of %d messages, want about half each", a, b, n)
			}
			if got := len(o.visits()); got > n/10 {
				t.Errorf("%d connections for %d messages", got, n)
			}
		})
	})
	t.Run("QUE-13 the slower of two equals does not hold up the other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			slow := &smtptest.Host{
				Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: 30 * time.Second}},
			}
			fast := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone: equals, Hosts: map[string]*smtptest.Host{"one.e.test": slow, "two.e.test": fast},
			})
			o.agent.Settings.Limits.PerSite = 10
			o.start()
			const n = 1000
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			pass(2 * time.Minute)
			if got := len(o.of(delivery.Delivered)); got < n-20 {
				t.Errorf("%d of %d delivered in two minutes", got, n)
			}
			if got := len(slow.Messages()); got > 60 {
				t.Errorf("the slow host has %d messages", got)
			}
		})
	})
}
