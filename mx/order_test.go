package mx_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// level is n hosts of one preference, each with an address.
func level(n, preference int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "e.test MX %d h%d-%d.test\n h%d-%d.test A 192.0.2.1\n", preference, preference, i, preference, i)
	}
	return b.String()
}

// names is the hosts of a route.
func names(r mx.Route) []string {
	var list []string
	for _, h := range r.Hosts {
		list = append(list, h.Name)
	}
	return list
}

// chiSquare of counts against all being equally often.
func chiSquare(counts map[string]int, kinds int) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	want := float64(total) / float64(kinds)
	sum := float64(kinds-len(counts)) * want
	for _, n := range counts {
		sum += (float64(n) - want) * (float64(n) - want) / want
	}
	return sum
}

// critical is where chi-square has p = 0.001, by degrees of freedom. The source
// of randomness is seeded: the test does not fail once in a thousand runs.
var critical = map[int]float64{1: 10.83, 2: 13.82, 5: 20.52}

func TestRouteShufflesEquals(t *testing.T) {
	const draws = 3000
	for n, orders := range map[int]int{2: 2, 3: 6} {
		t.Run(fmt.Sprintf("MX-16 %d equals, each order equally often", n), func(t *testing.T) {
			seeded := rand.New(rand.NewPCG(1, uint64(n)))
			r := mx.Router{Resolver: zone(t, level(n, 10)+level(1, 5)), Rand: seeded.IntN}
			all, first := make(map[string]int), make(map[string]int)
			for range draws {
				route, err := r.Route(t.Context(), "e.test")
				if err != nil || route.Hosts[0].Name != "h5-0.test" {
					t.Fatalf("MX-15: route is %v, %v; want preference 5 first", names(route), err)
				}
				equals := names(route)[1:]
				all[fmt.Sprint(equals)]++
				first[equals[0]]++
			}
			if x := chiSquare(all, orders); x > critical[orders-1] {
				t.Errorf("orders %v: chi-square %.1f", all, x)
			}
			if x := chiSquare(first, n); x > critical[n-1] {
				t.Errorf("first hosts %v: chi-square %.1f", first, x)
			}
		})
	}
	t.Run("MX-15 all of a preference before any of a larger one, in a hundred routes", func(t *testing.T) {
		r := mx.Router{Resolver: zone(t, level(1, 65535)+level(2, 10)+level(1, 0))}
		for range 100 {
			route, err := r.Route(t.Context(), "e.test")
			var got []uint16
			for _, h := range route.Hosts {
				got = append(got, h.Preference)
			}
			if err != nil || !slices.Equal(got, []uint16{0, 10, 10, 65535}) {
				t.Fatalf("preferences %v, %v", got, err)
			}
		}
	})
	t.Run("MX-16 without a source given, each attempt has an order of its own", func(t *testing.T) {
		r := mx.Router{Resolver: zone(t, level(4, 10))}
		seen := make(map[string]int)
		for range 2400 {
			route, err := r.Route(t.Context(), "e.test")
			if err != nil {
				t.Fatal(err)
			}
			seen[fmt.Sprint(names(route))]++
		}
		if len(seen) != 24 {
			t.Errorf("%d of 24 orders in 2400 attempts", len(seen))
		}
		for order, n := range seen {
			if math.Abs(float64(n)-100) > 60 { // six standard deviations
				t.Errorf("%s came %d times, want about 100", order, n)
			}
		}
	})
	t.Run("MX-16 a host named twice does not win more often", func(t *testing.T) {
		seeded := rand.New(rand.NewPCG(2, 2))
		r := mx.Router{Resolver: zone(t, level(2, 10)+"e.test MX 10 h10-0.test\n e.test MX 10 h10-0.test"), Rand: seeded.IntN}
		first := make(map[string]int)
		for range draws {
			route, err := r.Route(t.Context(), "e.test")
			if err != nil || len(route.Hosts) != 2 {
				t.Fatalf("route is %v, %v", names(route), err)
			}
			first[route.Hosts[0].Name]++
		}
		if x := chiSquare(first, 2); x > critical[1] {
			t.Errorf("first hosts %v: chi-square %.1f", first, x)
		}
	})
}

func TestRouteLimitsHosts(t *testing.T) {
	tests := []struct {
		name   string
		zone   string
		max    int
		want   map[uint16]int // hosts by preference
		left   int
		mxAddr int
	}{
		{name: "sixteen of one preference", zone: level(20, 10), want: map[uint16]int{10: 16}, left: 4},
		{name: "one of each preference before a second of any", zone: level(20, 10) + level(2, 20) + level(1, 30), want: map[uint16]int{10: 14, 20: 1, 30: 1}, left: 7},
		{name: "the best preferences where there are too many", zone: level(2, 1) + level(1, 2) + level(1, 3) + level(1, 4), max: 3, want: map[uint16]int{1: 1, 2: 1, 3: 1}, left: 2},
		{name: "all where they fit", zone: level(3, 1) + level(3, 2), want: map[uint16]int{1: 3, 2: 3}},
		{name: "MX-17 one counts as two", zone: level(3, 1), max: 1, want: map[uint16]int{1: 2}, left: 1},
		{name: "no more hosts than addresses", zone: level(9, 1), mxAddr: 5, want: map[uint16]int{1: 5}, left: 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := mx.Router{Resolver: zone(t, test.zone), MaxHosts: test.max, MaxAddrs: test.mxAddr}
			route, err := r.Route(t.Context(), "e.test")
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[uint16]int)
			last := uint16(0)
			for _, h := range route.Hosts {
				got[h.Preference]++
				if h.Preference < last {
					t.Errorf("preference %d after %d", h.Preference, last)
				}
				last = h.Preference
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("hosts by preference are %v, want %v", got, test.want)
			}
			if len(route.LeftOut) != test.left {
				t.Errorf("%d left out, want %d", len(route.LeftOut), test.left)
			}
			for _, l := range route.LeftOut {
				if l.Reason != mx.OverLimit {
					t.Errorf("%s: %v", l.Host.Name, l.Reason)
				}
			}
		})
	}
	t.Run("MX-28 this host is found beyond the limit", func(t *testing.T) {
		r := mx.Router{Resolver: zone(t, level(1, 5)+level(30, 10)+level(3, 20)), Self: []string{"h10-29.test"}}
		route, err := r.Route(t.Context(), "e.test")
		if err != nil || !slices.Equal(names(route), []string{"h5-0.test"}) {
			t.Errorf("route is %v, %v; want the one better host", names(route), err)
		}
	})
	t.Run("MX-21 hosts beyond the limit may be of use another time", func(t *testing.T) {
		var b strings.Builder
		for i := range 17 {
			fmt.Fprintf(&b, "e.test MX 10 h%d.test\n", i)
		}
		route, err := mx.Lookup(t.Context(), zone(t, b.String()), "e.test")
		if got := describe(route, err); !strings.HasPrefix(got, "451 4.4.3") {
			t.Errorf("got %s, want a temporary error: one host was not asked about", got)
		}
	})
}

func TestRouteLimitsHostsThatAreNoBetter(t *testing.T) {
	t.Run("MX-26 hosts beyond the limit that are no better than this one do not matter", func(t *testing.T) {
		r := mx.Router{
			Resolver:  zone(t, "e.test MX 5 gone.test\n"+level(20, 10)),
			SelfAddrs: addrs("192.0.2.1"), // all of them
		}
		route, err := r.Route(t.Context(), "e.test")
		if got := describe(route, err); !strings.HasPrefix(got, "550 5.4.4") {
			t.Errorf("got %s, want a permanent error: the only better host has no address", got)
		}
	})
}

func TestRouteAddressOrder(t *testing.T) {
	const both = "e.test MX 10 a.test\n a.test A 192.0.2.1\n a.test A 192.0.2.2\n a.test A 192.0.2.3\n a.test AAAA 2001:db8::1\n a.test AAAA 2001:db8::2\n a.test AAAA 2001:db8::3"
	const split = "e.test MX 10 six.test\n e.test MX 20 four.test\n six.test AAAA 2001:db8::1\n four.test A 192.0.2.1"
	runRoutes(t, []routeCase{
		{
			name: "MX-18 the resolver's order", zone: "e.test MX 10 a.test\n a.test A 192.0.2.3\n a.test A 192.0.2.1\n a.test A 192.0.2.2",
			want: "mx: 10 a.test 192.0.2.3 192.0.2.1 192.0.2.2",
		},
		{name: "MX-18 families take turns", zone: both, want: "mx: 10 a.test 2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2"},
		{name: "MX-18 IPv4 first", router: mx.Router{Order: mx.PreferIPv4}, zone: both, want: "mx: 10 a.test 192.0.2.1 192.0.2.2 2001:db8::1 2001:db8::2"},
		{name: "MX-18 IPv6 first", router: mx.Router{Order: mx.PreferIPv6}, zone: both, want: "mx: 10 a.test 2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2"},
		{
			name: "MX-18 the family that is first has the odd address", router: mx.Router{Order: mx.PreferIPv4, MaxAddrsPerHost: 3}, zone: both,
			want: "mx: 10 a.test 192.0.2.1 192.0.2.2 2001:db8::1",
		},
		{
			name: "MX-18 IPv4 first does not cross preferences", router: mx.Router{Order: mx.PreferIPv4}, zone: split,
			want: "mx: 10 six.test 2001:db8::1, 20 four.test 192.0.2.1",
		},
		{
			name: "both families where one has many", zone: "e.test MX 10 a.test\n a.test A 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5\n a.test AAAA 2001:db8::1",
			want: "mx: 10 a.test 2001:db8::1 192.0.2.1 192.0.2.2 192.0.2.3",
		},
		{name: "an address twice", zone: "e.test MX 10 a.test\n a.test A 192.0.2.1 192.0.2.1\n a.test AAAA ::ffff:192.0.2.1", want: "mx: 10 a.test 192.0.2.1"},
		{
			name: "MX-17 one address each counts as two", router: mx.Router{MaxAddrsPerHost: 1}, zone: both,
			want: "mx: 10 a.test 2001:db8::1 192.0.2.1",
		},
	})
}

func TestRouteLimitsAddresses(t *testing.T) {
	count := func(r mx.Route) (total int, per []int) {
		for _, h := range r.Hosts {
			per = append(per, len(h.Addrs))
			total += len(h.Addrs)
		}
		return total, per
	}
	many := func(hosts, addrs int) string {
		var b strings.Builder
		for i := range hosts {
			fmt.Fprintf(&b, "e.test MX 10 h%d.test\n", i)
			for j := range addrs {
				fmt.Fprintf(&b, "h%d.test A 192.0.2.%d\n h%d.test AAAA 2001:db8::%d\n", i, j+1, i, j+1)
			}
		}
		return b.String()
	}
	tests := []struct {
		name          string
		hosts, addrs  int
		router        mx.Router
		want          int
		most, fewest  int // addresses of a host
		bothFamilies  bool
		wantHostCount int
	}{
		{name: "thirty-two in all, every host its share", hosts: 16, addrs: 4, want: 32, most: 2, fewest: 2, bothFamilies: true, wantHostCount: 16},
		{name: "four each", hosts: 3, addrs: 4, want: 12, most: 4, fewest: 4, bothFamilies: true, wantHostCount: 3},
		{name: "MX-17 five of twenty", hosts: 5, addrs: 2, router: mx.Router{MaxAddrs: 5}, want: 5, most: 1, fewest: 1, wantHostCount: 5},
		{name: "MX-17 five of twenty, two hosts", hosts: 2, addrs: 5, router: mx.Router{MaxAddrs: 5}, want: 5, most: 3, fewest: 2, bothFamilies: true, wantHostCount: 2},
		{name: "MX-17 one counts as two", hosts: 4, addrs: 2, router: mx.Router{MaxAddrs: 1}, want: 2, most: 1, fewest: 1, wantHostCount: 2},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.name, func(t *testing.T) {
			test.router.Resolver = zone(t, many(test.hosts, test.addrs))
			route, err := test.router.Route(t.Context(), "e.test")
			if err != nil {
				t.Fatal(err)
			}
			total, per := count(route)
			if total != test.want || slices.Max(per) != test.most || slices.Min(per) != test.fewest || len(per) != test.wantHostCount {
				t.Errorf("addresses by host are %v, want %d in all, %d to %d each", per, test.want, test.fewest, test.most)
			}
			for _, h := range route.Hosts {
				if test.bothFamilies && h.Addrs[0].Is4() == h.Addrs[1].Is4() {
					t.Errorf("%s has %v, want both families", h.Name, h.Addrs)
				}
			}
		})
	}
}

// hugeSets is a zone whose sets are n large.
func hugeSets(t testing.TB, n int) *mxtest.DNS {
	t.Helper()
	var b strings.Builder
	b.WriteString("one.test MX 10 one.test\n")
	for i := range n {
		fmt.Fprintf(&b, "e.test MX %d h%d.test\nh%d.test A 192.0.2.1\n", i%40, i, i)
		fmt.Fprintf(&b, "one.test A 192.0.%d.%d\n", i>>8, i&255)
		fmt.Fprintf(&b, "none.test MX %d 192.0.2.1.\n", i)
	}
	return zone(t, b.String())
}

func TestRouteOfHugeSets(t *testing.T) {
	const n = 5000
	dns := hugeSets(t, n)
	t.Run("five thousand hosts", func(t *testing.T) {
		dns.Forget()
		route, err := mx.Lookup(t.Context(), dns, "e.test")
		if err != nil {
			t.Fatal(err)
		}
		if len(route.Hosts) != 16 || len(route.LeftOut) != 100 || route.Unlisted != n-16-100 {
			t.Errorf("%d hosts, %d left out, %d unlisted; want 16, 100 and the rest", len(route.Hosts), len(route.LeftOut), route.Unlisted)
		}
		if asked := len(dns.Queries()); asked != 1+2*16 {
			t.Errorf("%d questions, want 33", asked)
		}
		for i, h := range route.Hosts {
			if int(h.Preference) != i {
				t.Errorf("host %d has preference %d, want one of each", i, h.Preference)
			}
		}
	})
	t.Run("five thousand addresses", func(t *testing.T) {
		route, err := mx.Lookup(t.Context(), dns, "one.test")
		if err != nil || len(route.Hosts) != 1 || len(route.Hosts[0].Addrs) != 4 || cap(route.Hosts[0].Addrs) > 64 {
			t.Errorf("route is %s, %v; want four addresses", describe(route, err), err)
		}
	})
	t.Run("five thousand records of no use", func(t *testing.T) {
		_, err := mx.Lookup(t.Context(), dns, "none.test")
		if got := describe(mx.Route{}, err); len(got) > 20000 || !strings.HasPrefix(got, "550 5.4.4") {
			t.Errorf("got %.200s (%d bytes)", got, len(got))
		}
	})
}
