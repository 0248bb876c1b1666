package mx_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

const loop = "554 5.4.6 mail exchangers point back to this host"

// hosts gives a.test to d.test an address each.
const hosts = "\n a.test A 192.0.2.1\n b.test A 192.0.2.2\n c.test A 192.0.2.3\n d.test A 192.0.2.4\n"

func TestRouteWithoutSelfByName(t *testing.T) {
	b := func() mx.Router { return mx.Router{Self: []string{"b.test"}} }
	runRoutes(t, []routeCase{
		{
			name: "MX-24 this host, its equals and everything worse", router: b(),
			zone:  "e.test MX 10 a.test\n e.test MX 20 b.test\n e.test MX 20 c.test\n e.test MX 30 d.test" + hosts,
			want:  "mx: 10 a.test 192.0.2.1; out: 20 b.test (it is this host), 20 c.test (it is no better than this host), 30 d.test (it is no better than this host)",
			asked: []string{"MX e.test", "A a.test", "AAAA a.test"},
		},
		{
			name: "MX-24 equals go too, better ones stay", router: b(),
			zone: "e.test MX 10 a.test\n e.test MX 10 b.test\n e.test MX 5 d.test" + hosts,
			want: "mx: 5 d.test 192.0.2.4; out: 10 a.test (it is no better than this host), 10 b.test (it is this host)",
		},
		{
			name: "MX-24, MX-26 nobody is left", router: b(),
			zone:  "e.test MX 10 a.test\n e.test MX 10 b.test\n e.test MX 20 c.test\n e.test A 192.0.2.9" + hosts,
			want:  loop + "; out: 10 a.test (it is no better than this host), 10 b.test (it is this host), 20 c.test (it is no better than this host)",
			asked: []string{"MX e.test"},
		},
		{
			name: "MX-25 case, final dot", router: mx.Router{Self: []string{"B.Test."}}, zone: "e.test MX 10 b.test" + hosts,
			want: loop + "; out: 10 b.test (it is this host)",
		},
		{
			name: "I18N-3, MX-25 this host in U-labels", router: mx.Router{Self: []string{"bücher.test"}}, zone: "e.test MX 10 XN--BCHER-kva.test.",
			want: loop + "; out: 10 xn--bcher-kva.test (it is this host)",
		},
		{
			name: "MX-25 an exchanger that is an alias of this host", router: b(), zone: "e.test MX 10 m.test\n m.test CNAME b.test" + hosts,
			want: loop + "; out: 10 m.test=b.test (it is this host)",
		},
		{
			name: "MX-26 a better host without an address is not a loop", router: b(), zone: "e.test MX 10 x.test\n e.test MX 20 b.test" + hosts,
			want: "550 5.4.4 no usable mail exchanger; out: 10 x.test (it has no address), 20 b.test (it is this host)",
		},
		{
			name: "MX-26 a better host without an answer is for later", router: b(), zone: "e.test MX 10 x.test\n x.test * SERVFAIL\n e.test MX 20 b.test" + hosts,
			want: "451 4.4.3 no answer from DNS for now; out: 10 x.test (no answer about its address for now), 20 b.test (it is this host)",
		},
		{
			name: "MX-26 no MX, and the domain is this host", router: mx.Router{Self: []string{"e.test"}}, zone: "e.test A 192.0.2.9",
			want: loop + "; out: 0 e.test (it is this host)",
		},
		{
			name: "MX-28 this host is removed before anything is known about the others", router: b(),
			zone:  "e.test MX 20 b.test\n e.test MX 30 c.test\n e.test MX 10 a.test\n a.test * SERVFAIL" + strings.ReplaceAll(hosts, "a.test A 192.0.2.1\n", "\n"),
			want:  "451 4.4.3 no answer from DNS for now; out: 10 a.test (no answer about its address for now), 20 b.test (it is this host), 30 c.test (it is no better than this host)",
			asked: []string{"MX e.test", "A a.test", "AAAA a.test"},
		},
		{
			name: "MX-26 no MX, and the domain is this host under another name", router: mx.Router{Self: []string{"e.test"}}, zone: "e.test CNAME f.test\n f.test A 192.0.2.9",
			want: loop + "; out: 0 f.test (it is this host)",
		},
		{name: "a sender that gives no name is removed nowhere", zone: "e.test MX 10 b.test" + hosts, want: "mx: 10 b.test 192.0.2.2"},
	})
}

// onEth0 is interfaces with the addresses given.
func onEth0(texts ...string) func() ([]net.Addr, error) {
	return func() ([]net.Addr, error) {
		list := []net.Addr{&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)}}
		for _, a := range addrs(texts...) {
			list = append(list, &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())})
		}
		return list, nil
	}
}

func TestRouteWithoutSelfByAddress(t *testing.T) {
	const set = "e.test MX 10 a.test\n e.test MX 20 b.test\n e.test MX 30 c.test" + hosts
	const two = "mx: 10 a.test 192.0.2.1; out: 20 b.test (it is this host), 30 c.test (it is no better than this host)"
	runRoutes(t, []routeCase{
		{name: "MX-25 address outside a NAT", router: mx.Router{SelfAddrs: addrs("192.0.2.2")}, zone: set, want: two},
		{name: "MX-25 written as IPv4 in IPv6", router: mx.Router{SelfAddrs: addrs("::ffff:192.0.2.2")}, zone: set, want: two},
		{name: "MX-25 address literal as a name", router: mx.Router{Self: []string{"[192.0.2.2]"}}, zone: set, want: two},
		{name: "MX-25 address of an interface, relaying", router: mx.Router{Relay: true, InterfaceAddrs: onEth0("192.0.2.2")}, zone: set, want: two},
		{
			name: "MX-25 interfaces and the outside of a NAT", router: mx.Router{Relay: true, InterfaceAddrs: onEth0("10.0.0.1"), SelfAddrs: addrs("192.0.2.2")},
			zone: set, want: two,
		},
		{
			name: "address of an interface, not relaying", router: mx.Router{InterfaceAddrs: onEth0("192.0.2.2")}, zone: set,
			want: "mx: 10 a.test 192.0.2.1, 20 b.test 192.0.2.2, 30 c.test 192.0.2.3",
		},
		{
			name: "MX-25 one address of several is enough", router: mx.Router{SelfAddrs: addrs("2001:db8::2")}, zone: set + "b.test AAAA 2001:db8::1 2001:db8::2", want: two,
		},
		{
			name: "MX-26 no MX, and the address is this host's", router: mx.Router{SelfAddrs: addrs("192.0.2.9")}, zone: "e.test A 192.0.2.9",
			want: loop + "; out: 0 e.test (it is this host)",
		},
		{
			name: "MX-28 a worse host is not tried where a better one is this host", router: mx.Router{SelfAddrs: addrs("192.0.2.1")}, zone: set,
			want: loop + "; out: 10 a.test (it is this host), 20 b.test (it is no better than this host), 30 c.test (it is no better than this host)",
		},
	})
}

func TestRouteWithLoopback(t *testing.T) {
	const set = "e.test MX 10 a.test\n e.test MX 20 l.test\n e.test MX 30 c.test" + hosts
	const kept = "mx: 10 a.test 192.0.2.1; out: 20 l.test (it is this host), 30 c.test (it is no better than this host)"
	var tests []routeCase
	for _, addr := range []string{
		"A 127.0.0.1", "A 127.8.8.8", "A 0.0.0.0", "A 0.1.2.3", "A 255.255.255.255", "A 224.0.0.1", "AAAA ::1", "AAAA ::",
		"AAAA ff02::1", "AAAA ::ffff:127.0.0.1",
	} {
		tests = append(tests, routeCase{name: "MX-25 counts as this host: " + addr, zone: set + "l.test " + addr, want: kept})
	}
	tests = append(tests, []routeCase{
		{
			name: "MX-25 localhost is this host whatever DNS says", zone: "e.test MX 10 localhost.\n localhost A 192.0.2.9",
			want: loop + "; out: 10 localhost (it is this host)", asked: []string{"MX e.test"},
		},
		{
			name: "localhost where allowed", router: mx.Router{AllowLoopback: true}, zone: "e.test MX 10 localhost.\n localhost A 127.0.0.1",
			want: "mx: 10 localhost 127.0.0.1",
		},
		{
			name: "MX-25 and names below it", zone: "e.test MX 10 mail.localhost.",
			want: loop + "; out: 10 mail.localhost (it is this host)", asked: []string{"MX e.test"},
		},
		{
			name: "MX-25 loopback among others is left out alone", zone: set + "l.test A 127.0.0.1 192.0.2.7",
			want: "mx: 10 a.test 192.0.2.1, 20 l.test 192.0.2.7, 30 c.test 192.0.2.3",
		},
		{
			name: "loopback where allowed", router: mx.Router{AllowLoopback: true}, zone: set + "l.test A 127.0.0.1\n l.test AAAA ::1",
			want: "mx: 10 a.test 192.0.2.1, 20 l.test ::1 127.0.0.1, 30 c.test 192.0.2.3",
		},
		{
			name: "loopback where allowed, relaying", router: mx.Router{AllowLoopback: true, Relay: true, InterfaceAddrs: onEth0("192.0.2.99")},
			zone: set + "l.test A 127.0.0.1", want: "mx: 10 a.test 192.0.2.1, 20 l.test 127.0.0.1, 30 c.test 192.0.2.3",
		},
		{
			name: "MX-25 loopback where allowed, given as an own address", router: mx.Router{AllowLoopback: true, SelfAddrs: addrs("127.0.0.9")},
			zone: set + "l.test A 127.0.0.9", want: kept,
		},
		{
			name: "MX-25 unspecified even where loopback is allowed", router: mx.Router{AllowLoopback: true}, zone: set + "l.test A 0.0.0.0", want: kept,
		},
		{
			name: "MX-25 loopback in one family, no answer in the other", zone: "e.test MX 10 l.test\n l.test A 127.0.0.1\n l.test AAAA SERVFAIL",
			want: "451 4.4.3 no answer from DNS for now; out: 10 l.test (no answer about its address for now)",
		},
		{
			name: "MX-25, MX-26 no MX and a loopback address", zone: "e.test A 127.0.0.1",
			want: loop + "; out: 0 e.test (it is this host)",
		},
		{
			name: "MX-25 link-local is left out", zone: set + "l.test A 169.254.169.254\n l.test AAAA fe80::1",
			want: "mx: 10 a.test 192.0.2.1, 30 c.test 192.0.2.3; out: 20 l.test (its address is not to be dialled)",
		},
		{
			name: "link-local where allowed", router: mx.Router{AllowLinkLocal: true}, zone: "e.test MX 10 l.test\n l.test A 169.254.1.1",
			want: "mx: 10 l.test 169.254.1.1",
		},
		{
			name: "private addresses where refused", router: mx.Router{RefusePrivate: true}, zone: set + "l.test A 10.0.0.1\n l.test AAAA fd00::1",
			want: "mx: 10 a.test 192.0.2.1, 30 c.test 192.0.2.3; out: 20 l.test (its address is not to be dialled)",
		},
		{
			name: "private addresses where not", zone: set + "l.test A 10.0.0.1",
			want: "mx: 10 a.test 192.0.2.1, 20 l.test 10.0.0.1, 30 c.test 192.0.2.3",
		},
		{
			name: "no MX and a private address", router: mx.Router{RefusePrivate: true}, zone: "e.test A 10.0.0.1",
			want: "550 5.4.4 no usable mail exchanger; out: 0 e.test (its address is not to be dialled)",
		},
	}...)
	runRoutes(t, tests)
}

// TestSelfBeyondTheLimit: where a preference has more hosts than a route takes, this
// host is found among all of them.
func TestSelfBeyondTheLimit(t *testing.T) {
	set := func(n int) string {
		var b strings.Builder
		b.WriteString("e.test MX 20 worse.test\n worse.test A 198.51.100.250\n e.test MX 5 best.test\n best.test A 198.51.100.251\n")
		for i := range n {
			fmt.Fprintf(&b, "e.test MX 10 h%d.test\n h%d.test A 198.51.100.%d\n", i, i, i+1)
		}
		return b.String()
	}
	const want = "mx: 5 best.test 198.51.100.251"
	for name, r := range map[string]*mx.Router{
		"an address outside a NAT": {SelfAddrs: addrs("198.51.100.7")},
		"an address literal":       {Self: []string{"[198.51.100.7]"}},
		"an interface":             {Relay: true, InterfaceAddrs: onEth0("198.51.100.7")},
	} {
		t.Run("MX-24, MX-25 known by "+name, func(t *testing.T) {
			r.Resolver = zone(t, set(40))
			for range 50 { // in any order of the equals
				route, err := r.Route(t.Context(), "e.test")
				if got, _, _ := strings.Cut(describe(route, err), ";"); got != want {
					t.Fatalf("route is %s, want %s", got, want)
				}
			}
		})
	}
	t.Run("the lookups are bounded", func(t *testing.T) {
		dns := zone(t, set(200))
		r := &mx.Router{Resolver: dns, SelfAddrs: addrs("192.0.2.1")}
		if _, err := r.Route(t.Context(), "e.test"); err != nil {
			t.Fatal(err)
		}
		if n := len(dns.Queries()); n > 1+2*(16+64) {
			t.Errorf("%d questions", n)
		}
	})
	t.Run("a host that knows no address of its own asks no more than before", func(t *testing.T) {
		dns := zone(t, set(40))
		route, err := (&mx.Router{Resolver: dns}).Route(t.Context(), "e.test")
		if err != nil || len(route.Hosts) != 16 {
			t.Fatalf("%d hosts, %v", len(route.Hosts), err)
		}
		if n := len(dns.Queries()); n != 1+2*16 {
			t.Errorf("%d questions, want those of the route", n)
		}
	})
}

func TestPermits(t *testing.T) {
	public := []string{"192.0.2.1", "8.8.8.8", "2001:db8::1", "2a00::1", "64:ff9b::808:808", "2002:808:808::1", "172.32.0.1", "100.128.0.1", "198.20.0.1"}
	private := []string{
		"10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.0.1", "240.0.0.1", "fd12::1", "fec0::1",
		"64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:a00:1::1", "2002:7f00:1::", "::808:808",
		"64:ff9b::6440:1", "2002:a9fe:101::", "64:ff9b::e000:1",
	}
	never := []string{"127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "169.254.0.1", "fe80::1", "::ffff:127.0.0.1", "::ffff:169.254.0.1", "fe80::1%eth0"}
	open, strict := &mx.Router{}, &mx.Router{RefusePrivate: true}
	check := func(r *mx.Router, want bool, texts []string) {
		t.Helper()
		for _, a := range addrs(texts...) {
			if got := r.Permits(a); got != want {
				t.Errorf("Permits(%v) is %v with RefusePrivate %v, want %v", a, got, r.RefusePrivate, want)
			}
		}
	}
	check(open, true, public)
	check(open, true, private)
	check(open, false, never)
	check(strict, true, public)
	check(strict, false, private)
	check(strict, false, never)
	if open.Permits(netip.Addr{}) {
		t.Error("permits no address")
	}
}

func TestRouteKeepsWatchOfInterfaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		address, calls := "192.0.2.1", 0
		r := mx.Router{
			Resolver: zone(t, "e.test MX 10 a.test"+hosts), Relay: true,
			InterfaceAddrs: func() ([]net.Addr, error) {
				calls++
				return onEth0(address)()
			},
		}
		isLoop := func() bool {
			_, err := r.Route(t.Context(), "e.test")
			e, ok := errors.AsType[*mx.Error](err)
			return ok && e.Kind == mx.MailLoop
		}
		if first, second := isLoop(), isLoop(); !first || !second || calls != 1 {
			t.Fatalf("looked at the interfaces %d times, want 1; and the host is this one", calls)
		}
		address = "192.0.2.77"
		time.Sleep(59 * time.Second)
		if !isLoop() {
			t.Error("looked again within a minute")
		}
		time.Sleep(time.Second)
		if isLoop() {
			t.Error("the address changed a minute ago")
		}
	})
}

func TestRouteWithUnknownInterfaces(t *testing.T) {
	cause := errors.New("permission denied")
	r := mx.Router{Resolver: zone(t, two), Relay: true, InterfaceAddrs: func() ([]net.Addr, error) { return nil, cause }}
	_, err := r.Route(t.Context(), "e.test")
	e, ok := errors.AsType[*mx.Error](err)
	if !ok || !e.Temporary() || !errors.Is(err, cause) {
		t.Errorf("error is %v, want a temporary one with its cause", err)
	}
}

func TestRouterValidate(t *testing.T) {
	r := &mx.Router{
		Self: []string{"ok.test", "a..b"}, SelfAddrs: append(addrs("192.0.2.1"), netip.Addr{}), Family: 9, Order: 9, SelfPorts: []uint16{0},
		MaxHosts: -1, MaxAddrsPerHost: -1, MaxAddrs: -1,
	}
	err := r.Validate()
	for _, field := range []string{"Resolver", "Self[1]", "SelfAddrs[1]", "SelfPorts", "Family", "Order", "MaxHosts", "MaxAddrsPerHost", "MaxAddrs"} {
		if err == nil || !strings.Contains(err.Error(), "mx.Router."+field+":") {
			t.Errorf("nothing about %s in %v", field, err)
		}
	}
	_, routeErr := r.Route(t.Context(), "e.test")
	_, hostErr := r.Addresses(t.Context(), "e.test")
	for name, err := range map[string]error{"Route": routeErr, "Addresses": hostErr} {
		if e, ok := errors.AsType[*mx.Error](err); !ok || !e.Temporary() {
			t.Errorf("%s gives %v, want a temporary error", name, err)
		}
	}
	if err := (&mx.Router{Resolver: zone(t, ""), Self: []string{"localhost", "[192.0.2.1]", "bücher.test"}}).Validate(); err != nil {
		t.Errorf("a sound router has %v", err)
	}
}

// TestIsSelf is about hosts that the operator named.
func TestIsSelf(t *testing.T) {
	host := func(name, target string, list ...string) *mx.Host {
		return &mx.Host{Name: name, Target: target, Addrs: addrs(list...)}
	}
	at := func(port uint16, h *mx.Host) *mx.Host {
		h.Port = port
		return h
	}
	for _, test := range []struct {
		name   string
		router *mx.Router
		host   *mx.Host
		want   bool
	}{
		{"somebody else", &mx.Router{Self: []string{"us.test"}}, host("relay.test", "relay.test", "192.0.2.1"), false},
		{"MX-28 by name, in any spelling of ours", &mx.Router{Self: []string{"US.test."}}, host("us.test", "us.test", "192.0.2.1"), true},
		{"MX-28 by an alias of ours", &mx.Router{Self: []string{"us.test"}}, host("relay.test", "us.test", "192.0.2.1"), true},
		{"MX-28 by an address said to be ours", &mx.Router{SelfAddrs: addrs("192.0.2.1")}, host("relay.test", "relay.test", "192.0.2.9", "192.0.2.1"), true},
		{"the interfaces of a sender do not count", &mx.Router{InterfaceAddrs: onEth0("192.0.2.1")}, host("relay.test", "relay.test", "192.0.2.1"), false},
		{"MX-28 the interfaces of a relay do", &mx.Router{Relay: true, InterfaceAddrs: onEth0("192.0.2.1")}, host("relay.test", "relay.test", "192.0.2.1"), true},
		{"MX-28 another port of an interface is another server", &mx.Router{Relay: true, InterfaceAddrs: onEth0("192.0.2.1")}, at(10026, host("relay.test", "relay.test", "192.0.2.1")), false},
		{"MX-28 another port of ours by name", &mx.Router{Self: []string{"us.test"}}, at(10026, host("us.test", "us.test", "192.0.2.1")), false},
		{"MX-28 another port of an address said to be ours", &mx.Router{SelfAddrs: addrs("192.0.2.1")}, at(587, host("relay.test", "relay.test", "192.0.2.1")), false},
		{"MX-28 port 25", &mx.Router{SelfAddrs: addrs("192.0.2.1")}, at(25, host("relay.test", "relay.test", "192.0.2.1")), true},
		{"MX-28 a port of our own", &mx.Router{SelfAddrs: addrs("192.0.2.1"), SelfPorts: []uint16{2525, 587}}, at(587, host("relay.test", "relay.test", "192.0.2.1")), true},
		{"MX-28 a port that is not known, where we are elsewhere", &mx.Router{SelfAddrs: addrs("192.0.2.1"), SelfPorts: []uint16{2525}}, host("relay.test", "relay.test", "192.0.2.1"), true},
		{"MX-28 port 25 where we are elsewhere", &mx.Router{SelfAddrs: addrs("192.0.2.1"), SelfPorts: []uint16{2525}}, at(25, host("relay.test", "relay.test", "192.0.2.1")), false},
		{"loopback may be a proxy", &mx.Router{Relay: true, InterfaceAddrs: onEth0("127.0.0.1")}, host("localhost", "localhost", "127.0.0.1"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.router.Resolver = zone(t, "")
			if got, err := test.router.IsSelf(test.host); got != test.want || err != nil {
				t.Errorf("%v, %v; want %v", got, err, test.want)
			}
		})
	}
	for name, r := range map[string]*mx.Router{
		"no resolver": {}, "no interfaces": {Resolver: zone(t, ""), Relay: true, InterfaceAddrs: func() ([]net.Addr, error) { return nil, errors.New("broken") }},
	} {
		_, err := r.IsSelf(host("relay.test", "relay.test"))
		if e, ok := errors.AsType[*mx.Error](err); !ok || !e.Temporary() {
			t.Errorf("%s: %v, want a temporary error", name, err)
		}
	}
}
