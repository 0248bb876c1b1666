package mx_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// The faults that want real sockets.

// serve is a server on loopback for the length of the test.
func serve(t testing.TB, s *mxtest.Server) *mxtest.Server {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the DNS server: %v", err)
		}
	})
	return s
}

// overSockets is a Router over a Cache over a Client of the servers.
func overSockets(servers ...*mxtest.Server) *mx.Router {
	client := &mx.Client{}
	for _, s := range servers {
		client.Servers = append(client.Servers, mx.Server{Addr: s.Addr()})
	}
	return &mx.Router{Resolver: &mx.Cache{Resolver: client}, Rand: asGiven}
}

func TestDNSOverSockets(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run("MX-5 ports are not the same twice, "+listen, func(t *testing.T) {
			dns := &mxtest.DNS{Zone: faultZone}
			server := serve(t, &mxtest.Server{DNS: dns, Listen: listen})
			router := overSockets(server)
			client := router.Resolver.(*mx.Cache).Resolver.(*mx.Client)
			client.Dial = new(net.Dialer).DialContext // as to a server on another machine
			route, err := router.Route(t.Context(), "e.test")
			if got := describe(route, err); got != wholeRoute {
				t.Errorf("route is\n\t%s\nwant\n\t%s", got, wholeRoute)
			}
			ports := map[uint16]bool{}
			for _, q := range dns.Queries() {
				from, err := netip.ParseAddrPort(q.Client)
				if err != nil {
					t.Fatal(err)
				}
				ports[from.Port()] = true
			}
			if len(ports) < 4 {
				t.Errorf("%d questions came from %d ports", len(dns.Queries()), len(ports))
			}
		})
	}
	t.Run("MX-5 all resolvers down", func(t *testing.T) {
		dead := []*mxtest.Server{serve(t, &mxtest.Server{}), serve(t, &mxtest.Server{})}
		router := overSockets(dead...)
		for _, s := range dead {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		_, err := router.Route(t.Context(), "e.test")
		if got := describe(mx.Route{}, err); got != noAnswer {
			t.Errorf("route is %s, want %s", got, noAnswer)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v does not say that the connection was refused", err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("it took %v, as if closed ports were silent", took)
		}
	})
	t.Run("MX-5 one of two down", func(t *testing.T) {
		dead, good := serve(t, &mxtest.Server{}), serve(t, &mxtest.Server{DNS: &mxtest.DNS{Zone: faultZone}})
		router := overSockets(dead, good)
		if err := dead.Close(); err != nil {
			t.Fatal(err)
		}
		route, err := router.Route(t.Context(), "e.test")
		if got := describe(route, err); got != wholeRoute {
			t.Errorf("route is\n\t%s\nwant\n\t%s", got, wholeRoute)
		}
	})
}

// sixty is zone text of sixty hosts, too many for a datagram.
const sixty = `
	$ORIGIN e.test.
	$TTL 60
	$GENERATE 1-60 @ 60 MX $ a-rather-long-name-of-a-host-$
	* A 192.0.2.1`

func TestDNSTruncationOverSockets(t *testing.T) {
	t.Run("MX-35 sixty hosts", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: sixty}
		route, err := overSockets(serve(t, &mxtest.Server{DNS: dns})).Route(t.Context(), "e.test")
		if err != nil {
			t.Fatal(err)
		}
		if got := len(route.Hosts) + len(route.LeftOut); got != 60 {
			t.Errorf("the route knows of %d hosts, want all 60", got)
		}
		if q := dns.Queries(); q[0].Transport != "udp" || q[1].Transport != "tcp" || q[1].Type != mx.TypeMX {
			t.Errorf("queries are %+v, want the second over TCP", q[:2])
		}
	})
	t.Run("MX-35 TCP refused, and room enough over UDP", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: sixty}
		route, err := overSockets(serve(t, &mxtest.Server{DNS: dns, NoTCP: true})).Route(t.Context(), "e.test")
		if got := len(route.Hosts) + len(route.LeftOut); err != nil || got != 60 {
			t.Errorf("the route knows of %d hosts, want all 60; %v", got, err)
		}
	})
	t.Run("MX-35 TCP refused, and too much for UDP", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: strings.ReplaceAll(sixty, "1-60", "1-200")}
		_, err := overSockets(serve(t, &mxtest.Server{DNS: dns, NoTCP: true})).Route(t.Context(), "e.test")
		if got := describe(mx.Route{}, err); got != noAnswer {
			t.Errorf("route is %s, want %s", got, noAnswer)
		}
		re, ok := errors.AsType[*mx.ResolveError](err)
		if !ok || re.Kind != mx.Truncated || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error is %v, want truncated and the connection refused", err)
		}
		wantNoAddressOf(t, dns, "e.test")
	})
}

// largest is the greatest n for which the answer to the MX or address question
// about e.test still fits a message of 65,535 bytes.
func largest(t *testing.T, dns *mxtest.DNS, client *mx.Client, typ mx.Type, zoneOf func(n int) string) int {
	t.Helper()
	fits := func(n int) bool {
		if err := dns.SetZone(zoneOf(n)); err != nil {
			t.Fatal(err)
		}
		_, err := client.Resolve(t.Context(), "e.test", typ)
		return err == nil
	}
	low, high := 1000, 5000
	if !fits(low) || fits(high) {
		t.Fatalf("the largest set is not between %d and %d", low, high)
	}
	for high-low > 1 {
		if middle := (low + high) / 2; fits(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	fits(low)
	return low
}

func TestDNSLargestSets(t *testing.T) {
	dns := &mxtest.DNS{}
	server := serve(t, &mxtest.Server{DNS: dns})
	client := &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}}
	route := func(t *testing.T) (mx.Route, error) {
		dns.Forget()
		return overSockets(server).Route(t.Context(), "e.test")
	}
	t.Run("MX-35, MX-17 largest MX set", func(t *testing.T) {
		n := largest(t, dns, client, mx.TypeMX, func(n int) string {
			return fmt.Sprintf("$ORIGIN e.test.\n$GENERATE 1-%d @ 60 MX $ h${0,4,d}\n* 60 A 192.0.2.1", n)
		})
		if n < 2900 {
			t.Errorf("only %d records fit", n)
		}
		r, err := route(t)
		if err != nil {
			t.Fatal(err)
		}
		if all := len(r.Hosts) + len(r.LeftOut) + r.Unlisted; all != n || len(r.Hosts) != 16 || len(r.LeftOut) != 100 {
			t.Errorf("%d hosts, %d left out, %d more; want 16, 100 and all of %d", len(r.Hosts), len(r.LeftOut), r.Unlisted, n)
		}
		for i, h := range r.Hosts {
			if int(h.Preference) != i+1 {
				t.Errorf("host %d has preference %d, want the best ones", i, h.Preference)
			}
		}
		if asked := len(dns.Queries()); asked != 2+2*16 {
			t.Errorf("%d questions, want 34: MX records over UDP and TCP, two for each host", asked)
		}
	})
	for name, test := range map[string]struct {
		typ    mx.Type
		zoneOf func(n int) string
		more   int
	}{
		"IPv4": {mx.TypeA, manyAddresses, 4000},
		"IPv6": {mx.TypeAAAA, func(n int) string {
			return fmt.Sprintf("$ORIGIN e.test.\n$GENERATE 1-%d @ 60 AAAA 2001:db8::${0,4,x}\n", n)
		}, 2300},
	} {
		t.Run("MX-35, MX-17 largest set of addresses, "+name, func(t *testing.T) {
			n := largest(t, dns, client, test.typ, test.zoneOf)
			if n < test.more {
				t.Errorf("only %d records fit", n)
			}
			r, err := route(t)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Hosts) != 1 || len(r.Hosts[0].Addrs) != 4 {
				t.Errorf("route is %s, want four addresses", describe(r, nil))
			}
		})
	}
}

// manyAddresses is zone text of n IPv4 addresses.
func manyAddresses(n int) string {
	text := "$ORIGIN e.test.\n"
	for block := 0; n > 0; block++ {
		text += fmt.Sprintf("$GENERATE 0-%d @ 60 A 198.18.%d.$\n", min(n, 256)-1, block)
		n -= 256
	}
	return text
}
