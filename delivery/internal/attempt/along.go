package attempt

import (
	"context"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Along takes the recipients along a route, and on to its fallback.
func (w *Walk) Along(ctx context.Context, route *mx.Route) {
	w.ledger.open(w.domain, w.job.observer)
	w.ledger.route(route.Kind)
	w.through(ctx, route)
	w.fallBack(ctx, route)
	w.ledger.close()
}

// fallBack takes those recipients to the fallback hosts whom every host of the
// route has failed for now (QUE-14), with the attempt's limits anew. It does not
// where a host turned out to be this one: what loops here would loop by way of
// another.
func (w *Walk) fallBack(ctx context.Context, route *mx.Route) {
	if route.Fallback == nil || w.metSelf || ctx.Err() != nil || !w.ledger.fallBack() {
		return
	}
	w.connections, w.reached = 0, 0
	began := time.Now()
	fallback, err := route.Fallback(ctx)
	w.job.observer.Route(w.domain, fallback, err)
	if err == nil {
		w.through(ctx, &fallback)
		return
	}
	for _, l := range LeftOutOf(err) {
		w.leftOutHost(&l)
	}
	// Whatever is wrong with a fallback host, the mail was deferred without it.
	e := RoutingFailure(err)
	e.Verdict = NotNow
	if firm, ok := strings.CutPrefix(e.Enhanced, "5."); ok {
		e.Enhanced = "4." + firm
	}
	w.ledger.all(Attempt{Err: e, Verdict: NotNow, Began: began, Next: StopHosts})
}
