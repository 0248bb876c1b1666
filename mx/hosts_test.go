package mx_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
)

func TestAddresses(t *testing.T) {
	const hosts = `
		relay.test MX 10 other.test
		relay.test A 192.0.2.1
		relay.test AAAA 2001:db8::1
		alias.test CNAME relay.test
		none.test TXT here
		dead.test * SERVFAIL
		bogus.test * BOGUS
		inside.test A 10.0.0.1 169.254.0.1 127.0.0.1
		nobody.test A 0.0.0.0 224.0.0.1
		many.test A 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5
	`
	tests := []struct {
		name   string
		host   string
		router mx.Router
		want   string
		asked  []string
	}{
		{name: "MX-31 addresses and nothing else", host: "relay.test", want: "0 relay.test 2001:db8::1 192.0.2.1", asked: []string{"A relay.test", "AAAA relay.test"}},
		{name: "MX-31, I18N-3 any spelling", host: "RELAY.test.", want: "0 relay.test 2001:db8::1 192.0.2.1"},
		{name: "alias", host: "alias.test", want: "0 alias.test=relay.test 2001:db8::1 192.0.2.1"},
		{name: "one family", host: "relay.test", router: mx.Router{Family: mx.IPv4Only}, want: "0 relay.test 192.0.2.1", asked: []string{"A relay.test"}},
		{name: "family order", host: "relay.test", router: mx.Router{Order: mx.PreferIPv4}, want: "0 relay.test 192.0.2.1 2001:db8::1"},
		{name: "limit", host: "many.test", want: "0 many.test 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4"},
		{name: "limit of one's own", host: "many.test", router: mx.Router{MaxAddrsPerHost: 2}, want: "0 many.test 192.0.2.1 192.0.2.2"},
		{name: "MX-28 this host's name and address mean what they say", host: "relay.test", router: mx.Router{Self: []string{"relay.test"}, SelfAddrs: addrs("192.0.2.1")}, want: "0 relay.test 2001:db8::1 192.0.2.1"},
		{name: "loopback, link-local and private", host: "inside.test", router: mx.Router{RefusePrivate: true}, want: "0 inside.test 10.0.0.1 169.254.0.1 127.0.0.1"},
		{name: "unspecified and multicast", host: "nobody.test", want: "451 4.3.5 cannot be routed as configured"},
		{name: "localhost is known", host: "localhost", want: "0 localhost ::1 127.0.0.1", asked: []string{}},
		{name: "localhost in one family", host: "localhost", router: mx.Router{Family: mx.IPv4Only}, want: "0 localhost 127.0.0.1"},
		{name: "address", host: "192.0.2.7", want: "0 [192.0.2.7] 192.0.2.7", asked: []string{}},
		{name: "address in brackets", host: "[127.0.0.1]", want: "0 [127.0.0.1] 127.0.0.1"},
		{name: "IPv6 address in brackets", host: "[::1]", want: "0 [IPv6:::1] ::1"},
		{name: "IPv6 address with its tag", host: "[ipv6:2001:db8::7]", want: "0 [IPv6:2001:db8::7] 2001:db8::7"},
		{name: "IPv6 address bare", host: "2001:db8::7", want: "0 [IPv6:2001:db8::7] 2001:db8::7"},
		{name: "link-local address with its zone", host: "[fe80::1%eth0]", want: "0 [IPv6:fe80::1%eth0] fe80::1%eth0"},
		{name: "unspecified address in brackets", host: "[0.0.0.0]", want: "451 4.3.5 cannot be routed as configured", asked: []string{}},
		{name: "address of the other family", host: "[::1]", router: mx.Router{Family: mx.IPv4Only}, want: "451 4.3.5 cannot be routed as configured"},
		{name: "no such name", host: "gone.test", want: "451 4.3.5 cannot be routed as configured"},
		{name: "no address", host: "none.test", want: "451 4.3.5 cannot be routed as configured"},
		{name: "no answer", host: "dead.test", want: "451 4.4.3 no answer from DNS for now"},
		{name: "bogus", host: "bogus.test", want: "451 4.4.3 DNS answer fails validation"},
		{name: "no name", host: "a b", want: "451 4.3.5 cannot be routed as configured", asked: []string{}},
		{name: "no address in brackets", host: "[relay.test]", want: "451 4.3.5 cannot be routed as configured", asked: []string{}},
		{name: "nothing", host: "", want: "451 4.3.5 cannot be routed as configured", asked: []string{}},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.name, func(t *testing.T) {
			f := zone(t, hosts)
			test.router.Resolver = f
			host, err := test.router.Addresses(t.Context(), test.host)
			got := describeHost(host)
			if e, ok := errors.AsType[*mx.Error](err); ok {
				got = fmt.Sprintf("%d %s %v", e.Code, e.Enhanced, e.Kind)
			} else if err != nil {
				t.Fatalf("error is a %T", err)
			}
			if got != test.want {
				t.Errorf("host is %s, want %s", got, test.want)
			}
			asked := questions(f)
			if test.asked != nil && !sameSet(asked, test.asked) {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
			if strings.Contains(strings.Join(asked, " "), "MX") {
				t.Errorf("MX-31: asked %q, want no question about MX", asked)
			}
		})
	}
}

func TestAddressesSecurity(t *testing.T) {
	for _, test := range []struct {
		secure           []string
		host, nameSecure mx.Security
	}{
		{nil, mx.Insecure, mx.Insecure}, {[]string{"a.test", "b.test"}, mx.Secure, mx.Secure},
		{[]string{"a.test"}, mx.Insecure, mx.Secure}, {[]string{"b.test"}, mx.Insecure, mx.Insecure},
	} {
		dns := wideZone(t, "a.test CNAME b.test\n b.test A 192.0.2.1")
		sign(dns, test.secure)
		r := mx.Router{Resolver: &mx.Client{Servers: []mx.Server{{Addr: first, TrustAD: true}}, Dial: dns.Dial}}
		host, err := r.Addresses(t.Context(), "a.test")
		if err != nil || host.Secure != test.host || host.NameSecure != test.nameSecure {
			t.Errorf("MX-36 with %v secure: host, name secure are %v, %v, %v; want %v, %v", test.secure, host.Secure, host.NameSecure, err, test.host, test.nameSecure)
		}
	}
}
