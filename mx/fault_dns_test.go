package mx_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// aliasChain is zone text of n aliases c0.test, c1.test ... and an end.
func aliasChain(n int, end string) string {
	var b strings.Builder
	b.WriteString("$ORIGIN test.\n$TTL 600\n@ SOA ns root 1 2 3 4 900\nm A 192.0.2.1\n")
	for i := range n {
		fmt.Fprintf(&b, "c%d CNAME c%d\n", i, i+1)
	}
	fmt.Fprintf(&b, "c%d %s\n", n, end)
	return b.String()
}

func TestDNSAliasFaults(t *testing.T) {
	tests := []struct {
		name string
		zone string
		want string
	}{
		{"MX-7 chain of sixteen", aliasChain(16, "MX 10 m"), "mx: 10 m.test 192.0.2.1"},
		{"MX-7 chain of seventeen", aliasChain(17, "MX 10 m"), noAnswer},
		{"MX-7 chain of twenty", aliasChain(20, "MX 10 m"), noAnswer},
		{"MX-7 circle", aliasChain(4, "CNAME c0"), noAnswer},
		{"MX-7 circle that does not come back to the start", aliasChain(4, "CNAME c2"), noAnswer},
		{"MX-7 alias of itself", aliasChain(0, "CNAME c0"), noAnswer},
		{"MX-7 chain that ends in no name", aliasChain(4, "CNAME nowhere"), "550 5.1.2 no such domain"},
		{"MX-7, MX-3 chain to a name with an address alone", aliasChain(4, "A 192.0.2.4"), "implicit: 0 c0.test=c4.test 192.0.2.4"},
		{"MX-7, MX-29 chain to a null MX", aliasChain(4, "MX 0 ."), "556 5.1.10 domain takes no mail"},
	}
	for _, test := range tests {
		for how, rules := range map[string][]mxtest.Rule{
			"all in one response":  nil,
			"one alias a response": {{Fault: mxtest.AliasOnly}},
		} {
			t.Run(test.name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dns := &mxtest.DNS{Zone: test.zone, Rules: rules}
					route, err := overDNS(dns).Route(t.Context(), "c0.test")
					if got := describe(route, err); got != test.want {
						t.Errorf("route is\n\t%s\nwant\n\t%s", got, test.want)
					}
					// Seventeen aliases are known after as many questions; then two for a
					// host, which may be at the end of the chain itself.
					if n := len(dns.Queries()); n > 17+2*17 {
						t.Errorf("%d questions: %q", n, questions(dns))
					}
				})
			})
		}
	}
}

// ttlStep is an attempt at some time, and what DNS answers by then.
type ttlStep struct {
	after time.Duration // since the step before
	set   mxtest.Rule
	want  string
	asked int // questions about the MX records since the start
}

func TestDNSAnswersThatChange(t *testing.T) {
	records := func(text string) mxtest.Rule {
		return mxtest.Rule{Name: "e.test", Type: mx.TypeMX, Records: text}
	}
	const m1, m2 = "mx: 10 m1.e.test 2001:db8::1 192.0.2.1", "mx: 20 m2.e.test 192.0.2.2"
	fault := func(f mxtest.Fault) mxtest.Rule { return mxtest.Rule{Name: "e.test", Type: mx.TypeMX, Fault: f} }
	tests := []struct {
		name  string
		steps []ttlStep
	}{
		{"MX-33 the next attempt past the TTL uses the new host", []ttlStep{
			{set: records("60 MX 10 m1.e.test."), want: m1, asked: 1},
			{after: 59 * time.Second, set: records("60 MX 20 m2.e.test."), want: m1, asked: 1},
			{after: 2 * time.Second, set: records("60 MX 20 m2.e.test."), want: m2, asked: 2},
		}},
		{"MX-33 TTL 0 is for one attempt", []ttlStep{
			{set: records("0 MX 10 m1.e.test."), want: m1, asked: 1},
			{set: records("0 MX 20 m2.e.test."), want: m2, asked: 2},
			{set: records("0 MX 20 m2.e.test."), want: m2, asked: 3},
		}},
		{"MX-33 TTL 2^31 is 0", []ttlStep{
			{set: records("2147483648 MX 10 m1.e.test."), want: m1, asked: 1},
			{set: records("2147483649 MX 20 m2.e.test."), want: m2, asked: 2},
			{set: records("4294967295 MX 10 m1.e.test."), want: m1, asked: 3},
		}},
		{"MX-33 TTL 2^31-1 is a day", []ttlStep{
			{set: records("2147483647 MX 10 m1.e.test."), want: m1, asked: 1},
			{after: 24*time.Hour - time.Second, set: records("60 MX 20 m2.e.test."), want: m1, asked: 1},
			{after: 2 * time.Second, set: records("60 MX 20 m2.e.test."), want: m2, asked: 2},
		}},
		{"MX-33 the least TTL of a set that differs", []ttlStep{
			{set: records("600 MX 10 m1.e.test.\n5 MX 10 m1.e.test.\n300 MX 10 m1.e.test."), want: m1, asked: 1},
			{after: 6 * time.Second, set: records("60 MX 20 m2.e.test."), want: m2, asked: 2},
		}},
		{"MX-33, MX-5 an answer outlives the trouble that comes after it", []ttlStep{
			{set: records("60 MX 10 m1.e.test."), want: m1, asked: 1},
			{after: 59 * time.Second, set: fault(mxtest.ServFail), want: m1, asked: 1},
			{after: 2 * time.Second, set: fault(mxtest.ServFail), want: noAnswer, asked: 2},
			{after: 2 * time.Second, set: records("60 MX 20 m2.e.test."), want: m2, asked: 3},
		}},
		{"MX-34, MX-4 a domain that comes to be", []ttlStep{
			{set: fault(mxtest.NXDomain), want: "550 5.1.2 no such domain", asked: 1},
			{after: 599 * time.Second, set: records("60 MX 20 m2.e.test."), want: "550 5.1.2 no such domain", asked: 1},
			{after: 2 * time.Second, set: records("60 MX 20 m2.e.test."), want: m2, asked: 2},
		}},
		{"MX-34, MX-3 MX records that come to be", []ttlStep{
			{set: fault(mxtest.NoData), want: "implicit: 0 e.test 203.0.113.9", asked: 1},
			{after: 599 * time.Second, set: records("60 MX 20 m2.e.test."), want: "implicit: 0 e.test 203.0.113.9", asked: 1},
			{after: 2 * time.Second, set: records("60 MX 20 m2.e.test."), want: m2, asked: 2},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dns := &mxtest.DNS{Zone: faultZone}
				router := overDNS(dns)
				for i, step := range test.steps {
					time.Sleep(step.after)
					if err := dns.Set(step.set); err != nil {
						t.Fatal(err)
					}
					route, err := router.Route(t.Context(), "e.test")
					if got := describe(route, err); got != step.want {
						t.Errorf("step %d: route is\n\t%s\nwant\n\t%s", i+1, got, step.want)
					}
					if n := dns.Count("e.test", mx.TypeMX); n != step.asked {
						t.Errorf("step %d: MX records asked for %d times, want %d", i+1, n, step.asked)
					}
				}
			})
		})
	}
}

func TestDNSServersDown(t *testing.T) {
	silentDNS := func() *mxtest.DNS {
		return &mxtest.DNS{Zone: faultZone, Rules: []mxtest.Rule{{Fault: mxtest.Timeout}}}
	}
	good := func() *mxtest.DNS { return &mxtest.DNS{Zone: faultZone} }
	failing := func(f mxtest.Fault) func() *mxtest.DNS {
		return func() *mxtest.DNS { return &mxtest.DNS{Zone: faultZone, Rules: []mxtest.Rule{{Fault: f}}} }
	}
	slow := func() *mxtest.DNS {
		return &mxtest.DNS{Zone: faultZone, Rules: []mxtest.Rule{{Delay: 4 * time.Second}}}
	}
	tests := []struct {
		name          string
		first, second func() *mxtest.DNS
		want          string
		took          time.Duration // of the first attempt
		again         time.Duration // of one ten minutes later with the answers gone
		asked         [2]int        // questions to each, both attempts
	}{
		{"MX-5 all resolvers down", silentDNS, silentDNS, noAnswer, 20 * time.Second, 20 * time.Second, [2]int{6, 6}},
		{"MX-5 one of two down, the first", silentDNS, good, wholeRoute, 5 * time.Second, 5 * time.Second, [2]int{3, 10}},
		{"MX-5 one of two down, the second", good, silentDNS, wholeRoute, 0, 0, [2]int{10, 0}},
		{"MX-5 the first fails", failing(mxtest.ServFail), good, wholeRoute, 0, 0, [2]int{10, 10}},
		{"MX-5 the first refuses", failing(mxtest.Refused), good, wholeRoute, 0, 0, [2]int{10, 10}},
		{"MX-5 the first is lame", failing(mxtest.Lame), good, wholeRoute, 0, 0, [2]int{10, 10}},
		{"MX-36 the first finds the data bogus", failing(mxtest.Bogus), good, bogusData, 0, 0, [2]int{2, 0}},
		{"MX-4 the first knows of no such domain", failing(mxtest.NXDomain), good, "550 5.1.2 no such domain", 0, 0, [2]int{2, 0}},
		{"MX-5 slow resolver", slow, good, wholeRoute, 8 * time.Second, 8 * time.Second, [2]int{10, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				servers := []*mxtest.DNS{test.first(), test.second()}
				router := overDNS(servers...)
				for i, want := range []time.Duration{test.took, test.again} {
					began := time.Now()
					route, err := router.Route(t.Context(), "e.test")
					if got := describe(route, err); got != test.want {
						t.Errorf("attempt %d: route is\n\t%s\nwant\n\t%s", i+1, got, test.want)
					}
					if took := time.Since(began); took != want {
						t.Errorf("attempt %d took %v, want %v", i+1, took, want)
					}
					time.Sleep(11 * time.Minute) // past every TTL
				}
				if got := [2]int{len(servers[0].Queries()), len(servers[1].Queries())}; got != test.asked {
					t.Errorf("questions to each server: %v, want %v", got, test.asked)
				}
			})
		})
	}
}

func TestDNSAuthenticData(t *testing.T) {
	signed := map[string]bool{"test": true}
	for _, test := range []struct {
		name    string
		trusted bool
		signed  map[string]bool
		want    bool
	}{
		{"MX-36 AD from an untrusted resolver", false, signed, false},
		{"MX-36 AD from a trusted resolver", true, signed, true},
		{"MX-36 no AD from a trusted resolver", true, nil, false},
		{"MX-36 AD for all but the domain", true, map[string]bool{"test": true, "e.test": false, "m1.e.test": true}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dns := &mxtest.DNS{Zone: faultZone, Signed: test.signed}
				client := &mx.Client{Servers: []mx.Server{{Addr: first, TrustAD: test.trusted}}, Dial: dns.Dial}
				route, err := mx.Lookup(t.Context(), &mx.Cache{Resolver: client}, "e.test")
				if err != nil {
					t.Fatal(err)
				}
				if route.Secure != test.want {
					t.Errorf("the route is secure: %v, want %v", route.Secure, test.want)
				}
				if host := route.Hosts[0]; !test.trusted && (host.Secure != mx.Insecure || host.NameSecure != mx.Insecure) {
					t.Errorf("host %+v is secure by the word of a stranger", host)
				}
				for _, q := range dns.Queries() {
					if !q.AD && !q.DO || q.CD || !q.RD || q.UDPSize < 512 {
						t.Errorf("query %+v; want AD or DO, no CD, RD, and EDNS", q)
					}
				}
			})
		})
	}
}

func TestDNSQueriesAreUnguessable(t *testing.T) {
	t.Run("MX-5 ids are random", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: faultZone}
		client := &mx.Client{Servers: []mx.Server{{Addr: first}}, Dial: dns.Dial}
		for range 64 {
			if _, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil {
				t.Fatal(err)
			}
		}
		var ids []uint16
		for _, q := range dns.Queries() {
			ids = append(ids, q.ID)
		}
		slices.Sort(ids)
		if distinct := len(slices.Compact(slices.Clone(ids))); distinct < 60 || ids[len(ids)-1]-ids[0] < 1<<14 {
			t.Errorf("64 queries have %d ids from %d to %d", distinct, ids[0], ids[len(ids)-1])
		}
	})
}
