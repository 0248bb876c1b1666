package mx_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// aliases is a chain of n aliases from e.test on, and what stands at its end.
func aliases(n int, end string) string {
	var b strings.Builder
	from := "e.test"
	for i := range n {
		to := fmt.Sprintf("n%d.test", i)
		fmt.Fprintf(&b, "%s CNAME %s\n", from, to)
		from = to
	}
	if end != "" {
		fmt.Fprintf(&b, "%s %s\n", from, end)
	}
	return b.String()
}

func TestRouteOfAliases(t *testing.T) {
	const end = "\n b.test MX 10 m1.test\n m1.test A 192.0.2.1"
	tests := []routeCase{
		{
			name: "MX-6 the alias alone", zone: "e.test CNAME b.test" + end,
			want:  "mx: 10 m1.test 192.0.2.1",
			asked: []string{"MX e.test", "MX b.test", "A m1.test", "AAAA m1.test"},
		},
		{
			name: "MX-6, MX-3 the target without MX", zone: "e.test CNAME b.test\n b.test A 192.0.2.9",
			want: "implicit: 0 e.test=b.test 192.0.2.9",
		},
		{
			name: "MX-6, MX-2 the address of an alias whose target has MX is not asked for", zone: "e.test CNAME b.test\n b.test MX 10 m1.test\n b.test A 192.0.2.9",
			want: "550 5.4.4 no usable mail exchanger; out: 10 m1.test (it has no address)",
		},
		{name: "MX-7 nine aliases", zone: aliases(9, "MX 10 m1.test") + "m1.test A 192.0.2.1", want: "mx: 10 m1.test 192.0.2.1"},
		{name: "MX-7 sixteen aliases", zone: aliases(16, "MX 10 m1.test") + "m1.test A 192.0.2.1", want: "mx: 10 m1.test 192.0.2.1"},
		{name: "MX-7 seventeen aliases", zone: aliases(17, "MX 10 m1.test"), want: "451 4.4.3 no answer from DNS for now"},
		{name: "MX-7 twenty aliases", zone: aliases(20, "MX 10 m1.test"), want: "451 4.4.3 no answer from DNS for now"},
		{
			name: "MX-7 a circle", zone: "e.test CNAME f.test\n f.test CNAME e.test",
			want: "451 4.4.3 no answer from DNS for now", asked: []string{"MX e.test", "MX f.test"},
		},
		{name: "MX-7 an alias of itself", zone: "e.test CNAME e.test", want: "451 4.4.3 no answer from DNS for now"},
		{name: "MX-7 the end does not exist", zone: aliases(3, ""), want: "550 5.1.2 no such domain"},
		{name: "MX-7, MX-5 the end has no answer", zone: aliases(3, "MX SERVFAIL"), want: "451 4.4.3 no answer from DNS for now"},
		{
			name: "MX-8 an exchanger that is an alias", zone: "e.test MX 10 alias.test\n alias.test CNAME real.test\n real.test A 192.0.2.1",
			want: "mx: 10 alias.test=real.test 192.0.2.1",
		},
		{
			name: "MX-8 an exchanger at the end of twelve aliases", zone: "a.test MX 10 e.test\n " + aliases(12, "A 192.0.2.1"), domain: "a.test",
			want: "mx: 10 e.test=n11.test 192.0.2.1",
		},
		{
			name: "MX-8 an exchanger that is an alias of itself", zone: two + "e.test MX 5 alias.test\n alias.test CNAME alias.test",
			want: "mx: 10 m1.test 192.0.2.1, 20 m2.test 192.0.2.2; out: 5 alias.test (no answer about its address for now)",
		},
		{
			name: "MX-8 an exchanger that is an alias of nothing", zone: "e.test MX 10 alias.test\n alias.test CNAME real.test",
			want: "550 5.4.4 no usable mail exchanger; out: 10 alias.test (it has no address)",
		},
	}
	runRoutes(t, tests)
	for i := range tests {
		test := &tests[i]
		t.Run(test.name+", in one response", func(t *testing.T) {
			route, err := mx.Lookup(t.Context(), wideZone(t, test.zone), cmp.Or(test.domain, "e.test"))
			if got := describe(route, err); got != test.want {
				t.Errorf("route is\n\t%s\nwant\n\t%s", got, test.want)
			}
		})
	}
	t.Run("MX-6 the route tells the aliases of the domain", func(t *testing.T) {
		route, err := mx.Lookup(t.Context(), zone(t, aliases(2, "MX 10 m1.test")+"m1.test A 192.0.2.1"), "e.test")
		want := []mx.Alias{{From: "e.test", To: "n0.test"}, {From: "n0.test", To: "n1.test"}}
		if err != nil || route.Domain != "e.test" || !slices.Equal(route.Aliases, want) {
			t.Errorf("route of %s has aliases %v, %v; want those of e.test: %v", route.Domain, route.Aliases, err, want)
		}
	})
}

func TestFollow(t *testing.T) {
	t.Run("MX-33 a chain lives as long as its least TTL", func(t *testing.T) {
		f := zone(t, "e.test 300 CNAME n0.test\n n0.test 5 CNAME n1.test\n n1.test 300 MX 10 m1.test")
		a, err := mx.Follow(t.Context(), f, "e.test", mx.TypeMX)
		if err != nil || a.TTL != 5*time.Second || a.Name != "n1.test" || a.Status != mx.Success {
			t.Errorf("answer is %+v, %v; want 5s and n1.test", a, err)
		}
	})
	t.Run("MX-36 a chain is secure where all of it is", func(t *testing.T) {
		for _, test := range []struct {
			secure []string
			want   bool
		}{{[]string{"e.test", "n0.test", "n1.test"}, true}, {[]string{"e.test", "n1.test"}, false}, {[]string{"e.test", "n0.test"}, false}} {
			f := zone(t, aliases(2, "MX 10 m1.test"))
			sign(f, test.secure)
			a, err := mx.Follow(t.Context(), f, "e.test", mx.TypeMX)
			if err != nil || a.Secure != test.want {
				t.Errorf("with %v secure the chain is secure: %v, %v; want %v", test.secure, a.Secure, err, test.want)
			}
			if a.Aliases[0].Secure != mx.Secure {
				t.Errorf("with %v secure the first alias is not", test.secure)
			}
		}
	})
}

func TestFollowHoldsResolversToTheirWord(t *testing.T) {
	cause := errors.New("made up")
	answer := func(a mx.Answer, err error) mx.Resolver {
		return resolverFunc(func(context.Context, string, mx.Type) (mx.Answer, error) { return a, err })
	}
	tests := []struct {
		name     string
		resolver mx.Resolver
		want     mx.ResolveErrorKind
	}{
		{"MX-5 no status", answer(mx.Answer{}, nil), mx.Malformed},
		{"MX-5 a status nobody knows", answer(mx.Answer{Status: 99}, nil), mx.Malformed},
		{"MX-5 success without a record", answer(mx.Answer{Status: mx.Success, Name: "e.test"}, nil), mx.Malformed},
		{"an alias without a target", answer(mx.Answer{Status: mx.Aliased, Name: "e.test"}, nil), mx.Malformed},
		{"MX-5 an error of another kind", answer(mx.Answer{Status: mx.NXDomain}, cause), mx.NoAnswer},
		{"MX-7 a chain too long", answer(mx.Answer{Status: mx.NoData, Name: "x", Aliases: make([]mx.Alias, 17)}, nil), mx.AliasLoop},
		{"MX-7 an endless chain of new names", resolverFunc(func(_ context.Context, name string, _ mx.Type) (mx.Answer, error) {
			return mx.Answer{Status: mx.Aliased, Name: "a." + name, Aliases: []mx.Alias{{From: name, To: "a." + name}}}, nil
		}), mx.AliasLoop},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := mx.Follow(t.Context(), test.resolver, "e.test", mx.TypeMX)
			wantFailure(t, err, test.want)
			route, err := mx.Lookup(t.Context(), test.resolver, "e.test")
			if got := describe(route, err); got != later {
				t.Errorf("route is %s, want a temporary error", got)
			}
			hosts := resolverFunc(func(ctx context.Context, name string, ty mx.Type) (mx.Answer, error) {
				if ty == mx.TypeMX {
					return mx.Answer{Status: mx.Success, TTL: time.Hour, MX: []mx.MX{{Host: "e.test"}}}, nil
				}
				return test.resolver.Resolve(ctx, name, ty)
			})
			cached := mx.Router{Resolver: &mx.Cache{Resolver: hosts}}
			for range 2 {
				route, err = cached.Route(t.Context(), "e.test")
				if got := describe(route, err); !strings.HasPrefix(got, later) {
					t.Errorf("route with such an answer about a host is %s, want a temporary error", got)
				}
			}
		})
	}
	t.Run("an endless TTL counts as none", func(t *testing.T) {
		a, err := mx.Follow(t.Context(), answer(mx.Answer{Status: mx.NoData, Name: "e.test", TTL: 1 << 62}, nil), "e.test", mx.TypeMX)
		if err != nil || a.TTL != 0 {
			t.Errorf("TTL is %v, %v", a.TTL, err)
		}
	})
}

func TestRouteTTL(t *testing.T) {
	const soa = "test. 300 SOA ns.test. root.test. 1 2 3 4 300\n"
	tests := []struct {
		name, zone string
		router     mx.Router
		want       time.Duration
	}{
		{name: "MX-33 the address is the least", zone: soa + "e.test 300 MX 10 m.test\n m.test 5 A 192.0.2.1\n m.test 60 AAAA 2001:db8::1", want: 5 * time.Second},
		{name: "MX-33 the MX record is the least", zone: soa + "e.test 5 MX 10 m.test\n m.test 60 A 192.0.2.1", want: 5 * time.Second},
		{name: "MX-33 the alias of a host is the least", zone: soa + "e.test 300 MX 10 m.test\n m.test 5 CNAME n.test\n n.test 60 A 192.0.2.1", want: 5 * time.Second},
		{name: "MX-33 the alias of the domain is the least", zone: soa + "e.test 5 CNAME f.test\n f.test 60 MX 10 m.test\n m.test 60 A 192.0.2.1", want: 5 * time.Second},
		{
			name: "MX-33 the absence of a better host is the least",
			zone: "test. 7 SOA ns.test. root.test. 1 2 3 4 7\n e.test 300 MX 10 gone.test\n e.test 300 MX 20 m.test\n m.test 60 A 192.0.2.1", want: 7 * time.Second,
		},
		{
			name: "MX-33 a family that is not asked about does not count", router: mx.Router{Family: mx.IPv4Only},
			zone: "e.test 300 MX 10 m.test\n m.test 60 A 192.0.2.1", want: time.Minute,
		},
		{name: "MX-33 without MX, the address is the least", zone: soa + "e.test 5 A 192.0.2.1", want: 5 * time.Second},
		{name: "MX-33 without MX, its absence is the least", zone: "test. 7 SOA ns.test. root.test. 1 2 3 4 7\n e.test 60 A 192.0.2.1", want: 7 * time.Second},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.name, func(t *testing.T) {
			test.router.Resolver = zone(t, test.zone)
			route, err := test.router.Route(t.Context(), "e.test")
			if err != nil || route.TTL != test.want {
				t.Errorf("TTL is %v, %v; want %v", route.TTL, err, test.want)
			}
		})
	}
}

func TestRouteFromCache(t *testing.T) {
	t.Run("MX-8, MX-6 aliases are followed from the cache", func(t *testing.T) {
		dns := zone(t, "e.test CNAME f.test\n f.test MX 10 alias.test\n alias.test CNAME real.test\n real.test A 192.0.2.1\n real.test AAAA 2001:db8::1")
		r := mx.Router{Resolver: &mx.Cache{Resolver: dns}}
		for range 2 {
			route, err := r.Route(t.Context(), "e.test")
			if got, want := describe(route, err), "mx: 10 alias.test=real.test 2001:db8::1 192.0.2.1"; got != want {
				t.Errorf("route is %s, want %s", got, want)
			}
		}
		if n := len(dns.Queries()); n != 6 {
			t.Errorf("asked %v, want each question once", questions(dns))
		}
	})
	t.Run("MX-33, MX-14 the route is found anew within the TTL", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dns := zone(t, "e.test 60 MX 10 m1.test\n m1.test 3600 A 192.0.2.1\n m2.test 3600 A 192.0.2.2")
			r := mx.Router{Resolver: &mx.Cache{Resolver: dns}, Family: mx.IPv4Only}
			look := func(domain, want string) {
				t.Helper()
				route, err := r.Route(t.Context(), domain)
				if got := describe(route, err); got != want {
					t.Errorf("route is %s, want %s", got, want)
				}
			}
			look("e.test", "mx: 10 m1.test 192.0.2.1")
			if err := dns.SetZone("e.test 60 MX 10 m2.test\nm2.test 3600 A 192.0.2.2"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(59 * time.Second)
			look("E.TEST.", "mx: 10 m1.test 192.0.2.1")
			if n := dns.Count("e.test", mx.TypeMX); n != 1 {
				t.Errorf("asked for MX %d times within the TTL, want once", n)
			}
			time.Sleep(2 * time.Second)
			look("e.test", "mx: 10 m2.test 192.0.2.2")
		})
	})
}

func TestRouteSecurity(t *testing.T) {
	const chain = "e.test MX 10 m.e.test\n m.e.test CNAME n.other.test\n n.other.test A 192.0.2.1\n"
	const plain = "e.test MX 10 m.e.test\n m.e.test A 192.0.2.1\n m.e.test AAAA 2001:db8::1\n"
	tests := []struct {
		name                 string
		zone                 string
		secure               []string
		route                bool
		nameSecure, wantHost mx.Security
	}{
		{name: "MX-36 nothing is secure", zone: plain, nameSecure: mx.Insecure, wantHost: mx.Insecure},
		{name: "MX-36 all is secure", zone: plain, secure: []string{"test"}, route: true, nameSecure: mx.Secure, wantHost: mx.Secure},
		{name: "MX-36 the addresses alone", zone: plain, secure: []string{"m.e.test"}, nameSecure: mx.Secure, wantHost: mx.Secure},
		{name: "MX-36 the absence of MX records", zone: "e.test A 192.0.2.1", secure: []string{"e.test"}, route: true, nameSecure: mx.Secure, wantHost: mx.Secure},
		{name: "MX-36 an alias, all secure", zone: chain, secure: []string{"test"}, route: true, nameSecure: mx.Secure, wantHost: mx.Secure},
		{name: "MX-36 an alias, its first step secure", zone: chain, secure: []string{"e.test"}, route: true, nameSecure: mx.Secure, wantHost: mx.Insecure},
		{name: "MX-36 an alias, nothing secure", zone: chain, nameSecure: mx.Insecure, wantHost: mx.Insecure},
		{name: "MX-36 the domain an alias, its first step secure", zone: "e.test CNAME f.test\n f.test A 192.0.2.1", secure: []string{"e.test"}, nameSecure: mx.Secure, wantHost: mx.Insecure},
		{name: "MX-36 the domain an alias, all secure", zone: "e.test CNAME f.test\n f.test A 192.0.2.1", secure: []string{"test"}, route: true, nameSecure: mx.Secure, wantHost: mx.Secure},
		{name: "MX-36 the domain an alias, its target secure", zone: "e.test CNAME f.test\n f.test A 192.0.2.1", secure: []string{"f.test"}, nameSecure: mx.Insecure, wantHost: mx.Insecure},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := zone(t, test.zone)
			f.Validates = true
			sign(f, test.secure)
			route, err := mx.Lookup(t.Context(), f, "e.test")
			if err != nil {
				t.Fatal(err)
			}
			h := route.Hosts[0]
			if route.Secure != test.route || h.Secure != test.wantHost || h.NameSecure != test.nameSecure {
				t.Errorf("route, host, name secure: %v, %v, %v; want %v, %v, %v",
					route.Secure, h.Secure, h.NameSecure, test.route, test.wantHost, test.nameSecure)
			}
			// The resolver knows each step: nothing more is to be asked.
			if n := f.Count("m.e.test", mx.TypeCNAME) + f.Count("e.test", mx.TypeCNAME); n > 0 {
				t.Errorf("asked for CNAME records %d times", n)
			}
		})
	}
	t.Run("MX-36 the first step is asked for where the response is about the whole chain", func(t *testing.T) {
		f := wideZone(t, chain)
		sign(f, []string{"e.test"})
		client := &mx.Client{Servers: []mx.Server{{Addr: first, TrustAD: true}}, Dial: f.Dial}
		route, err := mx.Lookup(t.Context(), client, "e.test")
		if err != nil || route.Hosts[0].Secure != mx.Insecure || route.Hosts[0].NameSecure != mx.Secure {
			t.Errorf("host is %+v, %v; want the name secure, the addresses not", route.Hosts, err)
		}
		if f.Count("m.e.test", mx.TypeCNAME) != 1 {
			t.Errorf("asked %v", questions(f))
		}
	})
}
