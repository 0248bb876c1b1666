package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
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

// servFail answers SERVFAIL for every name, or for all but the root.
type servFail struct {
	mx.Resolver
	root bool // which works
	mu   sync.Mutex
	over bool
}

func (r *servFail) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	r.mu.Lock()
	over := r.over
	r.mu.Unlock()
	switch root := strings.Trim(name, ".") == ""; {
	case root && (r.root || over):
		return mx.Answer{}, nil
	case over:
		return r.Resolver.Resolve(ctx, name, t)
	default:
		return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Kind: mx.ServFail}
	}
}

// TestServFailForAll: SERVFAIL for every domain is our resolver's trouble if the root
// cannot be asked about either, else the domains'.
func TestServFailForAll(t *testing.T) {
	for _, root := range []bool{false, true} {
		t.Run(fmt.Sprintf("DNS-3 the root works: %t", root), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 20
				host := &smtptest.Host{Extensions: full()}
				o := newOffice(t, &smtptest.Internet{Zone: domains(n, "mx.test."), Hosts: map[string]*smtptest.Host{"mx.test": host}})
				dns := &servFail{Resolver: o.net, root: root}
				o.agent.Sender.Resolver = dns
				o.start()
				for i := range n {
					o.submit(message(fmt.Sprintf("u@d%d.test", i)))
				}
				pass(4 * time.Minute)
				want := 0
				if root {
					want = n
				}
				if got := len(o.of(delivery.Deferred)); got != want {
					t.Errorf("%d attempts were charged, want %d", got, want)
				}
				if told := len(o.of(delivery.Trouble)); told != 1-min(want, 1) {
					t.Errorf("told %d times", told)
				}
				dns.mu.Lock()
				dns.over = true
				dns.mu.Unlock()
				pass(6 * time.Second)
				if got := len(o.of(delivery.Delivered)); got != n-want {
					t.Errorf("%d were delivered within 6 s of its end, want %d", got, n-want)
				}
			})
		})
	}
}

// TestProbes: while something of ours fails nothing begins but a probe, after a second,
// then after twice as long up to five, and the first that works ends it.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		host := &smtptest.Host{Extensions: full()}
		o := newOffice(t, &smtptest.Internet{Zone: domains(n, "mx.test."), Hosts: map[string]*smtptest.Host{"mx.test": host}})
		var mu sync.Mutex
		var dials []time.Duration
		over := false
		dial := o.net.DialContext
		o.agent.Sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if over {
				return dial(ctx, network, address)
			}
			dials = append(dials, time.Since(o.began))
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.EMFILE}
		}
		o.start()
		for i := range n {
			o.submit(message(fmt.Sprintf("u@d%d.test", i)))
		}
		pass(time.Minute)
		mu.Lock()
		at := -1
		for i := 1; i < len(dials); i++ {
			if dials[i] > dials[0]+500*time.Millisecond {
				at = i
				break
			}
		}
		if at < 0 {
			t.Fatalf("nothing was tried again: %v", dials)
		}
		if at > 20 {
			t.Errorf("%d connections were tried before all paused", at)
		}
		last := dials[0]
		for i, seconds := range []int{1, 2, 4, 5, 5, 5, 5, 5} {
			want := time.Duration(seconds) * time.Second
			gap := dials[at+i] - last
			if gap < want-100*time.Millisecond || gap > want+100*time.Millisecond {
				t.Errorf("probe %d came after %v, want %v", i, gap, want)
			}
			last = dials[at+i]
		}
		over = true
		mu.Unlock()
		pass(6 * time.Second)
		if got := len(o.of(delivery.Delivered)); got != n {
			t.Errorf("%d of %d were delivered with the first probe that worked", got, n)
		}
	})
}

// TestQueueInTrouble: a queue that fails for longer than its mail lives costs no message an attempt, is told
// once, and all goes on when it works.
func TestQueueInTrouble(t *testing.T) {
	noDisk := errors.New("input/output error")
	for _, c := range []struct {
		name string
		fail func(q *faultyQueue, err error)
		sent int // meanwhile, at most
	}{
		{"it hands nothing out", func(q *faultyQueue, err error) { q.claim = func() error { return err } }, 0},
		{"it hands out no content", func(q *faultyQueue, err error) { q.open = func() error { return err } }, 0},
		{"it stores nothing", func(q *faultyQueue, err error) {
			q.settle = func([]queue.Settlement) error { return err }
		}, 30},
	} {
		t.Run("QUE-13 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 30
				host := &smtptest.Host{Extensions: full()}
				o := newOffice(t, toHost(host))
				q := &faultyQueue{Queue: new(memory.Queue)}
				o.queue, o.agent.Queue = q, q
				for i := range n {
					m := numbered(i, queue.AtLeastOnce, "u@e.test")
					m.Expires = o.began.Add(30 * time.Minute)
					o.submit(m)
				}
				c.fail(q, noDisk)
				o.start()
				pass(40 * time.Minute)
				if got := len(host.Messages()); got > c.sent {
					t.Errorf("%d messages were sent meanwhile, want %d at most", got, c.sent)
				}
				if got := o.of(delivery.Trouble); len(got) != 1 || !errors.Is(got[0].Err, noDisk) || !errors.Is(o.agent.Stats().Trouble, noDisk) {
					t.Errorf("told: %+v", got)
				}
				q.set(func() { q.claim, q.open, q.settle = nil, nil, nil })
				pass(10 * time.Second)
				got, twice := contents(host)
				if got != n || twice > 0 || o.left() != 0 {
					t.Errorf("%d messages arrived, %d of them twice, and %d are left", got, twice, o.left())
				}
				for _, kind := range []delivery.EventKind{delivery.Deferred, delivery.Expired, delivery.Failed, delivery.UnknownOutcome} {
					if list := o.of(kind); len(list) > 0 {
						t.Errorf("%d %v: %v", len(list), kind, list[0].Err)
					}
				}
				if o.agent.Stats().Trouble != nil {
					t.Errorf("the trouble is not over: %v", o.agent.Stats().Trouble)
				}
			})
		})
	}
}

// TestOneFamilyWithoutRoute: an address family without a route is no trouble of ours
// while the other carries mail, whichever it is.
func TestOneFamilyWithoutRoute(t *testing.T) {
	for _, v6 := range []bool{true, false} {
		t.Run(fmt.Sprintf("MX-20 IPv6 without: %t", v6), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, &smtptest.Internet{
					Zone:  "$TTL 300\nold.test. A 192.0.2.1\nnew.test. AAAA 2001:db8::1\n",
					Hosts: map[string]*smtptest.Host{"old.test": {Extensions: full()}, "new.test": {Extensions: full()}},
				})
				dial := o.agent.Sender.Dial
				o.agent.Sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if v6 == (address[0] == '[') {
						return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ENETUNREACH}
					}
					return dial(ctx, network, address)
				}
				works, fails := "u@old.test", "u@new.test"
				if !v6 {
					works, fails = fails, works
				}
				o.start()
				o.submit(message(works))
				pass(time.Second)
				o.submit(message(fails))
				o.submit(message(works))
				pass(time.Minute)
				if len(o.of(delivery.Deferred)) != 1 || len(o.of(delivery.Delivered)) != 2 || len(o.of(delivery.Trouble)) != 0 {
					t.Errorf("%+v", o.events)
				}
			})
		})
	}
}
