package delivery

import (
	"context"
	"net/netip"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

type (
	traceKey struct{}
	guardKey struct{}
)

// WithTrace returns a context under which Senders call the hooks of t, after those of
// the Sender itself.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// guarded returns a context under which hooks are called by a guard, which keeps their
// panics away from the caller.
func guarded(ctx context.Context, guard func(hook func()) bool) context.Context {
	return context.WithValue(ctx, guardKey{}, guard)
}

// tracesOf are the hooks that apply to one call.
func (s *Sender) tracesOf(ctx context.Context) *traces {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	list := [2]*Trace{s.Trace, t}
	if list == [2]*Trace{} {
		return &s.untraced
	}
	ts := &traces{list: list}
	ts.guard, _ = ctx.Value(guardKey{}).(func(hook func()) bool)
	return ts
}

// call calls a hook.
func (ts *traces) call(hook func()) {
	if ts.guard == nil {
		hook()
		return
	}
	ts.guard(hook)
}

// Route tells that a route is known, or is not.
func (ts *traces) Route(domain string, r mx.Route, err error) {
	for _, t := range ts.list {
		if t != nil && t.Route != nil {
			told := r // a captured r would be allocated even if no hook is set
			ts.call(func() { t.Route(domain, told, err) })
		}
	}
}

// Connect tells that an address is dialled.
func (ts *traces) Connect(host string, addr netip.AddrPort) {
	for _, t := range ts.list {
		if t != nil && t.Connect != nil {
			ts.call(func() { t.Connect(host, addr) })
		}
	}
}

// Connected reports the result of connecting.
func (ts *traces) Connected(host string, addr netip.AddrPort, err error) {
	for _, t := range ts.list {
		if t != nil && t.Connected != nil {
			ts.call(func() { t.Connected(host, addr, err) })
		}
	}
}

// Decided tells what a source of policies says.
func (ts *traces) Decided(decision any) {
	d := decisionOf(decision)
	for _, t := range ts.list {
		if t != nil && t.Decided != nil && d != nil && !ts.quiet {
			ts.call(func() { t.Decided(d) })
		}
	}
}

// Secured tells that a session is ready.
func (ts *traces) Secured(host string, addr netip.AddrPort, p session.Protection) {
	for _, t := range ts.list {
		if t != nil && t.Secured != nil {
			ts.call(func() { t.Secured(host, addr, Protection(p)) })
		}
	}
}

// Reused tells that one from before is used again.
func (ts *traces) Reused(host string, addr netip.AddrPort) {
	for _, t := range ts.list {
		if t != nil && t.Reused != nil {
			ts.call(func() { t.Reused(host, addr) })
		}
	}
}

func (ts *traces) line(host string, addr netip.AddrPort, l Line) {
	for _, t := range ts.list {
		if t != nil && t.Line != nil {
			ts.call(func() { t.Line(host, addr, l) })
		}
	}
}

// Attempt tells of a step that ended.
func (ts *traces) Attempt(domain string, recipients []string, step attempt.Attempt) {
	a := new(results).attempt(&step)
	for _, t := range ts.list {
		if t != nil && t.Attempt != nil {
			ts.call(func() { t.Attempt(domain, recipients, a) })
		}
	}
}

// WantsAttempts reports whether there is a hook for attempts.
func (ts *traces) WantsAttempts() bool {
	for _, t := range ts.list {
		if t != nil && t.Attempt != nil {
			return true
		}
	}
	return false
}

// Lines returns the function that receives the lines of a dialogue.
func (ts *traces) Lines(host string, addr netip.AddrPort) func(smtp.Line) {
	if !ts.wantsLines() {
		return nil
	}
	own := *ts // a session that is ended speaks longer than the call lasts
	return func(l smtp.Line) { own.line(host, addr, Line{Sent: l.Sent, Text: l.Text}) }
}

func (ts *traces) wantsLines() bool {
	for _, t := range ts.list {
		if t != nil && t.Line != nil {
			return true
		}
	}
	return false
}
