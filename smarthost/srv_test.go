package smarthost_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// srvAddrs are the addresses of whatever SRV records lead to in these tests.
const srvAddrs = `
$TTL 60
$ORIGIN e.test.
a    A 192.0.2.1
b    A 192.0.2.2
c    A 192.0.2.3
lo   A 127.0.0.1
$ORIGIN other.test.
a    A 198.51.100.1
$ORIGIN e.test.
`

// bySRV is a Table for one domain with the SRV records given.
func bySRV(t *testing.T, notation, records string) (*smarthost.Table, *mxtest.DNS) {
	t.Helper()
	dns := &mxtest.DNS{Zone: srvAddrs + records}
	if err := dns.Validate(); err != nil {
		t.Fatal(err)
	}
	tab := &smarthost.Table{Router: &mx.Router{Resolver: dns}}
	if err := tab.Set(smarthost.Rules{Default: hosts(t, notation)}); err != nil {
		t.Fatal(err)
	}
	return tab, dns
}

const discover = "submission://u:p@e.test?srv=1"

// asked is how often the two services were asked for.
func asked(dns *mxtest.DNS) (submissions, submission int) {
	return dns.Count("_submissions._tcp.e.test", mx.TypeSRV), dns.Count("_submission._tcp.e.test", mx.TypeSRV)
}

func TestDiscovery(t *testing.T) {
	for _, c := range []struct {
		name, notation, records string
		signed                  bool
		want                    string
		identities              string
		implicit                bool
		leftOut                 string
	}{
		{"MX-32 implicit TLS is preferred", discover, "_submissions._tcp SRV 0 1 465 a\n_submission._tcp SRV 0 1 587 b", false,
			"smarthost a.e.test:465[192.0.2.1]", "e.test _submissions.e.test", true, ""},
		{"MX-32 the other where there is none", discover, "_submission._tcp SRV 0 1 587 b", false,
			"smarthost b.e.test:587[192.0.2.2]", "e.test _submission.e.test", false, ""},
		{"MX-32 the other where it is not offered", discover, "_submissions._tcp SRV 0 0 0 .\n_submission._tcp SRV 0 1 588 b", false,
			"smarthost b.e.test:588[192.0.2.2]", "e.test _submission.e.test", false, ""},
		{"MX-32 priority ascending", discover, "_submissions._tcp SRV 20 9 465 a\n_submissions._tcp SRV 10 1 466 b\n_submissions._tcp SRV 30 9 467 c", false,
			"smarthost b.e.test:466[192.0.2.2] a.e.test:465[192.0.2.1] c.e.test:467[192.0.2.3]", "e.test _submissions.e.test", true, ""},
		{"MX-32, TLS-9 outside the domain DNSSEC vouches", discover, "_submissions._tcp SRV 0 1 465 a.other.test.", true,
			"smarthost a.other.test:465[198.51.100.1]", "a.other.test e.test _submissions.e.test", true, ""},
		{"MX-32, TLS-9 outside the domain the operator vouches", discover + "&target=A.other.test", "_submissions._tcp SRV 0 1 465 a.other.test.", false,
			"smarthost a.other.test:465[198.51.100.1]", "a.other.test e.test _submissions.e.test", true, ""},
		{"MX-32 outside the domain nobody vouches", discover, "_submissions._tcp SRV 0 1 465 a.other.test.\n_submissions._tcp SRV 1 1 465 b", false,
			"smarthost b.e.test:465[192.0.2.2]", "e.test _submissions.e.test", true, "a.other.test"},
		{"the domain is a target of its own", discover, "_submissions._tcp SRV 0 1 465 e.test.\n@ A 192.0.2.9", false,
			"smarthost e.test:465[192.0.2.9]", "e.test _submissions.e.test", true, ""},
		{"a loopback address is not dialled", discover, "_submissions._tcp SRV 0 1 465 lo\n_submissions._tcp SRV 1 1 465 b", false,
			"smarthost b.e.test:465[192.0.2.2]", "e.test _submissions.e.test", true, "lo.e.test"},
		{"a port of none, a record twice", discover, "_submissions._tcp SRV 0 1 0 a\n_submissions._tcp SRV 1 1 465 b\n_submissions._tcp SRV 2 1 465 b", false,
			"smarthost b.e.test:465[192.0.2.2]", "e.test _submissions.e.test", true, ""},
		{"MX-32 nobody but suspects", discover, "_submissions._tcp SRV 0 1 465 a.other.test.", false, "4.3.5", "", false, ""},
		{"MX-32 a name that ends alike is outside", discover, "_submissions._tcp SRV 0 1 465 fake-e.test.\nfake-e.test. A 192.0.2.66", false, "4.3.5", "", false, ""},
		{"no records", discover, "", false, "4.3.5", "", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab, dns := bySRV(t, c.notation, c.records)
			dns.SetSigned("e.test", c.signed)
			route, err := tab.Route(t.Context(), "", "z.test")
			if err != nil {
				e, ok := errors.AsType[*mx.Error](err)
				if !ok || e.Enhanced != c.want {
					t.Fatalf("%v, want %s", err, c.want)
				}
				return
			}
			var leftOut []string
			for _, l := range route.LeftOut {
				leftOut = append(leftOut, l.Host.Name)
			}
			h := &route.Hosts[0]
			if got := describe(route); got != c.want || strings.Join(leftOut, " ") != c.leftOut {
				t.Errorf("%s without %v, want %s without %s", got, leftOut, c.want, c.leftOut)
			}
			if got := strings.Join(h.Identities, " "); got != c.identities || h.ImplicitTLS != c.implicit || h.TLS != mx.TLSVerify || h.Login == nil {
				t.Errorf("%+v; want identities %s, implicit %t", h, c.identities, c.implicit)
			}
		})
	}
	t.Run("MX-32 no answer is not the lack of the service", func(t *testing.T) {
		tab, dns := bySRV(t, discover, "_submission._tcp SRV 0 1 587 b")
		if err := dns.Set(mxtest.Rule{Name: "_submissions._tcp.e.test", Fault: mxtest.ServFail}); err != nil {
			t.Fatal(err)
		}
		_, err := tab.Route(t.Context(), "", "z.test")
		if e, ok := errors.AsType[*mx.Error](err); !ok || e.Kind != mx.DNSTrouble {
			t.Errorf("%v, want DNS trouble", err)
		}
		if _, n := asked(dns); n != 0 {
			t.Error("the lesser service was asked for")
		}
	})
}

// TestWeights: 2,000 picks among weights of 1 and 3, and one of 0 that is hardly
// ever first.
func TestWeights(t *testing.T) {
	const picks = 2000
	tab, _ := bySRV(t, discover, "_submissions._tcp SRV 5 3 465 b\n_submissions._tcp SRV 5 0 465 c\n_submissions._tcp SRV 5 1 465 a")
	first := make(map[string]int)
	for range picks {
		route, err := tab.Route(t.Context(), "", "z.test")
		if err != nil || len(route.Hosts) != 3 {
			t.Fatal(describe(route), err)
		}
		first[route.Hosts[0].Name]++
		if route.Hosts[0].Preference >= route.Hosts[1].Preference {
			t.Fatalf("preferences %d and %d would let others shuffle", route.Hosts[0].Preference, route.Hosts[1].Preference)
		}
		tab.Unreachable(&route.Hosts[0]) // so that it is drawn again
	}
	// The standard deviation is 19.
	t.Run("MX-32 weights 1 and 3", func(t *testing.T) {
		if a := first["a.e.test"]; a < 400 || a > 600 || first["c.e.test"] > 40 {
			t.Errorf("first were %v, want a quarter for a.e.test and next to none for c.e.test", first)
		}
	})
}

func TestDiscoveryIsKept(t *testing.T) {
	route := func(t *testing.T, tab *smarthost.Table) mx.Route {
		t.Helper()
		r, err := tab.Route(t.Context(), "", "z.test")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("MX-32 ten messages, one question; after a failure, one more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tab, dns := bySRV(t, discover, "_submissions._tcp SRV 0 1 465 a")
			var changes []string
			tab.Discovered = func(domain string, before, now []string) {
				changes = append(changes, fmt.Sprint(domain, before, now))
			}
			var last mx.Route
			for range 10 {
				last = route(t, tab)
				time.Sleep(time.Minute) // past the TTL
			}
			if n, _ := asked(dns); n != 1 {
				t.Fatalf("asked %d times, want once", n)
			}
			tab.Unreachable(&mx.Host{Name: "elsewhere.test", Port: 465})
			route(t, tab)
			tab.Unreachable(&last.Hosts[0])
			tab.Unreachable(&last.Hosts[0])
			route(t, tab)
			route(t, tab)
			if n, _ := asked(dns); n != 2 {
				t.Errorf("asked %d times after a failure, want twice", n)
			}
			if err := dns.SetZone(srvAddrs + "_submissions._tcp SRV 0 1 465 b"); err != nil {
				t.Fatal(err)
			}
			tab.Unreachable(&last.Hosts[0])
			if got := describe(route(t, tab)); got != "smarthost b.e.test:465[192.0.2.2]" {
				t.Errorf("route %s after a change", got)
			}
			if want := []string{"e.test[] [a.e.test:465]", "e.test[a.e.test:465] [b.e.test:465]"}; !slices.Equal(changes, want) {
				t.Errorf("changes %q, want %q", changes, want)
			}
		})
	})
	t.Run("MX-32 what DNSSEC vouches for, until its TTL ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tab, dns := bySRV(t, discover, "_submissions._tcp SRV 0 1 465 a")
			dns.SetSigned("e.test", true)
			route(t, tab)
			time.Sleep(59 * time.Second)
			route(t, tab)
			if n, _ := asked(dns); n != 1 {
				t.Errorf("asked %d times within the TTL", n)
			}
			time.Sleep(2 * time.Second)
			route(t, tab)
			if n, _ := asked(dns); n != 2 {
				t.Errorf("asked %d times after the TTL, want twice", n)
			}
		})
	})
	t.Run("without an answer the last choice does, and is asked for again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tab, dns := bySRV(t, discover, "_submissions._tcp SRV 0 1 465 a")
			last := route(t, tab)
			if err := dns.Set(mxtest.Rule{Name: "_submissions._tcp.e.test", Fault: mxtest.ServFail, Times: 1}); err != nil {
				t.Fatal(err)
			}
			tab.Unreachable(&last.Hosts[0])
			for range 5 {
				route(t, tab)
			}
			if n, _ := asked(dns); n != 2 {
				t.Errorf("asked %d times in a row", n)
			}
			time.Sleep(11 * time.Second)
			route(t, tab)
			route(t, tab)
			if n, _ := asked(dns); n != 3 {
				t.Errorf("asked %d times after a while, want three times", n)
			}
		})
	})
	t.Run("a firm no is believed", func(t *testing.T) {
		tab, dns := bySRV(t, discover, "_submissions._tcp SRV 0 1 465 a")
		last := route(t, tab)
		if err := dns.SetZone(srvAddrs); err != nil {
			t.Fatal(err)
		}
		tab.Unreachable(&last.Hosts[0])
		for range 2 {
			if r, err := tab.Route(t.Context(), "", "z.test"); err == nil {
				t.Errorf("route %s", describe(r))
			}
		}
	})
	t.Run("many at once share one question", func(t *testing.T) {
		for _, fault := range []mxtest.Fault{mxtest.None, mxtest.ServFail} {
			synctest.Test(t, func(t *testing.T) {
				tab, dns := bySRV(t, discover, "_submissions._tcp SRV 0 1 465 a")
				if err := dns.Set(mxtest.Rule{Name: "_submissions._tcp.e.test", Fault: fault, Delay: time.Second}); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				var group sync.WaitGroup
				for range 20 {
					group.Go(func() {
						if _, err := tab.Route(t.Context(), "", "z.test"); (err == nil) != (fault == mxtest.None) {
							t.Error(err)
						}
					})
				}
				group.Wait()
				if n, _ := asked(dns); n != 1 || time.Since(began) > 2*time.Second {
					t.Errorf("asked %d times in %v", n, time.Since(began))
				}
			})
		}
	})
}
