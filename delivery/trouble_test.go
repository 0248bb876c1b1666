package delivery_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
)

// weather is what is wrong on our side, for a Resolver and a Dial.
type weather struct {
	mx.Resolver
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	dns   atomic.Bool // nobody answers
	errno atomic.Int32
	dials atomic.Int32 // in bad weather
}

func (w *weather) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	if w.dns.Load() {
		time.Sleep(2 * time.Second)
		return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Kind: mx.Timeout}
	}
	return w.Resolver.Resolve(ctx, name, t)
}

func (w *weather) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if e := syscall.Errno(w.errno.Load()); e != 0 {
		w.dials.Add(1)
		return nil, &net.OpError{Op: "dial", Net: network, Err: e}
	}
	return w.dial(ctx, network, address)
}

// TestOwnTrouble: what fails on our side is no host's fault and no message's.
func TestOwnTrouble(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(w *weather)
	}{
		{"no DNS server answers", func(w *weather) { w.dns.Store(true) }},
		{"the network is away", func(w *weather) { w.errno.Store(int32(syscall.ENETUNREACH)) }},
		{"the network is down", func(w *weather) { w.errno.Store(int32(syscall.ENETDOWN)) }},
		{"there are no descriptors", func(w *weather) { w.errno.Store(int32(syscall.EMFILE)) }},
		{"the system has none left", func(w *weather) { w.errno.Store(int32(syscall.ENFILE)) }},
		{"there are no ports", func(w *weather) { w.errno.Store(int32(syscall.EADDRNOTAVAIL)) }},
	} {
		t.Run("QUE-13 "+c.name+": nothing is charged, told once, and all is over with it", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 50
				host := &smtptest.Host{Extensions: full()}
				o := newOffice(t, &smtptest.Internet{Zone: domains(n, "mx.test."), Hosts: map[string]*smtptest.Host{"mx.test": host}})
				w := &weather{Resolver: o.net, dial: o.net.DialContext}
				o.agent.Sender.Resolver, o.agent.Sender.Dial = w, w.DialContext
				c.begin(w)
				o.start()
				for i := range n {
					m := message(fmt.Sprintf("u@d%d.test", i))
					m.Expires = time.Now().Add(30 * time.Minute)
					o.submit(m)
				}
				pass(time.Hour) // beyond their time
				if got := len(o.of(delivery.Deferred)) + len(o.of(delivery.Expired)) + len(o.of(delivery.Failed)); got != 0 {
					t.Errorf("%d recipients were charged", got)
				}
				if got := len(o.of(delivery.Trouble)); got != 1 || o.agent.Stats().Trouble == nil {
					t.Errorf("told %d times, Stats says %v", got, o.agent.Stats().Trouble)
				}
				if got := w.dials.Load(); got > 3600/5+60 {
					t.Errorf("%d connections were tried in an hour", got)
				}
				w.dns.Store(false)
				w.errno.Store(0)
				pass(8 * time.Second)
				if got := len(o.of(delivery.Delivered)); got != n || o.agent.Stats().Trouble != nil {
					t.Errorf("%d delivered 8 s after it was over, want %d; Stats says %v", got, n, o.agent.Stats().Trouble)
				}
			})
		})
	}
	t.Run("DNS-3 one domain whose servers do not answer is no trouble of ours", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{Zone: domains(2, "mx.test."), Hosts: map[string]*smtptest.Host{"mx.test": host}})
			o.agent.Sender.Resolver = oneDead{o.net, "d0.test"}
			o.start()
			o.submit(message("u@d0.test"))
			pass(time.Minute)
			o.submit(message("u@d1.test"))
			pass(time.Second)
			if len(o.of(delivery.Deferred)) != 1 || len(o.of(delivery.Delivered)) != 1 || len(o.of(delivery.Trouble)) != 0 {
				t.Errorf("%+v", o.events)
			}
		})
	})
	t.Run("MX-20 an address family without a route is none either", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{
				Zone:  "$TTL 300\nold.test. A 192.0.2.1\nnew.test. AAAA 2001:db8::1\n",
				Hosts: map[string]*smtptest.Host{"old.test": {Extensions: full()}, "new.test": {Extensions: full()}},
			})
			dial := o.agent.Sender.Dial
			o.agent.Sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address[0] == '[' {
					return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ENETUNREACH}
				}
				return dial(ctx, network, address)
			}
			o.start()
			o.submit(message("u@new.test"))
			o.submit(message("u@old.test"))
			pass(time.Minute)
			if len(o.of(delivery.Deferred)) != 1 || len(o.of(delivery.Delivered)) != 1 || len(o.of(delivery.Trouble)) != 0 {
				t.Errorf("%+v", o.events)
			}
		})
	})
}

// oneDead does not answer for one name.
type oneDead struct {
	mx.Resolver
	name string
}

func (r oneDead) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	if name == r.name || name == r.name+"." {
		return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Kind: mx.Timeout}
	}
	return r.Resolver.Resolve(ctx, name, t)
}
