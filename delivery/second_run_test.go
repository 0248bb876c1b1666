package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestSecondRun(t *testing.T) {
	t.Run("SMTP-42 an agent that runs again keeps its sessions as before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{
				Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": {Extensions: full()}},
			})
			for run := range 2 {
				before := len(o.net.Network().Dials())
				o.start()
				for i := range 10 {
					o.submit(message(fmt.Sprintf("u%d@e.test", i)))
					pass(time.Second)
				}
				if got := len(o.net.Network().Dials()) - before; got != 1 {
					t.Errorf("%d connections for 10 messages in run %d, want one", got, run+1)
				}
				o.stop()
			}
			if got := len(o.of(delivery.Delivered)); got != 20 {
				t.Errorf("%d delivered, want 20", got)
			}
		})
	})
}
