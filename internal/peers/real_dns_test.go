//go:build linux

package peers_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
)

const (
	authority = "127.0.0.1"
	recursor  = "127.0.0.53"
)

// plainZone is what an operator writes, less the SOA and NS records that the rig
// puts before it.
const plainZone = `
@        NS    ns
ns       A     127.0.0.1
@        MX    30 c
@        MX    10 a
@        MX    20 b
@        A     127.9.9.9
a        A     127.0.1.1
b        A     127.0.1.2
b        AAAA  ::1
c        A     127.0.1.3
bare     A     127.0.1.4
text     TXT   "no mail here"
null     MX    0 .
alias    CNAME @
one      CNAME two
two      CNAME three
three    CNAME four
four     MX    10 a
dangling CNAME nowhere
round    CNAME about
about    CNAME round
old      DNAME new
x.new    MX    10 b
*.wild   MX    10 c
dead     MX    10 nowhere
dead     MX    20 text
other    MX    10 viaalias
viaalias CNAME a
child    NS    ns.elsewhere.invalid.
`

// secureZone has a host outside of what is signed.
const secureZone = `
@        NS    ns
ns       A     127.0.0.1
@        MX    10 a
a        A     127.0.1.1
bare     A     127.0.1.4
alias    CNAME @
outside  MX    10 a.plain.test.
first    MX    10 step
step     CNAME a.plain.test.
`

// hundred is a domain of a hundred hosts.
func hundred() string {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "many MX %d host-number-%d\nhost-number-%d A 127.0.2.%d\n", i, i, i, i)
	}
	return b.String()
}

// realDNS is BIND with four zones, and Unbound in front of it, which has an
// anchor for secure.test and the wrong one for bogus.test.
type realDNS struct{ bind, unbound *peers.Server }

func startDNS(t *testing.T) *realDNS {
	t.Helper()
	d := &realDNS{bind: peers.BIND(authority, map[string]string{
		"plain.test":  plainZone + hundred(),
		"secure.test": secureZone,
		"bogus.test":  secureZone,
		"broken.test": "@ MX ten mail",
	}, "secure.test", "bogus.test")}
	d.bind.Start(t)
	secure := peers.Anchor(t, authority, "secure.test.")
	d.unbound = peers.Unbound(recursor, authority, []string{"plain.test", "secure.test", "bogus.test", "broken.test"},
		[]string{secure, strings.Replace(secure, "secure.test.", "bogus.test.", 1)})
	d.unbound.Start(t)
	return d
}

// ask is a Router over a Cache over a Client of one server.
func ask(ip string, trusted bool) *mx.Router {
	client := &mx.Client{Servers: []mx.Server{{Addr: ip + ":53", TrustAD: trusted}}}
	return &mx.Router{Resolver: &mx.Cache{Resolver: client}, AllowLoopback: true}
}

// hosts is a route in short: "10 a.plain.test, 20 b.plain.test", or the codes of
// the error.
func hosts(route mx.Route, err error) string {
	if e, ok := errors.AsType[*mx.Error](err); ok {
		return fmt.Sprintf("%d %s %v", e.Code, e.Enhanced, e.Kind)
	} else if err != nil {
		return err.Error()
	}
	var all []string
	for _, h := range route.Hosts {
		all = append(all, fmt.Sprintf("%d %s", h.Preference, h.Name))
	}
	return strings.Join(all, ", ")
}

const later = "451 4.4.3 no answer from DNS for now"

func TestRealRoutes(t *testing.T) {
	startDNS(t)
	const all = "10 a.plain.test, 20 b.plain.test, 30 c.plain.test"
	for _, test := range []struct {
		name, domain, want string
	}{
		{"MX-15 order of preference", "plain.test", all},
		{"MX-6 alias of the domain", "alias.plain.test", all},
		{"MX-7 three aliases", "one.plain.test", "10 a.plain.test"},
		{"MX-7 the end of the alias does not exist", "dangling.plain.test", "550 5.1.2 no such domain"},
		{"MX-7 aliases in a circle", "round.plain.test", later},
		{"MX-7 DNAME", "x.old.plain.test", "10 b.plain.test"},
		{"MX-3 no data is an implicit MX", "bare.plain.test", "0 bare.plain.test"},
		{"MX-4 no such name", "nowhere.plain.test", "550 5.1.2 no such domain"},
		{"MX-37 neither MX nor address", "text.plain.test", "550 5.1.2 domain has neither a mail exchanger nor an address"},
		{"MX-29 null MX", "null.plain.test", "556 5.1.10 domain takes no mail"},
		{"MX-21 hosts without addresses", "dead.plain.test", "550 5.4.4 no usable mail exchanger"},
		{"MX-8 a host that is an alias", "other.plain.test", "10 viaalias.plain.test"},
		{"wildcard", "any.thing.wild.plain.test", "10 c.plain.test"},
		{"MX-5 a zone that did not load", "broken.test", later},
		{"MX-5 a delegation to nobody", "child.plain.test", later},
	} {
		t.Run(test.name, func(t *testing.T) {
			for server, ip := range map[string]string{"BIND": authority, "Unbound": recursor} {
				if got := hosts(ask(ip, false).Route(t.Context(), test.domain)); got != test.want {
					t.Errorf("by %s the route is %s, want %s", server, got, test.want)
				}
			}
		})
	}
	t.Run("MX-35 a hundred hosts come over TCP", func(t *testing.T) {
		for server, ip := range map[string]string{"BIND": authority, "Unbound": recursor} {
			route, err := ask(ip, false).Route(t.Context(), "many.plain.test")
			if n := len(route.Hosts) + len(route.LeftOut); err != nil || n != 100 || len(route.Hosts) != 16 {
				t.Errorf("by %s: %d hosts of %d, %v; want 16 of 100", server, len(route.Hosts), n, err)
			}
		}
	})
	t.Run("MX-5 another server's zone", func(t *testing.T) {
		_, err := ask(authority, false).Route(t.Context(), "nexthop.example")
		re, ok := errors.AsType[*mx.ResolveError](err)
		if !ok || re.Kind != mx.QueryRefused {
			t.Errorf("error is %v, want refused", err)
		}
	})
}

func TestRealDNSSEC(t *testing.T) {
	startDNS(t)
	for _, test := range []struct {
		name, domain      string
		server            string
		trusted           bool
		secure            bool        // the MX records
		host, nameOfAlias mx.Security // the first host, and the first step to it
	}{
		{"MX-36 signed, by a trusted resolver", "secure.test", recursor, true, true, mx.Secure, mx.Secure},
		{"MX-36 signed, by another", "secure.test", recursor, false, false, mx.Insecure, mx.Insecure},
		{"MX-36 signed, by the authority itself", "secure.test", authority, true, false, mx.Insecure, mx.Insecure},
		{"MX-36 not signed", "plain.test", recursor, true, false, mx.Insecure, mx.Insecure},
		{"MX-36 absence of MX records", "bare.secure.test", recursor, true, true, mx.Secure, mx.Secure},
		{"MX-36 alias of the domain", "alias.secure.test", recursor, true, true, mx.Secure, mx.Secure},
		{"MX-36 host that is not signed", "outside.secure.test", recursor, true, true, mx.Insecure, mx.Insecure},
		{"MX-36 signed alias of a host that is not", "first.secure.test", recursor, true, true, mx.Insecure, mx.Secure},
	} {
		t.Run(test.name, func(t *testing.T) {
			route, err := ask(test.server, test.trusted).Route(t.Context(), test.domain)
			if err != nil {
				t.Fatal(err)
			}
			h := route.Hosts[0]
			if route.Secure != test.secure || h.Secure != test.host || h.NameSecure != test.nameOfAlias {
				t.Errorf("secure: MX %v, host %v, its name %v; want %v, %v, %v",
					route.Secure, h.Secure, h.NameSecure, test.secure, test.host, test.nameOfAlias)
			}
		})
	}
	t.Run("MX-36, MX-2 bogus data is no absence", func(t *testing.T) {
		for _, domain := range []string{"bogus.test", "bare.bogus.test", "nowhere.bogus.test"} {
			route, err := ask(recursor, true).Route(t.Context(), domain)
			if got := hosts(route, err); got != "451 4.4.3 DNS answer fails validation" {
				t.Errorf("%s: route is %s, want a validation failure", domain, got)
			}
			if re, ok := errors.AsType[*mx.ResolveError](err); !ok || re.Kind != mx.Bogus {
				t.Errorf("%s: error is %v, want bogus", domain, err)
			}
		}
	})
	t.Run("MX-36 absence of a name", func(t *testing.T) {
		client := &mx.Client{Servers: []mx.Server{{Addr: recursor + ":53", TrustAD: true}}}
		a, err := client.Resolve(t.Context(), "nowhere.secure.test", mx.TypeMX)
		if err != nil || a.Status != mx.NXDomain || !a.Secure || a.TTL <= 0 {
			t.Errorf("answer is %+v, %v; want a secure absence with a TTL", a, err)
		}
	})
}

func TestRealDNSOutage(t *testing.T) {
	d := startDNS(t)
	client := &mx.Client{Servers: []mx.Server{{Addr: recursor + ":53"}}, Timeout: time.Second}
	router := &mx.Router{Resolver: &mx.Cache{Resolver: client}, AllowLoopback: true}
	d.bind.Stop()
	t.Run("MX-5, MX-2 the authority is down: no address instead", func(t *testing.T) {
		if got := hosts(router.Route(t.Context(), "plain.test")); got != later {
			t.Errorf("route is %s, want %s", got, later)
		}
	})
	d.bind.Restart(t)
	t.Run("MX-5, MX-33 routes are there again, and outlive an outage within their TTL", func(t *testing.T) {
		peers.Eventually(t, "a route", func() bool {
			_, err := router.Route(t.Context(), "plain.test")
			return err == nil
		})
		d.bind.Stop()
		if got := hosts(router.Route(t.Context(), "plain.test")); !strings.HasPrefix(got, "10 a.plain.test") {
			t.Errorf("with the answer still good the route is %s", got)
		}
	})
	t.Run("MX-5 the resolver is gone too", func(t *testing.T) {
		d.unbound.Stop()
		began := time.Now()
		if got := hosts(ask(recursor, false).Route(t.Context(), "plain.test")); got != later {
			t.Errorf("route is %s, want %s", got, later)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("it took %v to find that nobody listens", took)
		}
		second := &mx.Client{Servers: []mx.Server{{Addr: recursor + ":53"}, {Addr: authority + ":53"}}}
		d.bind.Restart(t)
		if got := hosts(mx.Lookup(t.Context(), second, "null.plain.test")); !strings.HasPrefix(got, "556") {
			t.Errorf("with one of two servers down the answer is %s", got)
		}
	})
}

func TestRealZoneChanges(t *testing.T) {
	bind := peers.BIND(authority, map[string]string{"e.test": "@ 1 MX 10 a\na A 127.0.1.1\nb A 127.0.1.2\n"})
	bind.Start(t)
	t.Run("MX-33 the next attempt uses the new host", func(t *testing.T) {
		router := ask(authority, false)
		if got := hosts(router.Route(t.Context(), "e.test")); got != "10 a.e.test" {
			t.Fatalf("route is %s, want a.e.test", got)
		}
		bind.Stop()
		zone := bind.Path("/etc/bind/zone.e.test")
		text, err := os.ReadFile(zone)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(zone, []byte(strings.Replace(string(text), "MX 10 a", "MX 20 b", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		bind.Restart(t)
		peers.Eventually(t, "the new host", func() bool {
			return hosts(router.Route(t.Context(), "e.test")) == "20 b.e.test"
		})
	})
}
