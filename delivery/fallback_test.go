package delivery_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// fallbackZone is e.test with two MX hosts, and a host to fall back to.
const fallbackZone = `
$TTL 300
$ORIGIN e.test.
@    MX 10 mx1
@    MX 20 mx2
mx1  A  192.0.2.1
mx2  A  192.0.2.2
$ORIGIN relay.test.
last A  192.0.2.3
`

// byTable makes the rig's sender go by a table of smart hosts.
func byTable(t *testing.T, r *rig, rules smarthost.Rules) *smarthost.Table {
	t.Helper()
	table := &smarthost.Table{Router: &mx.Router{Resolver: r.dns, Self: []string{"from.test"}}}
	if err := table.Set(rules); err != nil {
		t.Fatal(err)
	}
	r.sender.Router, r.sender.Self = table, []string{"from.test"}
	return table
}

// smart are hosts by their notation.
func smart(t *testing.T, notations ...string) []smarthost.Host {
	t.Helper()
	var hosts []smarthost.Host
	for _, n := range notations {
		h, err := smarthost.Parse(n)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// TestFallback is who goes to the fallback hosts.
func TestFallback(t *testing.T) {
	at := func(stage smtptest.Stage, reply string) *smtptest.Host {
		return &smtptest.Host{Extensions: []string{"PIPELINING"}, Script: []smtptest.Cue{{At: stage, Reply: reply}}}
	}
	lost := &smtptest.Host{Extensions: []string{"PIPELINING"}, Script: []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}}}
	self := func() *smtptest.Host { return &smtptest.Host{Name: "from.test"} }
	for _, c := range []struct {
		name   string
		hosts  []smtptest.Server // mx1, mx2
		rules  []mxtest.Rule
		domain string
		want   queue.Outcome
		falls  bool
	}{
		{"QUE-14 every MX host is down", nil, nil, "e.test", queue.Delivered, true},
		{"QUE-14 every MX host says not now", []smtptest.Server{at(smtptest.Rcpt, "450 4.2.0 later"), at(smtptest.Banner, "421 busy")}, nil, "e.test", queue.Delivered, true},
		{"QUE-14 the MX records have no answer", nil, []mxtest.Rule{{Name: "e.test", Type: mx.TypeMX, Fault: mxtest.ServFail}}, "e.test", queue.Delivered, true},
		{"QUE-14 the MX hosts have no answer", nil, []mxtest.Rule{{Name: "mx1.e.test", Fault: mxtest.ServFail}, {Name: "mx2.e.test", Fault: mxtest.ServFail}}, "e.test", queue.Delivered, true},
		{"a host takes it", []smtptest.Server{at(smtptest.Rcpt, "450 later"), script()}, nil, "e.test", queue.Delivered, false},
		{"QUE-14 never after a refusal for good", []smtptest.Server{at(smtptest.Rcpt, "550 5.1.1 who"), script()}, nil, "e.test", queue.Failed, false},
		{"QUE-14 never where every host refuses", []smtptest.Server{at(smtptest.Banner, "554 no"), at(smtptest.Banner, "521 no")}, nil, "e.test", queue.Failed, false},
		{"QUE-14 one host refuses, the other is down", []smtptest.Server{at(smtptest.Banner, "554 no")}, nil, "e.test", queue.Delivered, true},
		{"QUE-14 never after an unknown outcome", []smtptest.Server{lost, script()}, nil, "e.test", queue.Unknown, false},
		{"QUE-14, QUE-19 never where a host turns out to be this one", []smtptest.Server{self()}, nil, "e.test", queue.Deferred, false},
		{"QUE-14, QUE-19 never where the last host turns out to be this one", []smtptest.Server{at(smtptest.Banner, "421 busy"), self()}, nil, "e.test", queue.Deferred, false},
		{"QUE-14 not for a domain that does not exist", nil, nil, "gone.test", queue.Failed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			last := script()
			bubble(t, fallbackZone, map[string]smtptest.Server{"192.0.2.3": last}, func(t *testing.T, r *rig) {
				for i, h := range c.hosts {
					r.net.Servers[[]string{"192.0.2.1", "192.0.2.2"}[i]] = h
				}
				for _, rule := range c.rules {
					if err := r.dns.Set(rule); err != nil {
						t.Fatal(err)
					}
				}
				byTable(t, r, smarthost.Rules{Fallback: smart(t, "[last.relay.test]")})
				report := r.send(t, message("u@"+c.domain))
				rr := &report.Recipients[0]
				if rr.Outcome != c.want || (len(last.Connections()) > 0) != c.falls || (rr.Via == mx.ViaFallback) != c.falls {
					t.Errorf("%v by %v after %v; want %v, fallback %t", rr.Outcome, rr.Via, r.dialled(), c.want, c.falls)
				}
				if c.falls != slices.ContainsFunc(rr.Attempts, func(a delivery.Attempt) bool { return a.Next == delivery.NextFallback }) {
					t.Errorf("attempts %+v", rr.Attempts)
				}
			})
		})
	}
}

// TestFallbackDetails is what else holds on the way to the fallback hosts.
func TestFallbackDetails(t *testing.T) {
	fallback := func(t *testing.T) smarthost.Rules { return smarthost.Rules{Fallback: smart(t, "[last.relay.test]")} }
	t.Run("QUE-14 recipient by recipient", func(t *testing.T) {
		first, last := &smtptest.Host{Script: []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "no@e.test", Reply: "550 5.1.1 who"},
			{At: smtptest.Rcpt, Address: "later@e.test", Reply: "450 4.2.0 later"},
		}}, script()
		bubble(t, fallbackZone, map[string]smtptest.Server{"192.0.2.1": first, "192.0.2.3": last}, func(t *testing.T, r *rig) {
			byTable(t, r, fallback(t))
			report := r.send(t, message("yes@e.test", "no@e.test", "later@e.test"))
			for i, w := range []struct {
				outcome queue.Outcome
				host    string
				route   mx.Via
			}{
				{queue.Delivered, "mx1.e.test", mx.ViaMX},
				{queue.Failed, "mx1.e.test", mx.ViaMX},
				{queue.Delivered, "last.relay.test", mx.ViaFallback},
			} {
				want(t, &report.Recipients[i], w.outcome, w.host, "")
				if got := report.Recipients[i].Via; got != w.route {
					t.Errorf("%s went by %v, want %v", report.Recipients[i].Address, got, w.route)
				}
			}
			if m := last.Messages(); len(m) != 1 || len(m[0].Recipients) != 1 {
				t.Errorf("the fallback got %+v", m)
			}
		})
	})
	t.Run("the limits of the attempt hold anew", func(t *testing.T) {
		last := script()
		bubble(t, "$ORIGIN e.test.\n@ MX 10 m\nm A 192.0.2.11\nm A 192.0.2.12\nm A 192.0.2.13\n$ORIGIN relay.test.\nlast A 192.0.2.14\nlast A 192.0.2.3\n",
			map[string]smtptest.Server{"192.0.2.3": last}, func(t *testing.T, r *rig) {
				r.sender.MaxConnections = 2
				byTable(t, r, fallback(t))
				report := r.send(t, message("u@e.test"))
				want(t, &report.Recipients[0], queue.Delivered, "last.relay.test", "")
				if got := r.dialled(); !slices.Equal(got, []string{"192.0.2.11", "192.0.2.12", "192.0.2.14", "192.0.2.3"}) {
					t.Errorf("dialled %v", got)
				}
			})
	})
	for name, zone := range map[string]string{
		"without an address": strings.Replace(fallbackZone, "last A", "late A", 1),
		"that is this host":  strings.Replace(fallbackZone, "last A  192.0.2.3", "last CNAME from.test.\nfrom.test. A 192.0.2.9", 1),
		"that refuses":       strings.Replace(fallbackZone, "192.0.2.3", "192.0.2.4", 1),
	} {
		t.Run("a fallback "+name+" bounces nothing", func(t *testing.T) {
			refusing := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "554 no"}}}
			bubble(t, zone, map[string]smtptest.Server{"192.0.2.4": refusing}, func(t *testing.T, r *rig) {
				byTable(t, r, fallback(t))
				var routes []error // what Trace.Route is told
				r.sender.Trace = &delivery.Trace{Route: func(domain string, _ mx.Route, err error) {
					if domain != "e.test" {
						t.Errorf("told of a route for %s", domain)
					}
					routes = append(routes, err)
				}}
				rr := &r.send(t, message("u@e.test")).Recipients[0]
				if len(routes) != 2 || routes[0] != nil || (routes[1] == nil) != (name == "that refuses") {
					t.Errorf("told of the routes %v, want that of the MX hosts and that of the fallback", routes)
				}
				if rr.Outcome != queue.Deferred || rr.Reply.Enhanced[0] != '4' || rr.Via != mx.ViaFallback {
					t.Errorf("%v %s (%v) by %v, want deferred by the fallback", rr.Outcome, rr.Reply.Enhanced, rr.Err, rr.Via)
				}
				for _, a := range rr.Attempts {
					if name != "that refuses" && (!a.Err.Temporary() || a.Err.Enhanced[0] != '4') {
						t.Errorf("an attempt ended with %v, which is permanent", a.Err)
					}
				}
				if last := rr.Attempts[len(rr.Attempts)-1]; name != "that refuses" && (last.Err.Stage != delivery.StageDNS || last.Next != delivery.StopHosts) {
					t.Errorf("the last attempt is %+v, want the fallback that could not be routed to", last)
				}
			})
		})
	}
	t.Run("a fallback whose addresses cannot be looked up is among the attempts", func(t *testing.T) {
		bubble(t, fallbackZone, nil, func(t *testing.T, r *rig) {
			if err := r.dns.Set(mxtest.Rule{Name: "last.relay.test", Fault: mxtest.ServFail}); err != nil {
				t.Fatal(err)
			}
			byTable(t, r, fallback(t))
			rr := &r.send(t, message("u@e.test")).Recipients[0]
			if !slices.ContainsFunc(rr.Attempts, func(a delivery.Attempt) bool {
				return a.Host == "last.relay.test" && a.Err.Stage == delivery.StageDNS && a.Next == delivery.NextHost
			}) {
				t.Errorf("%v after the attempts %+v", rr.Outcome, rr.Attempts)
			}
		})
	})
	t.Run("QUE-14 nobody goes there after an unknown outcome of somebody else's", func(t *testing.T) {
		first, last := &smtptest.Host{Extensions: []string{"LIMITS RCPTMAX=1"}, MaxRecipients: 1,
			Script: []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}}}, script()
		bubble(t, fallbackZone, map[string]smtptest.Server{"192.0.2.1": first, "192.0.2.3": last}, func(t *testing.T, r *rig) {
			byTable(t, r, fallback(t))
			report := r.send(t, message("a@e.test", "b@e.test"))
			want(t, &report.Recipients[0], queue.Unknown, "mx1.e.test", "")
			want(t, &report.Recipients[1], queue.Deferred, "", "")
			if len(last.Connections()) != 0 {
				t.Error("the fallback was asked")
			}
		})
	})
	t.Run("nobody goes there when time ran out at a policy", func(t *testing.T) {
		last := script()
		bubble(t, fallbackZone, map[string]smtptest.Server{"192.0.2.3": last}, func(t *testing.T, r *rig) {
			byTable(t, r, fallback(t))
			ctx, cancel := context.WithCancel(t.Context())
			r.sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
				cancel()
				return delivery.TLSPolicy{}, context.Canceled
			})
			if rr := &sendContext(t, ctx, r.sender, message("u@e.test")).Recipients[0]; rr.Via != mx.ViaMX {
				t.Errorf("%v by %v", rr.Outcome, rr.Via)
			}
		})
	})
	t.Run("nobody goes there once the caller has given up", func(t *testing.T) {
		last := script()
		bubble(t, fallbackZone, map[string]smtptest.Server{"192.0.2.3": last}, func(t *testing.T, r *rig) {
			if err := r.net.SetLink("192.0.2.1", smtptest.Link{Fault: smtptest.BlackHole}); err != nil {
				t.Fatal(err)
			}
			byTable(t, r, fallback(t))
			ctx, cancel := contextWithCancelAfter(t, time.Second)
			defer cancel()
			report := sendContext(t, ctx, r.sender, message("u@e.test"))
			if rr := &report.Recipients[0]; rr.Outcome != queue.Deferred || rr.Via != mx.ViaMX || len(last.Connections()) != 0 {
				t.Errorf("%v by %v", rr.Outcome, rr.Via)
			}
		})
	})
}

// TestSmartHosts is the walk along smart hosts.
func TestSmartHosts(t *testing.T) {
	t.Run("MX-31 fall-through by the same verdicts as MX", func(t *testing.T) {
		first, second := script(smtptest.Cue{At: smtptest.Mail, Reply: "451 4.3.0 later"}), script()
		bubble(t, fallbackZone, servers(first, second), func(t *testing.T, r *rig) {
			byTable(t, r, smarthost.Rules{Default: smart(t, "[192.0.2.1]", "[192.0.2.2]")})
			report := r.send(t, message("u@other.test"))
			want(t, &report.Recipients[0], queue.Delivered, "[192.0.2.2]", "")
			if report.Recipients[0].Via != mx.ViaSmartHost {
				t.Errorf("by %v", report.Recipients[0].Via)
			}
		})
	})
	t.Run("MX-28 a smart host that greets as this host is a loop", func(t *testing.T) {
		bubble(t, fallbackZone, servers(&smtptest.Host{Name: "from.test"}), func(t *testing.T, r *rig) {
			byTable(t, r, smarthost.Rules{Default: smart(t, "[192.0.2.1]")})
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Failed, "[192.0.2.1]", "5.4.6")
		})
	})
	t.Run("a smart host without an address bounces nothing", func(t *testing.T) {
		bubble(t, fallbackZone, nil, func(t *testing.T, r *rig) {
			byTable(t, r, smarthost.Rules{Default: smart(t, "[gone.relay.test]")})
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Deferred, "", "4.3.5")
		})
	})
	t.Run("rules change while mail flows", func(t *testing.T) {
		one, two := script(), script()
		bubble(t, fallbackZone, servers(one, two), func(t *testing.T, r *rig) {
			rules := []smarthost.Rules{{Default: smart(t, "[192.0.2.1]")}, {Default: smart(t, "[192.0.2.2]")}}
			table := byTable(t, r, rules[0])
			ctx, stop := context.WithCancel(t.Context())
			var group sync.WaitGroup
			group.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					if err := table.Set(rules[i%2]); err != nil {
						t.Error(err)
					}
					pass(time.Microsecond)
				}
			})
			var senders sync.WaitGroup
			for range 8 {
				senders.Go(func() {
					for range 25 {
						if _, err := r.sender.Send(t.Context(), message("u@e.test")); err != nil {
							t.Error(err)
						}
						pass(3 * time.Microsecond)
					}
				})
			}
			senders.Wait()
			stop()
			group.Wait()
			if a, b := len(one.Messages()), len(two.Messages()); a+b != 200 || a == 0 || b == 0 {
				t.Errorf("%d and %d messages, want 200 in all", a, b)
			}
		})
	})
}

// observer is a router that is told of failures.
type observer struct {
	delivery.Router
	mu     sync.Mutex
	failed []string
}

func (o *observer) Unreachable(h *mx.Host) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = append(o.failed, h.Name)
}

func TestHostObserver(t *testing.T) {
	bubble(t, zone, servers(script(smtptest.Cue{At: smtptest.Banner, Reply: "421 busy"}), nil, script()), func(t *testing.T, r *rig) {
		delete(r.net.Servers, "192.0.2.2")
		o := &observer{Router: delivery.ByMX(&mx.Router{Resolver: r.dns})}
		r.sender.Router = o
		for range 2 { // the second time the failures are remembered
			want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, "mx3.e.test", "")
		}
		if !slices.Equal(o.failed, []string{"mx1.e.test", "mx2.e.test"}) {
			t.Errorf("told of %v", o.failed)
		}
	})
}

// TestRouterErrors: an error of another kind than mx.Error is temporary.
func TestRouterErrors(t *testing.T) {
	bubble(t, zone, nil, func(t *testing.T, r *rig) {
		r.sender.Router = routerFunc(func() (mx.Route, error) { return mx.Route{}, errors.New("broken") })
		want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Deferred, "", "4.4.3")
	})
}

type routerFunc func() (mx.Route, error)

func (f routerFunc) Route(context.Context, string, string) (mx.Route, error) { return f() }

// viaNothing is a Router that does not say how it found its routes.
type viaNothing struct{ router *mx.Router }

func (v viaNothing) Route(ctx context.Context, _, domain string) (mx.Route, error) {
	route, err := v.router.Route(ctx, domain)
	route.Via = mx.ViaNone
	return route, err
}

// TestVia: what was not routed has no Via, and a route without one counts as by MX, for
// REQUIRETLS, too.
func TestVia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := (&smtptest.Internet{Zone: bothZone, Hosts: map[string]*smtptest.Host{
			"mx1.e.test": {Extensions: append(full(), "STARTTLS", "REQUIRETLS")},
		}}).Start(t)
		s := &delivery.Sender{Hello: "from.test", Router: viaNothing{&mx.Router{Resolver: in}}, Dial: in.DialContext, TLSConfig: in.Authority.ClientConfig()}
		defer s.Close()
		report, _ := s.Send(t.Context(), message("u@e.test", "<v@e.test>", "w@none.test"))
		for i, want := range []mx.Via{mx.ViaMX, mx.ViaNone, mx.ViaMX} {
			if got := report.Recipients[i].Via; got != want {
				t.Errorf("%s is via %v, want %v", report.Recipients[i].Address, got, want)
			}
		}
		m := message("u@e.test")
		m.TLS = queue.TLSRequired
		if report, err := s.Send(t.Context(), m); err == nil || report.Recipients[0].Outcome == queue.Delivered {
			t.Errorf("REQUIRETLS by insecure MX records: %v", err)
		}
	})
}

// ownFallback is a Router that says itself how the hosts of its fallback were found.
type ownFallback struct{ via mx.Via }

func (o ownFallback) Route(context.Context, string, string) (mx.Route, error) {
	host := func(name, addr string) []mx.Host {
		return []mx.Host{{Name: name, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}}
	}
	return mx.Route{Via: mx.ViaMX, Hosts: host("mx1.e.test", "192.0.2.1"), Fallback: func(context.Context) (mx.Route, error) {
		return mx.Route{Via: o.via, Hosts: host("last.relay.test", "192.0.2.3")}, nil
	}}, nil
}

// TestExplainFallbackAsTried compares the way in which Explain says a fallback was found
// with the one that the PolicySource is told during an attempt.
func TestExplainFallbackAsTried(t *testing.T) {
	for _, c := range []struct{ router, want mx.Via }{
		{mx.ViaNone, mx.ViaFallback}, {mx.ViaFallback, mx.ViaFallback}, {mx.ViaMX, mx.ViaMX}, {mx.ViaSmartHost, mx.ViaSmartHost},
		{mx.ViaImplicit, mx.ViaImplicit},
	} {
		t.Run(c.router.String(), func(t *testing.T) {
			bubble(t, fallbackZone, map[string]smtptest.Server{"192.0.2.3": script()}, func(t *testing.T, r *rig) {
				asked := map[string]mx.Via{}
				r.sender.Router = ownFallback{c.router}
				r.sender.Policy = policyFunc(func(route *mx.Route, host *mx.Host) (delivery.TLSPolicy, error) {
					asked[host.Name] = route.Via
					return delivery.TLSPolicy{}, nil
				})
				e, err := r.sender.Explain(t.Context(), "a@from.test", "e.test")
				if err != nil || e.Fallback == nil {
					t.Fatalf("%v, %v", e, err)
				}
				if got := e.Fallback.Route.Via; got != c.want || asked["last.relay.test"] != c.want {
					t.Errorf("explained as %v, and to the policy as %v, want %v", got, asked["last.relay.test"], c.want)
				}
				if text := e.String(); !strings.Contains(text, "mail goes to the fallback host\n   1. 0     last.relay.test") {
					t.Errorf("described as\n%s", text)
				}
				clear(asked)
				report := r.send(t, message("u@e.test"))
				if report.Recipients[0].Host != "last.relay.test" || asked["last.relay.test"] != c.want {
					t.Errorf("%v; tried as %v, want %v", report.Err(), asked["last.relay.test"], c.want)
				}
			})
		})
	}
}
