package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
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

// rerouted is a router whose routes a test changes later.
type rerouted struct {
	delivery.Router
	change atomic.Pointer[func(ctx context.Context, route mx.Route) (mx.Route, error)]
}

func (r *rerouted) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	route, err := r.Router.Route(ctx, from, domain)
	if change := r.change.Load(); change != nil && err == nil {
		return (*change)(ctx, route)
	}
	return route, err
}

func (r *rerouted) now(change func(ctx context.Context, route mx.Route) (mx.Route, error)) {
	r.change.Store(&change)
}

// outage is a router whose DNS servers do not answer for a time.
type outage struct {
	*rerouted
	down atomic.Bool
}

var errNoServer = &mx.ResolveError{Name: "e.test", Kind: mx.Timeout}

func (r *outage) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	if r.down.Load() {
		return mx.Route{}, errNoServer
	}
	return r.rerouted.Route(ctx, from, domain)
}

func (r *outage) Probe(context.Context) error {
	if r.down.Load() {
		return errNoServer
	}
	return nil
}

// waitingForATurn is an agent whose host takes five seconds for a message, one at a time,
// and a message to two domains that waits for it behind another.
func waitingForATurn(t *testing.T, change ...func(o *office)) (*office, *outage, *smtptest.Host) {
	host := slowHost(5 * time.Second)
	o := newOffice(t, &smtptest.Internet{
		Zone:  "first.test. MX 10 mx.test.\na.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nmx.test. A 192.0.2.1\n",
		Hosts: map[string]*smtptest.Host{"mx.test": host},
	})
	router := &outage{rerouted: &rerouted{Router: delivery.ByMX(&mx.Router{Resolver: o.net})}}
	o.agent.Sender.Router, o.agent.Sender.Resolver = router, nil
	o.agent.Settings.Limits.PerSite = 1
	for _, f := range change {
		f(o)
	}
	o.start()
	o.submit(message("u@first.test"))
	pass(time.Second)
	m := message("u@a.test", "u@b.test")
	m.From = ""
	o.submit(m)
	pass(time.Second)
	return o, router, host
}

// TestRoutesChangeBeforeATurn: mail that has waited for its turn goes by the routes that
// there are then: together only if these still treat it alike, and not at all where there
// is none any more.
func TestRoutesChangeBeforeATurn(t *testing.T) {
	incomplete := []mx.LeftOut{{Reason: mx.LookupFailed, Host: mx.Host{Name: "mx2.test"}}}
	for _, c := range []struct {
		name   string
		change func(route *mx.Route) error
		want   int // messages at the host, with the first
		failed int
	}{
		{"they are as before", func(*mx.Route) error { return nil }, 2, 0},
		{"one of them lacks a host", func(route *mx.Route) error {
			if route.Domain == "b.test" {
				route.LeftOut = incomplete
			}
			return nil
		}, 3, 0},
		{"both lack a host", func(route *mx.Route) error { route.LeftOut = incomplete; return nil }, 3, 0},
		{"DNSSEC vouches for one of them", func(route *mx.Route) error { route.Secure = route.Domain == "b.test"; return nil }, 3, 0},
		{"one of them is gone", func(route *mx.Route) error {
			if route.Domain == "b.test" {
				return &mx.Error{Domain: "b.test", Kind: mx.NoSuchDomain, Enhanced: "5.1.2"}
			}
			return nil
		}, 2, 1},
	} {
		t.Run("QUE-12 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, router, host := waitingForATurn(t)
				router.now(func(_ context.Context, route mx.Route) (mx.Route, error) {
					err := c.change(&route)
					return route, err
				})
				pass(time.Minute)
				if got := len(host.Messages()); got != c.want {
					t.Errorf("the host has %d messages, want %d", got, c.want)
				}
				if got := askedAbout(host, ".test"); len(got) != 3-c.failed {
					t.Errorf("the host was asked about %q, want %d", got, 3-c.failed)
				}
				if got := len(o.of(delivery.Delivered)); got != 3-c.failed {
					t.Errorf("%d delivered, want %d", got, 3-c.failed)
				}
				if got := len(o.of(delivery.Failed)); got != c.failed || o.left() != 0 {
					t.Errorf("%d failed and %d are left, want %d and none", got, o.left(), c.failed)
				}
			})
		})
	}
}

// TestMailBehindOthersThatPart: mail that waits behind deliveries that do not share a
// transaction after all is sent after them.
func TestMailBehindOthersThatPart(t *testing.T) {
	t.Run("QUE-12", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, router, _ := waitingForATurn(t)
			router.now(func(_ context.Context, route mx.Route) (mx.Route, error) {
				route.Secure = route.Domain == "b.test"
				return route, nil
			})
			for range 4 {
				o.submit(message("u@first.test"))
			}
			pass(2 * time.Minute)
			if n := len(o.of(delivery.Delivered)); n != 7 || o.left() != 0 {
				t.Errorf("%d are delivered and %d left, want 7 and none", n, o.left())
			}
			if n := o.agent.Stats().Claimed; n != 0 {
				t.Errorf("%d deliveries are claimed", n)
			}
		})
	})
}

// TestSettledBesideTrouble: a delivery whose settlement takes the queue long is not sent again
// meanwhile, nor is one that goes back for being suspended, though others of its message that
// were to be sent right after it wait for trouble of our own to end.
func TestSettledBesideTrouble(t *testing.T) {
	for _, c := range []struct {
		name      string
		suspended bool
		sent      int // to the first of two domains within ten minutes
	}{{"one that was delivered", false, 1}, {"one that is suspended for a moment", true, 1}} {
		t.Run("QUE-12 QUE-13 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failing := 3
				if c.suspended {
					failing = 2
				}
				o, router, host := waitingForATurn(t, func(o *office) {
					q := &faultyQueue{Queue: new(memory.Queue), settle: func([]queue.Settlement) error { pass(2 * time.Minute); return nil }}
					o.queue, o.agent.Queue = q, q
					dial, dials := o.agent.Sender.Dial, 0
					o.agent.Sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
						if dials++; dials == failing {
							return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.EMFILE}
						}
						return dial(ctx, network, address)
					}
					o.agent.Settings.Limits.Messages = 1
				})
				suspend := c.suspended
				router.now(func(_ context.Context, route mx.Route) (mx.Route, error) {
					route.Secure = route.Domain == "b.test"
					if suspend {
						suspend = false
						o.suspend(suspensionOf(queue.OfDestination, "a.test", time.Time{}))
						time.AfterFunc(10*time.Second, func() { o.resume(1, queue.Subject{Kind: queue.OfDestination, Name: "a.test"}) })
					}
					return route, nil
				})
				pass(10 * time.Minute)
				if got := askedAbout(host, "@a.test"); len(got) != c.sent {
					t.Errorf("the host was asked about %q, want %d", got, c.sent)
				}
				if got := askedAbout(host, "@b.test"); len(got) != 1 {
					t.Errorf("the host was asked about %q, want one", got)
				}
				if n := len(o.of(delivery.Trouble)); n != 1 || o.left() != 0 {
					t.Errorf("trouble was told %d times, and %d deliveries are left, want once and none", n, o.left())
				}
			})
		})
	}
}

// TestDNSFailsBeforeATurn: mail whose turn comes while no DNS server answers waits until one
// does, is charged nothing, and goes then.
func TestDNSFailsBeforeATurn(t *testing.T) {
	t.Run("DNS-3 QUE-13", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, router, host := waitingForATurn(t)
			router.down.Store(true)
			pass(time.Minute)
			if n := len(host.Messages()); n != 1 || len(o.of(delivery.Deferred)) != 0 {
				t.Errorf("the host has %d messages while DNS fails, want the first; deferred %+v", n, o.of(delivery.Deferred))
			}
			if n := len(o.of(delivery.Trouble)); n != 1 {
				t.Errorf("trouble is told %d times, want once", n)
			}
			router.down.Store(false)
			pass(time.Minute)
			if n := len(o.of(delivery.Delivered)); n != 3 || o.left() != 0 {
				t.Errorf("%d are delivered and %d left after that, want 3 and none", n, o.left())
			}
			if n := o.agent.Stats().Claimed; n != 0 {
				t.Errorf("%d deliveries are claimed", n)
			}
		})
	})
}

// TestPolicyNotKnownBeforeATurn: a delivery whose policy cannot be found shares no
// transaction with another.
func TestPolicyNotKnownBeforeATurn(t *testing.T) {
	t.Run("QUE-12", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone:  "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nmx.test. A 192.0.2.1\n",
				Hosts: map[string]*smtptest.Host{"mx.test": host},
			})
			o.agent.Sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
				if route.Domain == "b.test" {
					return delivery.TLSPolicy{}, errors.New("the policy cannot be fetched")
				}
				return delivery.TLSPolicy{}, nil
			})
			o.start()
			o.submit(message("u@a.test", "u@b.test"))
			pass(time.Minute)
			if got := o.of(delivery.Delivered); len(got) != 1 || got[0].Destination != "a.test" {
				t.Errorf("delivered %+v, want the one whose policy is known", got)
			}
			if got := o.of(delivery.Deferred); len(got) != 1 || got[0].Destination != "b.test" {
				t.Errorf("deferred %+v, want the other", got)
			}
		})
	})
}

// TestPoliciesNotKnownBeforeATurn: two deliveries whose policies could not be found when
// their turn came do not go under one policy, though both are found a moment later.
func TestPoliciesNotKnownBeforeATurn(t *testing.T) {
	t.Run("QUE-12 SMTP-43", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{
				Zone:  "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nmx.test. A 192.0.2.1\n",
				Hosts: map[string]*smtptest.Host{"mx.test": {Extensions: full()}},
			})
			var asked [2]atomic.Bool
			o.agent.Sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
				b := route.Domain == "b.test"
				if before := asked[map[bool]int{true: 1}[b]].Swap(true); !before {
					return delivery.TLSPolicy{}, errors.New("the policy cannot be fetched")
				}
				if b {
					return delivery.TLSPolicy{Level: mx.TLSVerify, Source: "mta-sts", Key: "b"}, nil
				}
				return delivery.TLSPolicy{}, nil
			})
			o.start()
			o.submit(message("u@a.test", "u@b.test"))
			pass(time.Minute)
			if got := o.of(delivery.Delivered); len(got) != 1 || got[0].Destination != "a.test" {
				t.Errorf("delivered %+v, want the one whose policy asks for nothing", got)
			}
		})
	})
}

// TestMovesBeforeATurn: mail that waits for its turn at a host, and whose domain has moved
// since, is sent within the limits of the new host and not one by one.
func TestMovesBeforeATurn(t *testing.T) {
	t.Run("QUE-11", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			before, after := slowHost(5*time.Second), slowHost(5*time.Second)
			o := newOffice(t, &smtptest.Internet{
				Zone:  "a.test. MX 10 old.test.\nnew.test. A 192.0.2.2\nold.test. A 192.0.2.1\n",
				Hosts: map[string]*smtptest.Host{"old.test": before, "new.test": after},
			})
			router := &rerouted{Router: delivery.ByMX(&mx.Router{Resolver: o.net})}
			to := delivery.ByMX(&mx.Router{Resolver: o.net})
			o.agent.Sender.Router, o.agent.Sender.Resolver = router, nil
			o.agent.Settings.Rules = []delivery.Rule{{Match: delivery.Match{MX: "old.test"}, Connections: 1}}
			o.start()
			const n = 12
			for i := range n {
				o.submit(numbered(i, queue.AtLeastOnce, "u@a.test"))
			}
			pass(4 * time.Second)
			router.now(func(ctx context.Context, route mx.Route) (mx.Route, error) {
				moved, err := to.Route(ctx, "", "new.test")
				moved.Domain = route.Domain
				return moved, err
			})
			pass(31 * time.Second)
			if got, all := len(before.Messages()), len(before.Messages())+len(after.Messages()); got != 1 || all != n {
				t.Errorf("%d messages are at the old host and %d in all, want 1 and %d", got, all, n)
			}
		})
	})
}

// TestSuspendedAsItsTurnComes: mail that is suspended while its route is looked up again,
// right before it would be sent, is not sent, however long the queue takes to store that.
func TestSuspendedAsItsTurnComes(t *testing.T) {
	for _, takes := range []time.Duration{0, 8 * time.Second} {
		t.Run(fmt.Sprintf("the queue takes %v", takes), func(t *testing.T) { suspendedAsItsTurnComes(t, takes) })
	}
}

func suspendedAsItsTurnComes(t *testing.T, takes time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		o, router, host := waitingForATurn(t, func(o *office) {
			q := &faultyQueue{Queue: new(memory.Queue), settle: func([]queue.Settlement) error { time.Sleep(takes); return nil }}
			o.queue, o.agent.Queue = q, q
		})
		looking, answer := make(chan struct{}, 9), make(chan struct{})
		router.now(func(ctx context.Context, route mx.Route) (mx.Route, error) {
			looking <- struct{}{}
			select {
			case <-answer:
			case <-ctx.Done():
			}
			return route, ctx.Err()
		})
		<-looking
		o.suspend(suspensionOf(queue.OfDestination, "a.test", time.Time{}))
		close(answer)
		pass(time.Minute)
		for _, e := range o.of(delivery.Delivered) {
			if e.Destination == "a.test" {
				t.Error("it was delivered although it is suspended")
			}
		}
		if n, asked := len(host.Messages()), askedAbout(host, "@a.test"); n != 2 || len(asked) != 0 {
			t.Errorf("the host has %d messages and was asked about %q, want the first and that for the other domain", n, asked)
		}
		if n := o.agent.Stats().Claimed; n != 0 {
			t.Errorf("%d deliveries are claimed", n)
		}
		o.resume(1, queue.Subject{Kind: queue.OfDestination, Name: "a.test"})
		pass(time.Minute)
		if n := o.left(); n != 0 {
			t.Errorf("%d deliveries are left after that", n)
		}
	})
}

// unreadable is content that cannot be read.
type unreadable struct{ queue.Content }

func (unreadable) Open() (io.ReadCloser, error) { return nil, errStorage }

// openedFrom is a queue whose messages' content the test changes.
type openedFrom struct {
	*memory.Queue
	open func(ctx context.Context, c queue.Content) (queue.Content, error)
}

func (q *openedFrom) Open(ctx context.Context, id string) (queue.Content, error) {
	c, err := q.Queue.Open(ctx, id)
	if err == nil && q.open != nil {
		c, err = q.open(ctx, c)
	}
	return c, err
}

// TestContentThatIsNotThere: a message whose content is damaged, gone, or cannot be read is
// charged an attempt that asks no host, and is no trouble for other mail.
func TestContentThatIsNotThere(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(context.Context, queue.Content) (queue.Content, error)
	}{
		{"damaged", func(context.Context, queue.Content) (queue.Content, error) { return nil, queue.ErrDamaged }},
		{"gone", func(context.Context, queue.Content) (queue.Content, error) { return nil, queue.ErrNotFound }},
		{"not to be read", func(_ context.Context, c queue.Content) (queue.Content, error) { return unreadable{c}, nil }},
	} {
		t.Run("QUE-3 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full()}
				o := newOffice(t, toHost(host))
				o.agent.Panic = func(v any) { t.Errorf("a panic: %v", v) }
				q := &openedFrom{Queue: new(memory.Queue), open: c.open}
				o.queue, o.agent.Queue = q, q
				if _, err := q.Put(t.Context(), time.Now(), message("u@e.test")); err != nil { // not by the agent, which has looked at it
					t.Fatal(err)
				}
				o.start()
				pass(time.Minute)
				if got := o.of(delivery.Deferred); len(got) != 1 || got[0].Attempt != 1 {
					t.Errorf("deferred %+v, want one attempt", got)
				}
				if n := len(o.of(delivery.Trouble)); n != 0 || len(host.Connections()) != 0 {
					t.Errorf("%d troubles, %d connections, want none", n, len(host.Connections()))
				}
			})
		})
	}
}

// TestCutOffAtTheQueue: an attempt that is cut off while the queue does not answer goes back
// as it was, to be claimed at once, and that is no trouble.
func TestCutOffAtTheQueue(t *testing.T) {
	for _, at := range []string{"open", "mark"} {
		t.Run("QUE-10 at "+at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Allow: smtptest.Rules()}))
				var q queue.Queue
				if at == "open" {
					q = &openedFrom{Queue: new(memory.Queue), open: func(ctx context.Context, _ queue.Content) (queue.Content, error) {
						<-ctx.Done()
						return nil, fmt.Errorf("open: %w", ctx.Err())
					}}
				} else {
					q = &stalledMark{Queue: new(memory.Queue)}
				}
				o.queue, o.agent.Queue = q, q
				o.agent.Drain = time.Second
				if _, err := q.Put(t.Context(), time.Now(), numbered(1, queue.AtMostOnce, "u@e.test")); err != nil {
					t.Fatal(err)
				}
				o.start()
				pass(time.Second)
				o.stop()
				if n := len(o.of(delivery.Trouble)) + len(o.of(delivery.Deferred)); n != 0 {
					t.Errorf("events %+v, want none", o.events)
				}
				again, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{Max: 9, Lease: time.Minute})
				if err != nil || len(again.Deliveries) != 1 || again.Deliveries[0].States[0].Attempts != 0 {
					t.Errorf("claimed after that: %+v, %v, want the one without an attempt", again.Deliveries, err)
				}
			})
		})
	}
}

// TestCutOffWithoutDescriptors: an attempt that is cut off, and that ends for want of
// descriptors, tells nobody of trouble, and goes back as it was, also where it is cut off after
// that.
func TestCutOffWithoutDescriptors(t *testing.T) {
	noDescriptors := func(network string) error { return &net.OpError{Op: "dial", Net: network, Err: syscall.EMFILE} }
	for _, c := range []struct {
		name   string
		change func(s *delivery.Sender)
	}{
		{"before", func(s *delivery.Sender) {
			s.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, noDescriptors(network)
			}
		}},
		{"after", func(s *delivery.Sender) {
			s.Dial = func(_ context.Context, network, _ string) (net.Conn, error) { return nil, noDescriptors(network) }
			s.Trace = &delivery.Trace{Connected: func(string, netip.AddrPort, error) { pass(5 * time.Second) }}
		}},
	} {
		t.Run("QUE-10 QUE-13 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
				c.change(o.agent.Sender)
				o.agent.Drain = time.Second
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Second)
				o.stop()
				if n := len(o.of(delivery.Trouble)) + len(o.of(delivery.Deferred)); n != 0 {
					t.Errorf("events %+v, want neither trouble nor a deferral", o.events)
				}
				again, err := o.queue.Claim(t.Context(), time.Now(), queue.ClaimOptions{Max: 9, Lease: time.Minute})
				if err != nil || len(again.Deliveries) != 1 || again.Deliveries[0].States[0].Attempts != 0 {
					t.Errorf("claimed after that: %+v, %v, want the one without an attempt", again.Deliveries, err)
				}
			})
		})
	}
}

// stalledMark is a queue whose Mark does not return before it must.
type stalledMark struct{ *memory.Queue }

func (q *stalledMark) Mark(ctx context.Context, _ []queue.Lease) error {
	<-ctx.Done()
	return fmt.Errorf("mark: %w", ctx.Err())
}
