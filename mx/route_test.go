package mx_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
)

// asGiven is a Rand that leaves equals in the order of the records.
func asGiven(n int) int { return n - 1 }

// routeCase is one search for a route and how it must end.
type routeCase struct {
	name   string
	zone   string
	router mx.Router // without its Resolver
	domain string    // "e.test" where empty
	want   string    // as describe says
	asked  []string  // all questions, in any order; unchecked where nil
}

func runRoutes(t *testing.T, tests []routeCase) {
	t.Helper()
	for i := range tests {
		test := &tests[i]
		t.Run(test.name, func(t *testing.T) {
			f := zone(t, test.zone)
			test.router.Resolver = f
			if test.router.Rand == nil {
				test.router.Rand = asGiven
			}
			domain := test.domain
			if domain == "" {
				domain = "e.test"
			}
			route, err := test.router.Route(t.Context(), domain)
			if got := describe(route, err); got != test.want {
				t.Errorf("route is\n\t%s\nwant\n\t%s", got, test.want)
			}
			if asked := questions(f); test.asked != nil && !sameSet(asked, test.asked) {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
		})
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// describe is a route, or the lack of one, on a line:
//
//	mx: 10 a.test 192.0.2.1 2001:db8::1, 20 b.test 192.0.2.2; out: 30 c.test (it is this host)
//	550 5.1.2 no such domain
func describe(r mx.Route, err error) string {
	var b strings.Builder
	var left []mx.LeftOut
	if err != nil {
		e, ok := errors.AsType[*mx.Error](err)
		if !ok {
			return fmt.Sprintf("error of type %T: %v", err, err)
		}
		fmt.Fprintf(&b, "%d %s %v", e.Code, e.Enhanced, e.Kind)
		left = e.LeftOut
	} else {
		b.WriteString(r.Via.String() + ": ")
		for i, h := range r.Hosts {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(describeHost(h))
		}
		left = r.LeftOut
	}
	for i, l := range left {
		sep := ", "
		if i == 0 {
			sep = "; out: "
		}
		fmt.Fprintf(&b, "%s%s (%v)", sep, describeHost(l.Host), l.Reason)
	}
	return b.String()
}

func describeHost(h mx.Host) string {
	s := fmt.Sprintf("%d %s", h.Preference, h.Name)
	if h.Target != h.Name {
		s += "=" + h.Target
	}
	for _, a := range h.Addrs {
		s += " " + a.String()
	}
	return s
}

// two is a domain with two exchangers.
const two = `
	e.test  MX 10 m1.test
	e.test  MX 20 m2.test
	m1.test A 192.0.2.1
	m2.test A 192.0.2.2
`

func TestRoute(t *testing.T) {
	runRoutes(t, []routeCase{
		{
			name: "MX-15 hosts by preference", zone: "e.test MX 20 m2.test\n e.test MX 10 m1.test\n e.test MX 0 m0.test\n e.test MX 65535 m9.test\n" +
				"m0.test A 192.0.2.0\n m1.test A 192.0.2.1\n m2.test A 192.0.2.2\n m9.test A 192.0.2.9",
			want: "mx: 0 m0.test 192.0.2.0, 10 m1.test 192.0.2.1, 20 m2.test 192.0.2.2, 65535 m9.test 192.0.2.9",
		},
		{
			name: "MX-1 the name is asked for as it is", domain: "host", zone: "host.corp.test MX 10 m1.test",
			want: "550 5.1.2 no such domain", asked: []string{"MX host"},
		},
		{
			name: "MX-2, MX-10 nothing else is asked", zone: two + "e.test A 192.0.2.9\n m1.test MX 10 other.test",
			want:  "mx: 10 m1.test 192.0.2.1, 20 m2.test 192.0.2.2",
			asked: []string{"MX e.test", "A m1.test", "AAAA m1.test", "A m2.test", "AAAA m2.test"},
		},
		{
			name: "MX-2 the domain's address is no way out", zone: "e.test MX 10 m1.test\n e.test A 192.0.2.9",
			want:  "550 5.4.4 no usable mail exchanger; out: 10 m1.test (it has no address)",
			asked: []string{"MX e.test", "A m1.test", "AAAA m1.test"},
		},
		{
			name: "MX-3 implicit", zone: "e.test A 192.0.2.9\n e.test AAAA 2001:db8::9",
			want: "implicit: 0 e.test 2001:db8::9 192.0.2.9", asked: []string{"MX e.test", "A e.test", "AAAA e.test"},
		},
		{
			name: "MX-4 no such domain is not asked for an address", zone: "f.test A 192.0.2.9",
			want: "550 5.1.2 no such domain", asked: []string{"MX e.test"},
		},
		{
			name: "MX-5 a failed MX lookup is no reason to try the address", zone: "e.test MX SERVFAIL\n e.test A 192.0.2.9",
			want: "451 4.4.3 no answer from DNS for now", asked: []string{"MX e.test"},
		},
		{
			name: "MX-9 an address is not a name", zone: two + "e.test MX 5 192.0.2.1.",
			want: "mx: 10 m1.test 192.0.2.1, 20 m2.test 192.0.2.2; out: 5 192.0.2.1 (the record names no host)",
		},
		{
			name: "MX-9 nothing but an address", zone: "e.test MX 5 192.0.2.1.\n e.test A 192.0.2.9",
			want: "550 5.4.4 no usable mail exchanger; out: 5 192.0.2.1 (the record names no host)", asked: []string{"MX e.test"},
		},
		{
			name: "MX-13 an underscore in an exchanger is let pass", zone: "e.test MX 5 my_mail.test\n my_mail.test A 192.0.2.1",
			want: "mx: 5 my_mail.test 192.0.2.1",
		},
		{name: "MX-14 capitals and a final dot", zone: two, domain: "E.Test.", want: "mx: 10 m1.test 192.0.2.1, 20 m2.test 192.0.2.2"},
		{
			name: "I18N-3 U-labels are asked for as A-labels", domain: "Bücher.test", zone: "xn--bcher-kva.test MX 5 m1.test\n m1.test A 192.0.2.1",
			want: "mx: 5 m1.test 192.0.2.1", asked: []string{"MX xn--bcher-kva.test", "A m1.test", "AAAA m1.test"},
		},
		{
			name: "the same host twice counts once, at its best", zone: two + "e.test MX 30 m1.test\n e.test MX 10 M1.TEST.",
			want: "mx: 10 m1.test 192.0.2.1, 20 m2.test 192.0.2.2",
		},
	})
}

func TestRouteLiterals(t *testing.T) {
	runRoutes(t, []routeCase{
		{name: "MX-12 IPv4", domain: "[192.0.2.5]", want: "literal: 0 [192.0.2.5] 192.0.2.5", asked: []string{}},
		{name: "MX-12 IPv6", domain: "[IPv6:2001:DB8::5]", want: "literal: 0 [IPv6:2001:db8::5] 2001:db8::5", asked: []string{}},
		{
			name: "MX-12 loopback where allowed", domain: "[127.0.0.3]", router: mx.Router{AllowLoopback: true},
			want: "literal: 0 [127.0.0.3] 127.0.0.3",
		},
		{
			name: "MX-12, MX-25 loopback where not", domain: "[IPv6:::1]",
			want: "554 5.4.6 mail exchangers point back to this host; out: 0 [IPv6:::1] (it is this host)",
		},
		{name: "MX-12 bad octets", domain: "[300.1.1.1]", want: "553 5.1.3 not a domain name", asked: []string{}},
		{name: "MX-12 unknown tag", domain: "[foo:1]", want: "553 5.1.3 not a domain name", asked: []string{}},
		{
			name: "MX-19 literal of the other family", domain: "[192.0.2.5]", router: mx.Router{Family: mx.IPv6Only},
			want: "550 5.4.4 no usable mail exchanger",
		},
		{
			name: "MX-26 own address", domain: "[192.0.2.5]", router: mx.Router{SelfAddrs: addrs("192.0.2.5")},
			want: "554 5.4.6 mail exchangers point back to this host; out: 0 [192.0.2.5] (it is this host)",
		},
		{
			name: "private address where refused", domain: "[10.1.2.3]", router: mx.Router{RefusePrivate: true},
			want: "550 5.4.4 no usable mail exchanger; out: 0 [10.1.2.3] (its address is not to be dialled)",
		},
	})
}

func addrs(texts ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// TestRouteOddDomains: whether a domain exists that no host may be called is for DNS
// to say.
func TestRouteOddDomains(t *testing.T) {
	var tests []routeCase
	for _, domain := range []string{"my_host.example.com", "web_01.internal", "_a-.test", "-a.test"} {
		tests = append(tests, routeCase{
			name: "MX-13 DNS knows " + domain, domain: domain, zone: domain + " MX 5 m1.test\n m1.test A 192.0.2.1",
			want: "mx: 5 m1.test 192.0.2.1", asked: []string{"MX " + domain, "A m1.test", "AAAA m1.test"},
		})
	}
	runRoutes(t, tests)
}

func TestRouteBadDomains(t *testing.T) {
	var tests []routeCase
	for name, domain := range map[string]string{
		"empty": "", "dot": ".", "empty label": "a..b", "long label": strings.Repeat("a", 64) + ".test",
		"long name": strings.Repeat("abcdefg.", 32) + "test", "space": "a b.test", "control": "a\r\nb.test",
		"leading dot": ".test", "address": "192.0.2.1", "bad A-label": "xn--\u00e9.test",
	} {
		if domain == "" {
			continue // "" stands for the usual domain in the table
		}
		tests = append(tests, routeCase{name: "MX-13 " + name, domain: domain, want: "553 5.1.2 not a domain name", asked: []string{}})
	}
	runRoutes(t, tests)
	t.Run("MX-13 nothing at all", func(t *testing.T) {
		_, err := mx.Lookup(t.Context(), zone(t, ""), "")
		if got := describe(mx.Route{}, err); got != "553 5.1.2 not a domain name" {
			t.Errorf("got %s", got)
		}
	})
}

func TestRouteNullMX(t *testing.T) {
	const isNull = "556 5.1.10 domain takes no mail"
	runRoutes(t, []routeCase{
		{name: "MX-29 null MX", zone: "e.test MX 0 .\n e.test A 192.0.2.9", want: isNull, asked: []string{"MX e.test"}},
		{name: "MX-29 null MX of another preference", zone: "e.test MX 10 .", want: isNull, asked: []string{"MX e.test"}},
		{name: "MX-29 null MX twice", zone: "e.test MX 0 .\n e.test MX 10 .", want: isNull, asked: []string{"MX e.test"}},
		{
			name: "MX-29 null MX beside another", zone: "e.test MX 0 .\n e.test MX 10 m1.test\n m1.test A 192.0.2.1",
			want:  "mx: 10 m1.test 192.0.2.1; out: 0  (null MX among others)",
			asked: []string{"MX e.test", "A m1.test", "AAAA m1.test"},
		},
		{
			name: "MX-29 null MX beside one of no use", zone: "e.test MX 0 .\n e.test MX 10 m1.test",
			want: "550 5.4.4 no usable mail exchanger; out: 0  (null MX among others), 10 m1.test (it has no address)",
		},
	})
}

func TestRouteHostsWithoutAddress(t *testing.T) {
	const set = "e.test MX 10 m1.test\n e.test MX 20 m2.test\n"
	runRoutes(t, []routeCase{
		{
			name: "MX-21 the first does not exist", zone: set + "m2.test A 192.0.2.2",
			want: "mx: 20 m2.test 192.0.2.2; out: 10 m1.test (it has no address)",
		},
		{
			name: "MX-21 neither exists", zone: set,
			want: "550 5.4.4 no usable mail exchanger; out: 10 m1.test (it has no address), 20 m2.test (it has no address)",
		},
		{
			name: "MX-21 one does not exist, one has no answer", zone: set + "m2.test * SERVFAIL",
			want: "451 4.4.3 no answer from DNS for now; out: 10 m1.test (it has no address), 20 m2.test (no answer about its address for now)",
		},
		{
			name: "MX-21 no answer about the first", zone: set + "m1.test * SERVFAIL\n m2.test A 192.0.2.2",
			want: "mx: 20 m2.test 192.0.2.2; out: 10 m1.test (no answer about its address for now)",
		},
		{
			name: "MX-20 one family fails, the other answers", zone: set + "m1.test AAAA SERVFAIL\n m1.test A 192.0.2.1\n m2.test A 192.0.2.2",
			want: "mx: 10 m1.test 192.0.2.1, 20 m2.test 192.0.2.2",
		},
		{
			name: "MX-20 one family fails, the other is not there", zone: "e.test MX 10 m1.test\n m1.test AAAA SERVFAIL",
			want: "451 4.4.3 no answer from DNS for now; out: 10 m1.test (no answer about its address for now)",
		},
		{
			name: "MX-20, MX-3 the same without MX records", zone: "e.test AAAA SERVFAIL",
			want: "451 4.4.3 no answer from DNS for now; out: 0 e.test (no answer about its address for now)",
		},
		{
			name: "MX-19 without IPv6 nothing is asked about it", router: mx.Router{Family: mx.IPv4Only},
			zone:  set + "m1.test AAAA 2001:db8::1\n m2.test A 192.0.2.2",
			want:  "mx: 20 m2.test 192.0.2.2; out: 10 m1.test (it has no address)",
			asked: []string{"MX e.test", "A m1.test", "A m2.test"},
		},
		{
			name: "MX-19 only IPv6 anywhere", router: mx.Router{Family: mx.IPv4Only}, zone: "e.test MX 10 m1.test\n m1.test AAAA 2001:db8::1",
			want: "550 5.4.4 no usable mail exchanger; out: 10 m1.test (it has no address)",
		},
		{
			name: "MX-19 without IPv4 nothing is asked about it", router: mx.Router{Family: mx.IPv6Only},
			zone:  set + "m1.test A 192.0.2.1\n m2.test AAAA 2001:db8::2",
			want:  "mx: 20 m2.test 2001:db8::2; out: 10 m1.test (it has no address)",
			asked: []string{"MX e.test", "AAAA m1.test", "AAAA m2.test"},
		},
	})
}

func TestRouteEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := mx.Lookup(ctx, zone(t, two), "e.test")
	e, ok := errors.AsType[*mx.Error](err)
	if !ok || !e.Temporary() || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want a temporary one that wraps context.Canceled", err)
	}
	wantFailure(t, err, mx.Canceled)
}
