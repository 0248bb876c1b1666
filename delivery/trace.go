package delivery

import (
	"context"
	"net/netip"

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

type traceKey struct{}

// WithTrace returns a context under which Senders call t's hooks, after those
// of the Sender itself.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// traces are the hooks that apply to one call.
type traces [2]*Trace

func (s *Sender) tracesOf(ctx context.Context) traces {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return traces{s.Trace, t}
}

func (ts traces) route(domain string, r mx.Route, err error) {
	for _, t := range ts {
		if t != nil && t.Route != nil {
			t.Route(domain, r, err)
		}
	}
}

func (ts traces) connect(host string, addr netip.AddrPort) {
	for _, t := range ts {
		if t != nil && t.Connect != nil {
			t.Connect(host, addr)
		}
	}
}

func (ts traces) connected(host string, addr netip.AddrPort, err error) {
	for _, t := range ts {
		if t != nil && t.Connected != nil {
			t.Connected(host, addr, err)
		}
	}
}

func (ts traces) secured(host string, addr netip.AddrPort, p Protection) {
	for _, t := range ts {
		if t != nil && t.Secured != nil {
			t.Secured(host, addr, p)
		}
	}
}

func (ts traces) reused(host string, addr netip.AddrPort) {
	for _, t := range ts {
		if t != nil && t.Reused != nil {
			t.Reused(host, addr)
		}
	}
}

func (ts traces) line(host string, addr netip.AddrPort, l Line) {
	for _, t := range ts {
		if t != nil && t.Line != nil {
			t.Line(host, addr, l)
		}
	}
}

func (ts traces) attempt(domain string, recipients []string, a Attempt) {
	for _, t := range ts {
		if t != nil && t.Attempt != nil {
			t.Attempt(domain, recipients, a)
		}
	}
}

func (ts traces) wantsAttempts() bool {
	for _, t := range ts {
		if t != nil && t.Attempt != nil {
			return true
		}
	}
	return false
}

func (ts traces) wantsLines() bool {
	for _, t := range ts {
		if t != nil && t.Line != nil {
			return true
		}
	}
	return false
}
