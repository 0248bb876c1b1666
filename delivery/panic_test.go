package delivery_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// TestPanickingHooks: a hook that panics costs its delivery an attempt at most,
// and nothing else: neither the program, nor a connection, nor its place among
// those a limit allows.
func TestPanickingHooks(t *testing.T) {
	all := &delivery.Trace{
		Route:     func(string, mx.Route, error) { panic("Route") },
		Connect:   func(string, netip.AddrPort) { panic("Connect") },
		Connected: func(string, netip.AddrPort, error) { panic("Connected") },
		Secured:   func(string, netip.AddrPort, delivery.Protection) { panic("Secured") },
		Line:      func(string, netip.AddrPort, delivery.Line) { panic("Line") },
		Attempt:   func(string, []string, delivery.Attempt) { panic("Attempt") },
	}
	for _, c := range []struct {
		name, to string
		change   func(*delivery.Sender)
		kind     delivery.EventKind // what becomes of the message, at each of ten attempts or once
		events   int
	}{
		{"a trace, and the message is delivered", "u@e.test", func(s *delivery.Sender) { s.Trace = all }, delivery.Delivered, 1},
		{"a trace, and there is no route", "u@nowhere.test", func(s *delivery.Sender) { s.Trace = all }, delivery.Failed, 1},
		{"a trace, and DNS gives no answer", "u@lost.test", func(s *delivery.Sender) { s.Trace = all }, delivery.Deferred, 10},
		{"the dialler", "u@e.test", func(s *delivery.Sender) {
			s.Dial = func(context.Context, string, string) (net.Conn, error) { panic("Dial") }
		}, delivery.Deferred, 10},
		{"the verdict table", "refused@e.test", func(s *delivery.Sender) {
			s.Judge = func(delivery.Stage, int, string) delivery.Verdict { panic("Judge") }
		}, delivery.Deferred, 10},
		{"a policy", "u@e.test", func(s *delivery.Sender) {
			s.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) { panic("Policy") })
		}, delivery.Deferred, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, &smtptest.Internet{
					Zone:  "e.test. MX 10 mx.e.test.\nmx.e.test. A 192.0.2.1",
					Rules: []mxtest.Rule{{Name: "lost.test", Fault: mxtest.ServFail}},
					Hosts: map[string]*smtptest.Host{"mx.e.test": {
						Extensions: full(), Allow: []smtptest.Rule{},
						Script: []smtptest.Cue{{At: smtptest.Rcpt, Address: "refused@e.test", Reply: "550 5.1.1 nobody"}},
					}},
				})
				var panics atomic.Int64
				o.agent.Panic = func(any) { panics.Add(1) }
				o.agent.Settings.Limits.PerSite = 1
				o.agent.Settings.Schedule = delivery.Delays{time.Minute}
				c.change(o.agent.Sender)
				o.start()
				m := message(c.to)
				m.From = "" // nobody to bounce to
				o.submit(m)
				<-time.After(9*time.Minute + 30*time.Second)
				if n := len(o.of(c.kind)); n != c.events {
					t.Errorf("%v %d times, want %d", c.kind, n, c.events)
				}
				if n := o.net.Network().Open(); n > 0 || panics.Load() == 0 {
					t.Errorf("%d connections are left open after %d panics", n, panics.Load())
				}
			})
		})
	}
}
