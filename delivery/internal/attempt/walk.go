package attempt

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
)

// Along takes the recipients along a route, and on to its fallback.
func (w *Walk) Along(ctx context.Context, route *mx.Route) {
	w.ledger.open(w.domain, w.job.observer)
	w.ledger.route(route.Via)
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
	if err == nil {
		fallback.Via = cmp.Or(fallback.Via, mx.ViaFallback)
	}
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

// through takes the recipients through the hosts of a route.
func (w *Walk) through(ctx context.Context, route *mx.Route) {
	w.leftOut(route)
	w.probing = w.allPenalised(route)
	if w.job.Spread != nil {
		w.job.Spread(route.Hosts)
	}
	w.hosts(ctx, route)
}

// allPenalised reports whether every address of the route has failed recently. Then
// they are tried anyway, one caller at a time.
func (w *Walk) allPenalised(route *mx.Route) bool {
	now := time.Now()
	for i := range route.Hosts {
		if w.sessions().Reachable(&route.Hosts[i], now) {
			return false
		}
	}
	return true
}

// hosts goes through the hosts in order of preference. If one turns out to be this
// host, those of equal or worse preference are skipped, as they would be if DNS had
// shown it (RFC 5321 section 5.1; MX-24, MX-27). This does not apply to smart hosts,
// which were chosen one by one, and whose preference is only an order.
func (w *Walk) hosts(ctx context.Context, route *mx.Route) {
	for i := range route.Hosts {
		if w.host(ctx, route, &route.Hosts[i]) == toEnd || w.ledger.settled() {
			return
		}
		if w.metSelf && route.Via == mx.ViaMX && i+1 < len(route.Hosts) {
			w.ledger.end(StopSelf)
			return
		}
	}
	w.ledger.end(StopHosts)
}

// host asks one host. A message that it may have taken goes to no other.
func (w *Walk) host(ctx context.Context, route *mx.Route, host *mx.Host) step {
	next := w.addresses(ctx, route, host)
	if w.ledger.settleLost() {
		return toEnd
	}
	return next
}

// addresses goes through the addresses of one host in the order DNS gave them.
func (w *Walk) addresses(ctx context.Context, route *mx.Route, host *mx.Host) step {
	if !w.admit(ctx, route, host) {
		return toNextHost
	}
	w.ledger.atHost()
	for _, ip := range host.Addrs {
		w.hop = session.Hop{Host: host, Addr: w.sessions().AddrPort(host, ip), Policy: &w.policy, Named: session.Named(route.Via)}
		if next := w.address(ctx, &w.hop); next != toNextAddress {
			return next
		}
	}
	return toNextHost
}

// admit finds the policy for a host, and reports whether the host may be tried. Its frame is
// large, and a goroutine's stack would have to grow for each message if the frame were on it
// during a session.
func (w *Walk) admit(ctx context.Context, route *mx.Route, host *mx.Host) bool {
	var err error
	if w.policy, err = w.policyFor(ctx, route, host); err != nil {
		a := Attempt{Host: host.Name, Began: time.Now(), Next: NextHost, Err: noPolicy(host, err)}
		if refusal, ok := errors.AsType[*session.Refusal](err); ok {
			a.Decision = refusal.Decision
			w.job.observer.Decided(refusal.Decision)
		}
		w.ledger.all(a)
		return false
	}
	w.vouched = vouched(route, &w.policy)
	if w.job.requiresTLS() {
		w.policy.Level = max(w.policy.Level, mx.TLSVerify)
		if !w.vouched {
			e := notVouched(host, w.policy.Unsure)
			w.ledger.all(Attempt{Host: host.Name, Verdict: e.Verdict, Began: time.Now(), Next: NextHost, Err: e})
			return false
		}
	}
	return true
}
