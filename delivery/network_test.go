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
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// silence is a connection of which nothing is heard, in place of an error number.
const silence = -1

// families has connections of an address family fail, each with an error of its own.
type families struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	v4, v6 atomic.Int32 // error numbers; zero is none
}

func (f *families) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	e := f.v4.Load()
	if address[0] == '[' {
		e = f.v6.Load()
	}
	if e == silence {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if e != 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.Errno(e)}
	}
	return f.dial(ctx, network, address)
}

// TestWhatTellsOfTheNetwork: no route for IPv4 is trouble of ours unless IPv6 has carried
// something within the last minute. What was not carried by it says nothing of that.
func TestWhatTellsOfTheNetwork(t *testing.T) {
	const (
		away, refused = int32(syscall.ENETUNREACH), int32(syscall.ECONNREFUSED)
		noFiles       = int32(syscall.EMFILE)
	)
	type world struct {
		*office
		*families
		q *faultyQueue
	}
	// remembered has one address of IPv6 fail so often that it is left alone for two
	// minutes, and waits until nothing has been carried for a minute.
	remembered := func(w *world) {
		w.v6.Store(refused)
		for i, wait := range []time.Duration{16 * time.Second, 31 * time.Second, 61 * time.Second, 61 * time.Second} {
			w.submit(message(fmt.Sprintf("u@s%d.test", i)))
			pass(wait)
		}
	}
	for _, c := range []struct {
		name    string
		before  func(w *world)
		trouble bool
	}{
		{"nothing", func(*world) {}, true},
		{"mail over IPv6", func(w *world) { w.submit(message("u@new.test")) }, false},
		{"mail over IPv6 that is refused", func(w *world) { w.submit(message("refused@new.test")) }, false},
		{"mail over IPv6 more than a minute ago", func(w *world) {
			w.submit(message("u@new.test"))
			pass(time.Minute)
		}, true},
		{"a connection over IPv6 that is refused", func(w *world) {
			w.v6.Store(refused)
			w.submit(message("u@new.test"))
			pass(time.Second)
			w.v6.Store(0)
		}, false},
		{"a host without an address", func(w *world) { w.submit(message("u@nowhere.test")) }, true},
		{"a policy that cannot be fetched", func(w *world) { w.submit(message("u@policy.test")) }, true},
		{"content that cannot be read", func(w *world) {
			w.q.set(func() { w.q.open = func() error { return queue.ErrDamaged } })
			w.submit(message("u@new.test"))
			pass(time.Second)
			w.q.set(func() { w.q.open = nil })
		}, true},
		{"no descriptor for a connection over IPv6", func(w *world) {
			w.v6.Store(noFiles)
			id := w.submit(message("u@new.test"))
			pass(time.Second)
			if err := w.agent.Drop(w.t.Context(), id); err != nil {
				w.t.Error(err)
			}
			w.submit(message("u@old.test"))
			pass(10 * time.Second)
			if w.agent.Stats().Trouble != nil || len(w.of(delivery.Trouble)) == 0 {
				w.t.Error("there was no trouble, or it is not over")
			}
		}, true},
		{"a host that is not asked while another message waits for it", func(w *world) {
			w.v6.Store(refused)
			w.submit(message("u@s0.test"))
			pass(time.Minute)
			w.v6.Store(silence)
			w.submit(message("u@s1.test"))
			pass(time.Second)
			w.submit(message("u@s2.test"))
		}, true},
		{"one that is not asked again, and another that refuses", func(w *world) {
			remembered(w)
			w.v4.Store(refused)
			w.submit(message("u@both.test"))
			pass(time.Second)
			w.v4.Store(0)
		}, true},
	} {
		t.Run("MX-20 after "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zone := "$TTL 3600\nold.test. A 192.0.2.1\naway.test. A 192.0.2.2\nnew.test. AAAA 2001:db8::1\npolicy.test. MX 10 new.test.\nnowhere.test. MX 10 mx.nowhere.test.\n" +
					"mx.nowhere.test. TXT x\nboth.test. MX 10 s4.test.\nboth.test. MX 20 away.test.\n"
				for i := range 5 {
					zone += fmt.Sprintf("s%d.test. AAAA 2001:db8::2\n", i)
				}
				hosts := map[string]*smtptest.Host{}
				for _, name := range []string{"old.test", "away.test", "new.test"} {
					hosts[name] = &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Address: "refused@new.test", Reply: "550 5.1.1 nobody"}}}
				}
				w := &world{office: newOffice(t, &smtptest.Internet{Zone: zone, Hosts: hosts}), families: &families{}, q: &faultyQueue{Queue: new(memory.Queue)}}
				w.queue, w.agent.Queue = w.q, w.q
				w.families.dial = w.agent.Sender.Dial
				w.agent.Sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
					if route.Domain == "policy.test" {
						return delivery.TLSPolicy{}, errStorage
					}
					return delivery.TLSPolicy{}, nil
				})
				w.agent.Sender.Dial = w.DialContext
				w.start()
				c.before(w)
				pass(time.Second)
				before := len(w.of(delivery.Deferred))
				earlier := len(w.of(delivery.Trouble))
				w.v4.Store(away)
				w.v6.Store(away)
				w.submit(message("u@away.test"))
				pass(time.Second)
				if told := len(w.of(delivery.Trouble)) > earlier; told != c.trouble {
					t.Errorf("trouble of ours: %t, want %t", told, c.trouble)
				}
				if charged := len(w.of(delivery.Deferred)) > before; charged == c.trouble {
					t.Errorf("an attempt is charged: %t, want %t", charged, !c.trouble)
				}
			})
		})
	}
}
