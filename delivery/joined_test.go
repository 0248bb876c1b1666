package delivery_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// TestJoinedApart: mail of two domains goes together only if it would be judged alike
// alone.
func TestJoinedApart(t *testing.T) {
	const zone = `
$TTL 300
a.test.  MX 10 x.test.
a.test.  MX 20 y.test.
b.test.  MX 10 x.test.
x.test.  A 192.0.2.1
`
	for _, to := range [][]string{{"a@a.test", "b@b.test"}, {"b@b.test", "a@a.test"}} {
		t.Run(fmt.Sprintf("MX-11 a host that cannot be looked up keeps its own domain's mail from failing, %s first", to[0]), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "554 no", Then: smtptest.Close}}}
				o := newOffice(t, &smtptest.Internet{
					Zone: zone, Hosts: map[string]*smtptest.Host{"x.test": x},
					Rules: []mxtest.Rule{{Name: "y.test", Fault: mxtest.ServFail}},
				})
				o.agent.Settings.Warn = -1
				o.start()
				m := message(to...)
				m.From = ""
				o.submit(m)
				pass(time.Hour)
				failed := o.of(delivery.Failed)
				if len(failed) != 1 || failed[0].Destination != "b.test" || o.left() != 1 {
					t.Errorf("failed %+v", failed)
				}
				for _, e := range o.of(delivery.Deferred) {
					if e.Destination != "a.test" {
						t.Errorf("deferred %+v", e)
					}
				}
			})
		})
	}
	t.Run("QUE-14 a fallback gets its own domain's mail only", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			x := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "421 no", Then: smtptest.Close}}}
			ofA, ofB := &smtptest.Host{Extensions: full()}, &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone:  "a.test. MX 10 x.test.\nb.test. MX 10 x.test.\nx.test. A 192.0.2.1\nfa.test. A 192.0.2.2\nfb.test. A 192.0.2.3\n",
				Hosts: map[string]*smtptest.Host{"x.test": x, "fa.test": ofA, "fb.test": ofB},
			})
			o.agent.Sender.Router, o.agent.Sender.Resolver = eachFallback{&mx.Router{Resolver: o.net}}, nil
			o.start()
			o.submit(message("a@a.test", "b@b.test"))
			pass(time.Minute)
			for name, h := range map[string]*smtptest.Host{"a@a.test": ofA, "b@b.test": ofB} {
				if list := h.Messages(); len(list) != 1 || fmt.Sprint(list[0].To()) != "["+name+"]" {
					t.Errorf("the fallback for %s has %v", name, list)
				}
			}
		})
	})
}

// TestOneNameManyHosts: a Router may know several hosts by one name. Mail goes to those
// of its own route: together only where these are the same, and over no kept session
// with another.
func TestOneNameManyHosts(t *testing.T) {
	addrs := map[string][]netip.Addr{
		"a.test": {netip.MustParseAddr("192.0.2.1")},
		"b.test": {netip.MustParseAddr("192.0.2.2")},
		"c.test": {netip.MustParseAddr("192.0.2.1")},
	}
	synctest.Test(t, func(t *testing.T) {
		one, two := &smtptest.Host{Extensions: full()}, &smtptest.Host{Extensions: full()}
		o := newOffice(t, &smtptest.Internet{
			Zone:  "one.test. A 192.0.2.1\ntwo.test. A 192.0.2.2\n",
			Hosts: map[string]*smtptest.Host{"one.test": one, "two.test": two},
		})
		o.agent.Sender.Router, o.agent.Sender.Resolver = oneName(addrs), nil
		o.start()
		for range 2 {
			o.submit(message("u@a.test", "u@b.test", "u@c.test"))
			pass(time.Second)
		}
		for h, want := range map[*smtptest.Host]string{one: "[u@a.test u@c.test]", two: "[u@b.test]"} {
			list := h.Messages()
			if len(list) != 2 {
				t.Errorf("%d messages where two should be, to %s", len(list), want)
			}
			for _, m := range list {
				to := m.To()
				slices.Sort(to)
				if fmt.Sprint(to) != want {
					t.Errorf("a message to %v where %s should be", to, want)
				}
			}
		}
	})
}

// oneName is a Router that gives every domain addresses of its own, under one name.
type oneName map[string][]netip.Addr

func (r oneName) Route(_ context.Context, _, domain string) (mx.Route, error) {
	return mx.Route{Domain: domain, Via: mx.ViaMX, Hosts: []mx.Host{{Name: "mail.test", Target: "mail.test", Addrs: r[domain]}}}, nil
}

// eachFallback is a Router with a fallback for each domain.
type eachFallback struct{ router *mx.Router }

func (r eachFallback) Route(ctx context.Context, _, domain string) (mx.Route, error) {
	route, err := r.router.Route(ctx, domain)
	route.Fallback = func(ctx context.Context) (mx.Route, error) { return r.router.Route(ctx, "f"+domain) }
	return route, err
}
