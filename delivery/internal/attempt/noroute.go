package attempt

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
)

// NoRoute settles every recipient with what the router found.
func (w *Walk) NoRoute(ctx context.Context, err error) {
	w.ledger.open(w.domain, w.job.observer)
	e, next := RoutingFailure(err), StopHosts
	if ctx.Err() != nil {
		e.Verdict, next = NotNow, StopCanceled
	}
	w.ledger.route(ViaOf(err))
	for _, l := range LeftOutOf(err) {
		w.leftOutHost(&l)
	}
	w.ledger.all(Attempt{Err: e, Verdict: e.Verdict, Began: time.Now(), Next: next})
	w.ledger.close()
}

// ViaOf returns how next hops were looked for if a router found none.
func ViaOf(err error) mx.Via {
	if me, ok := errors.AsType[*mx.Error](err); ok {
		return cmp.Or(me.Via, mx.ViaMX)
	}
	return mx.ViaNone
}

// RoutingFailure is what a router's error means: a typed finding of package mx as
// it says itself, anything else temporary.
func RoutingFailure(err error) *Failure {
	e := &Failure{Stage: StageDNS, Enhanced: "4.4.3", Err: err}
	var me *mx.Error
	var ce *session.ConfigError
	switch {
	case errors.As(err, &ce):
		e.Enhanced = "4.3.5" // RFC 3463 section 3.4: incorrectly configured
	case errors.As(err, &me):
		e.Enhanced = me.Enhanced
		if me.Kind == mx.NullMX {
			e.Code = me.Code // RFC 7505 section 4.2 wants it used
		}
		if !me.Temporary() {
			e.Verdict = Refused
		}
	}
	return e
}

// LeftOutOf are the hosts that a router's error says it left out.
func LeftOutOf(err error) []mx.LeftOut {
	var me *mx.Error
	if errors.As(err, &me) {
		return me.LeftOut
	}
	return nil
}

// leftOut records the hosts whose addresses could not be looked up: a failure
// for now, which keeps the others' refusals from being final.
func (w *Walk) leftOut(route *mx.Route) {
	for i := range route.LeftOut {
		w.leftOutHost(&route.LeftOut[i])
	}
	w.ledger.unaskedHosts = w.ledger.unaskedHosts || route.Unlisted > 0
}

func (w *Walk) leftOutHost(l *mx.LeftOut) {
	if l.Reason == mx.OverLimit {
		w.ledger.unaskedHosts = true
	}
	if l.Reason != mx.LookupFailed && l.Reason != mx.BadRecord {
		return
	}
	w.ledger.all(Attempt{Host: l.Host.Name, Began: time.Now(), Next: NextHost, Err: &Failure{
		Stage: StageDNS, Host: l.Host.Name, Enhanced: "4.4.3", Err: l.Err,
	}})
}

// noPolicy returns the failure of a host that has no policy to connect under.
func noPolicy(host *mx.Host, err error) *Failure {
	e := &Failure{Stage: StageStartTLS, Host: host.Name, Enhanced: "4.7.5", Err: err}
	var ce *session.ConfigError
	switch {
	case session.IsLogin(err):
		e.Stage, e.Enhanced = StageAuth, "4.3.5"
	case errors.As(err, &ce):
		e.Enhanced = "4.3.5"
	}
	return e
}
