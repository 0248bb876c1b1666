package delivery_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
)

// moving is a router that sends everything where another domain's mail goes,
// once it is told of that.
type moving struct {
	delivery.Router
	to atomic.Pointer[string]
}

func (m *moving) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	if to := m.to.Load(); to != nil {
		domain = *to
	}
	return m.Router.Route(ctx, from, domain)
}

// TestMove: mail that waits for a host is not forgotten when the domain moves to
// another.
func TestMove(t *testing.T) {
	t.Run("QUE-11 a backlog follows its domain to another host", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			slow := &smtptest.Host{
				Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: 3 * time.Second}},
			}
			net, hosts := many(2)
			net.Hosts["mx.d0.test"] = slow
			o := newOffice(t, net)
			router := &moving{Router: delivery.ByMX(&mx.Router{Resolver: net})}
			o.agent.Sender.Router = router
			o.agent.Settings.Limits.PerSite = 1
			const n = 400
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@d0.test", i)))
			}
			o.start()
			pass(10 * time.Second)
			to := "d1.test"
			router.to.Store(&to)
			pass(30 * time.Second)
			if got := len(slow.Messages()) + len(hosts[1].Messages()); got != n {
				t.Errorf("%d of %d messages arrived within 30 s after the move (%d at the old host)", got, n, len(slow.Messages()))
			}
		})
	})
}
