package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestWaitingBehind(t *testing.T) {
	t.Run("QUE-8 QUE-11 mail that waits for others' attempts is reported late and expires in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{Zone: single})
			_ = o.net.Network().SetServer("192.0.2.1", nil)
			o.start()
			const n = 300
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			pass(3 * time.Hour)
			if got := len(o.of(delivery.Delayed)); got != 0 {
				t.Errorf("%d reports of delay after three hours", got)
			}
			pass(2 * time.Hour)
			// Those that were tried shortly before are told of at their next attempt.
			if got := len(o.of(delivery.Delayed)); got < n-5 || got > n {
				t.Errorf("%d reports of delay after five hours, want one for each of %d messages", got, n)
			}
			pass(5*24*time.Hour - 4*time.Hour)
			if got := len(o.of(delivery.Expired)); got != n {
				t.Errorf("%d expired an hour after five days, want all %d", got, n)
			}
			if got := len(o.of(delivery.Delayed)); got != n {
				t.Errorf("%d reports of delay in all, want %d", got, n)
			}
		})
	})
}
