package delivery

import (
	"context"
	"net/netip"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// Trace is a set of hooks into what a Sender does, in the manner of
// net/http/httptrace. Any may be nil. They are called in order for one
// destination, concurrently for several, and hold the delivery up for as long
// as they run. None sees a secret.
type Trace struct {
	// Route is called when the route of a destination is known, or is not.
	Route func(domain string, route mx.Route, err error)
	// Connect is called before an address is dialled.
	Connect func(host string, addr netip.AddrPort)
	// Connected is called when dialling ended.
	Connected func(host string, addr netip.AddrPort, err error)
	// Secured is called when a session is ready for mail, with what its TLS is
	// worth.
	Secured func(host string, addr netip.AddrPort, p Protection)
	// Reused is called when a kept session is taken up again.
	Reused func(host string, addr netip.AddrPort)
	// Line is called for each line of the dialogue; content is summed up in
	// one line, secrets are left out, control characters are escaped.
	Line func(host string, addr netip.AddrPort, l Line)
	// Attempt is called for each step of the walk that ended, with the
	// recipients it was about.
	Attempt func(domain string, recipients []string, a Attempt)
}

// Line is one line of an SMTP dialogue.
type Line struct {
	Sent bool // by us; else received
	Text string
}

type (
	traceKey struct{}
	guardKey struct{}
)

// WithTrace returns a context under which Senders call t's hooks, after those
// of the Sender itself.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// guarded is a context under which hooks are called by a guard, which keeps
// what they panic with from whoever calls them.
func guarded(ctx context.Context, guard func(hook func()) bool) context.Context {
	return context.WithValue(ctx, guardKey{}, guard)
}

// traces are the hooks that apply to one call.
type traces struct {
	list  [2]*Trace
	guard func(hook func()) bool // nil calls them as they are
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
			told := r // a captured r would be allocated even where no hook is set
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

// Connected tells what came of it.
func (ts *traces) Connected(host string, addr netip.AddrPort, err error) {
	for _, t := range ts.list {
		if t != nil && t.Connected != nil {
			ts.call(func() { t.Connected(host, addr, err) })
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

// WantsAttempts reports whether a hook is to be told of them.
func (ts *traces) WantsAttempts() bool {
	for _, t := range ts.list {
		if t != nil && t.Attempt != nil {
			return true
		}
	}
	return false
}

// Lines is what the lines of a dialogue are told to.
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
