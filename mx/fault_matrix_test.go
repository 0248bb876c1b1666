package mx_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// Every way of getting no answer, at every question that a route asks, through
// the whole of the package: Router, Cache and Client, real messages, and the
// time that it takes.

// overDNS is a Router over a Cache over a Client that asks one server for each
// DNS given, in order. Equals keep the order of the records.
func overDNS(servers ...*mxtest.DNS) *mx.Router {
	addresses := []string{first, second}
	client := &mx.Client{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == second {
				return servers[1].Dial(ctx, network, address)
			}
			return servers[0].Dial(ctx, network, address)
		},
	}
	for i := range servers {
		client.Servers = append(client.Servers, mx.Server{Addr: addresses[i]})
	}
	return &mx.Router{Resolver: &mx.Cache{Resolver: client}, Rand: asGiven}
}

// faultZone has two hosts for e.test, an address of e.test that nobody may ask
// for, a domain without MX records, and an alias.
const faultZone = `
	$ORIGIN test.
	$TTL 600
	@      SOA   ns root 1 2 3 4 900
	e      MX    10 m1.e
	e      MX    20 m2.e
	e      A     203.0.113.9
	m1.e   A     192.0.2.1
	m1.e   AAAA  2001:db8::1
	m2.e   A     192.0.2.2
	bare   A     192.0.2.3
	alias  CNAME e`

const (
	wholeRoute = "mx: 10 m1.e.test 2001:db8::1 192.0.2.1, 20 m2.e.test 192.0.2.2"
	noAnswer   = "451 4.4.3 no answer from DNS for now"
	bogusData  = "451 4.4.3 DNS answer fails validation"
)

// dnsFaults are the ways of getting no answer, and those that end in one all the
// same.
var dnsFaults = []struct {
	name     string
	rule     mxtest.Rule
	answered bool
}{
	{"SERVFAIL", mxtest.Rule{Fault: mxtest.ServFail}, false},
	{"REFUSED", mxtest.Rule{Fault: mxtest.Refused}, false},
	{"FORMERR", mxtest.Rule{Fault: mxtest.FormErr}, false},
	{"FORMERR to EDNS alone", mxtest.Rule{Fault: mxtest.FormErr, Times: 1}, true},
	{"NOTIMP", mxtest.Rule{Fault: mxtest.NotImp}, false},
	{"bogus data", mxtest.Rule{Fault: mxtest.Bogus}, false},
	{"lame delegation", mxtest.Rule{Fault: mxtest.Lame}, false},
	{"timeout", mxtest.Rule{Fault: mxtest.Timeout}, false},
	{"one lost datagram", mxtest.Rule{Fault: mxtest.Timeout, Times: 1}, true},
	{"slow resolver", mxtest.Rule{Delay: 4 * time.Second}, true},
	{"resolver that is too slow", mxtest.Rule{Delay: 6 * time.Second}, false},
	{"truncation with TCP", mxtest.Rule{Fault: mxtest.Truncated}, true},
	{"truncation without TCP", mxtest.Rule{Fault: mxtest.TruncatedAlways}, false},
	{"wrong id", mxtest.Rule{Fault: mxtest.WrongID}, false},
	{"wrong id before the answer", mxtest.Rule{Fault: mxtest.WrongID, ThenAnswer: true}, true},
	{"wrong question", mxtest.Rule{Fault: mxtest.WrongQuestion}, false},
	{"wrong question before the answer", mxtest.Rule{Fault: mxtest.WrongQuestion, ThenAnswer: true}, true},
	{"answer for another name", mxtest.Rule{Fault: mxtest.OtherName}, false},
	{"garbage", mxtest.Rule{Fault: mxtest.Garbage}, false},
	{"garbage before the answer", mxtest.Rule{Fault: mxtest.Garbage, ThenAnswer: true}, true},
	{"malformed record", mxtest.Rule{Fault: mxtest.Malformed}, false},
	{"malformed record before the answer", mxtest.Rule{Fault: mxtest.Malformed, ThenAnswer: true}, true},
	{"FORMERR in a bare header", mxtest.Rule{Fault: mxtest.BareFormErr}, false},
	{"BADVERS", mxtest.Rule{Fault: mxtest.BadVers}, false},
	{"reset", mxtest.Rule{Fault: mxtest.Reset}, false},
	{"response that is cut", mxtest.Rule{Fault: mxtest.Cut}, false},
	{"empty response of a server that does not recurse", mxtest.Rule{Fault: mxtest.NotServed}, false},
	{"OPT among the answers", mxtest.Rule{Fault: mxtest.Misplaced}, true},
	{"records that are not counted", mxtest.Rule{Fault: mxtest.Uncounted}, false},
	{"records and no such name", mxtest.Rule{Fault: mxtest.Contradicts}, false},
	{"records of another type", mxtest.Rule{Fault: mxtest.OtherType}, false},
	{"records of another class", mxtest.Rule{Fault: mxtest.OtherClass}, false},
	{"records in another section", mxtest.Rule{Fault: mxtest.OtherSection}, false},
	{"another opcode", mxtest.Rule{Fault: mxtest.OtherOpcode}, false},
	{"another opcode before the answer", mxtest.Rule{Fault: mxtest.OtherOpcode, ThenAnswer: true}, true},
}

// faultPlaces are the questions of a route that may meet a fault, and what
// becomes of the route then. noAnswer in want stands for bogusData where that is
// the fault.
var faultPlaces = []struct {
	row    string
	name   string
	domain string
	at     string
	t      mx.Type
	want   string // where there is no answer
	whole  string // where there is
	never  string // a name whose address is not asked for
}{
	{"MX-5, MX-2", "at the MX records", "e.test", "e.test", mx.TypeMX, noAnswer, wholeRoute, "e.test"},
	{"MX-5, MX-6", "at the end of the domain's alias", "alias.test", "e.test", mx.TypeMX, noAnswer, wholeRoute, "e.test"},
	{"MX-21", "at the first host", "e.test", "m1.e.test", 0,
		"mx: 20 m2.e.test 192.0.2.2; out: 10 m1.e.test (no answer about its address for now)", wholeRoute, "e.test"},
	{"MX-20", "at one family of the first host", "e.test", "m1.e.test", mx.TypeAAAA,
		"mx: 10 m1.e.test 192.0.2.1, 20 m2.e.test 192.0.2.2", wholeRoute, "e.test"},
	{"MX-21, MX-2", "at all hosts", "e.test", "*.e.test", 0,
		noAnswer + "; out: 10 m1.e.test (no answer about its address for now), 20 m2.e.test (no answer about its address for now)",
		wholeRoute, "e.test"},
	{"MX-5, MX-3", "at a domain without MX records", "bare.test", "bare.test", mx.TypeA,
		noAnswer + "; out: 0 bare.test (no answer about its address for now)", "implicit: 0 bare.test 192.0.2.3", ""},
	{"MX-20, MX-3", "at the family that such a domain does not have", "bare.test", "bare.test", mx.TypeAAAA,
		"implicit: 0 bare.test 192.0.2.3", "implicit: 0 bare.test 192.0.2.3", ""},
}

func TestDNSFaults(t *testing.T) {
	for _, fault := range dnsFaults {
		for _, place := range faultPlaces {
			t.Run(place.row+" "+fault.name+" "+place.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rule := fault.rule
					rule.Name, rule.Type = place.at, place.t
					dns := &mxtest.DNS{Zone: faultZone, Rules: []mxtest.Rule{rule}}
					router := overDNS(dns)
					want := place.want
					switch {
					case fault.answered:
						want = place.whole
					case rule.Fault == mxtest.Bogus:
						want = strings.ReplaceAll(want, noAnswer, bogusData)
					}
					began := time.Now()
					route, err := router.Route(t.Context(), place.domain)
					if got := describe(route, err); got != want {
						t.Errorf("route is\n\t%s\nwant\n\t%s", got, want)
					}
					if took := time.Since(began); took > 20*time.Second {
						t.Errorf("it took %v, want at most the time of two tries at two questions", took)
					}
					wantNoAddressOf(t, dns, place.never)
					recovers(t, dns, router, rule, place.domain, place.whole)
				})
			})
		}
	}
}

// wantNoAddressOf checks that nobody asked for an address of name.
func wantNoAddressOf(t *testing.T, dns *mxtest.DNS, name string) {
	t.Helper()
	if name != "" && dns.Count(name, mx.TypeA)+dns.Count(name, mx.TypeAAAA) > 0 {
		t.Errorf("the address of %s was asked for", name)
	}
}

// recovers checks that the next attempt finds the whole route once the fault is
// over: no failure is remembered for longer than a moment.
func recovers(t *testing.T, dns *mxtest.DNS, router *mx.Router, rule mxtest.Rule, domain, whole string) {
	t.Helper()
	if err := dns.Set(mxtest.Rule{Name: rule.Name, Type: rule.Type}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	route, err := router.Route(t.Context(), domain)
	if got := describe(route, err); got != whole {
		t.Errorf("after the fault the route is\n\t%s\nwant\n\t%s", got, whole)
	}
}
