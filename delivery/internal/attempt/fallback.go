package attempt

import (
	"context"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
)

// tell passes a failure on to whoever wants to know.
func (w *Walk) tell(h *session.Hop, e *Failure) {
	if e.Stage == StageConnect && session.Ours(e.Err) {
		return
	}
	if told := w.job.config.Unreachable; told != nil {
		told(h.Host)
	}
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

// fallBack prepares the ledger for the fallback hosts, and reports whether anybody
// is to go there: the recipients whose outcome so far is "not now". A host's own
// refusal, where no other host said anything else, stands. Nobody goes after an
// unknown outcome.
func (l *ledger) fallBack() bool {
	if l.why != StopHosts && l.why != StopLimit {
		return false
	}
	going := 0
	for i := range l.rcpts {
		r := &l.rcpts[i]
		switch {
		case r.settled:
		case r.judged && r.decisive != NotNow:
			r.settled = true
			l.left--
		default:
			going++
			r.result.Route, r.result.Routed = mx.ViaFallback, true
			if n := len(r.result.Attempts); r.apart && n > 0 {
				r.result.Attempts[n-1].Next = NextFallback
			}
		}
	}
	if n := len(l.common); n > 0 && going > 0 {
		l.common[n-1].Next = NextFallback
	}
	return going > 0
}
