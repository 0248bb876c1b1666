package mx_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// everything is a zone with a domain for each way a search can end.
const everything = `
	$TTL 300
	test.          SOA    ns.test. root.test. 1 2 3 4 300
	ok.test.       MX     10 m.test.
	implicit.test. A      192.0.2.1
	alias.test.    CNAME  ok.test.
	nodata.test.   TXT    "here"
	null.test.     MX     0 .
	noaddr.test.   MX     10 gone.test.
	noaddr.test.   A      192.0.2.1
	literal.test.  MX     10 192.0.2.1.
	self.test.     MX     10 me.test.
	loopback.test. MX     10 lo.test.
	inside.test.   MX     10 ll.test.
	loop.test.     CNAME  pool.test.
	pool.test.     CNAME  loop.test.
	dangling.test. CNAME  gone.test.
	half.test.     MX     10 gone.test.
	half.test.     MX     20 dead.test.
	bogushost.test. MX    10 bogus.test.
	m.test.        A      192.0.2.25
	me.test.       A      192.0.2.26
	lo.test.       A      127.0.0.1
	ll.test.       A      169.254.0.1
	dead.test.     A      192.0.2.27
	bogus.test.    A      192.0.2.28
	servfail.test. MX     10 m.test.
	servfail.test. A      192.0.2.1
	refused.test.  MX     10 m.test.
	notimp.test.   MX     10 m.test.
	formerr.test.  MX     10 m.test.
	timeout.test.  MX     10 m.test.
	hangup.test.   MX     10 m.test.
	lame.test.     MX     10 m.test.
	cut.test.      MX     10 m.test.
	other.test.    MX     10 m.test.
	wrongid.test.  MX     10 m.test.
	wrongq.test.   MX     10 m.test.
	garbage.test.  MX     10 m.test.
	broken.test.   MX     10 m.test.
	noise.test.    MX     10 m.test.
	long.test.     MX     10 m.test.
`

// faults is what goes wrong in everything.
var faults = []mxtest.Rule{
	{Name: "dead.test", Fault: mxtest.ServFail},
	{Name: "bogus.test", Fault: mxtest.Bogus},
	{Name: "servfail.test", Type: mx.TypeMX, Fault: mxtest.ServFail},
	{Name: "refused.test", Fault: mxtest.Refused},
	{Name: "notimp.test", Fault: mxtest.NotImp},
	{Name: "formerr.test", Fault: mxtest.FormErr},
	{Name: "timeout.test", Fault: mxtest.Timeout},
	{Name: "hangup.test", Fault: mxtest.Hangup},
	{Name: "lame.test", Fault: mxtest.Lame},
	{Name: "cut.test", Fault: mxtest.TruncatedAlways},
	{Name: "other.test", Fault: mxtest.OtherName},
	{Name: "wrongid.test", Fault: mxtest.WrongID},
	{Name: "wrongq.test", Fault: mxtest.WrongQuestion},
	{Name: "garbage.test", Fault: mxtest.Garbage},
	{Name: "broken.test", Fault: mxtest.Malformed},
	{Name: "noise.test", Fault: mxtest.WrongID, ThenAnswer: true},
	{Name: "long.test", Fault: mxtest.Truncated},
}

const later = "451 4.4.3 no answer from DNS for now"

// outcomes is how each domain of everything ends, and with which failure of DNS
// where one decides.
var outcomes = []struct {
	domain, want string
	failure      mx.ResolveErrorKind
}{
	{domain: "ok.test", want: "mx: 10 m.test 192.0.2.25"},
	{domain: "implicit.test", want: "implicit: 0 implicit.test 192.0.2.1"},
	{domain: "alias.test", want: "mx: 10 m.test 192.0.2.25"},
	{domain: "noise.test", want: "mx: 10 m.test 192.0.2.25"},
	{domain: "long.test", want: "mx: 10 m.test 192.0.2.25"},
	{domain: "[192.0.2.5]", want: "literal: 0 [192.0.2.5] 192.0.2.5"},

	{domain: "gone.test", want: "550 5.1.2 no such domain"},
	{domain: "dangling.test", want: "550 5.1.2 no such domain"},
	{domain: "nodata.test", want: "550 5.1.2 domain has neither a mail exchanger nor an address"},
	{domain: "null.test", want: "556 5.1.10 domain takes no mail"},
	{domain: "noaddr.test", want: "550 5.4.4 no usable mail exchanger; out: 10 gone.test (it has no address)"},
	{domain: "literal.test", want: "550 5.4.4 no usable mail exchanger; out: 10 192.0.2.1 (the record names no host)"},
	{domain: "inside.test", want: "550 5.4.4 no usable mail exchanger; out: 10 ll.test (its address is not to be dialled)"},
	{domain: "self.test", want: "554 5.4.6 mail exchangers point back to this host; out: 10 me.test (it is this host)"},
	{domain: "loopback.test", want: "554 5.4.6 mail exchangers point back to this host; out: 10 lo.test (it is this host)"},
	{domain: "a..b", want: "553 5.1.2 not a domain name"},
	{domain: "[300.1.1.1]", want: "553 5.1.3 not a domain name"},

	{domain: "half.test", want: later + "; out: 10 gone.test (it has no address), 20 dead.test (no answer about its address for now)", failure: mx.ServFail},
	{domain: "bogushost.test", want: "451 4.4.3 DNS answer fails validation; out: 10 bogus.test (no answer about its address for now)", failure: mx.Bogus},
	{domain: "bogus.test", want: "451 4.4.3 DNS answer fails validation", failure: mx.Bogus},
	{domain: "servfail.test", want: later, failure: mx.ServFail},
	{domain: "refused.test", want: later, failure: mx.QueryRefused},
	{domain: "notimp.test", want: later, failure: mx.QueryRefused},
	{domain: "formerr.test", want: later, failure: mx.QueryRefused},
	{domain: "timeout.test", want: later, failure: mx.Timeout},
	{domain: "hangup.test", want: later, failure: mx.Timeout},
	{domain: "lame.test", want: later, failure: mx.Lame},
	{domain: "cut.test", want: later, failure: mx.Truncated},
	{domain: "other.test", want: later, failure: mx.Malformed},
	{domain: "wrongid.test", want: later, failure: mx.Timeout},
	{domain: "wrongq.test", want: later, failure: mx.Timeout},
	{domain: "garbage.test", want: later, failure: mx.Timeout},
	{domain: "broken.test", want: later, failure: mx.Malformed},
	{domain: "loop.test", want: later, failure: mx.AliasLoop},
}

func TestOutcomes(t *testing.T) {
	resolvers := map[string]func(*mxtest.DNS) mx.Resolver{
		"fake": func(dns *mxtest.DNS) mx.Resolver { return dns },
		"client": func(dns *mxtest.DNS) mx.Resolver {
			return &mx.Client{Servers: []mx.Server{{Addr: first}}, Dial: dns.Dial}
		},
		"cached client": func(dns *mxtest.DNS) mx.Resolver {
			return &mx.Cache{Resolver: &mx.Client{Servers: []mx.Server{{Addr: first}}, Dial: dns.Dial}}
		},
	}
	for name, over := range resolvers {
		for _, o := range outcomes {
			t.Run(fmt.Sprintf("MX-37 %s over the %s", o.domain, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dns := &mxtest.DNS{Zone: everything, Rules: faults}
					r := mx.Router{Resolver: over(dns), Self: []string{"me.test"}}
					for range 2 { // the second time from the cache, if there is one
						route, err := r.Route(t.Context(), o.domain)
						if got := describe(route, err); got != o.want {
							t.Errorf("route is\n\t%s\nwant\n\t%s", got, o.want)
						}
						if e, ok := errors.AsType[*mx.Error](err); ok && e.Temporary() != (o.want[0] == '4') {
							t.Errorf("temporary: %t", e.Temporary())
						}
						if o.failure != 0 {
							wantFailure(t, err, o.failure)
						}
						if o.domain == "servfail.test" && dns.Count(o.domain, mx.TypeA) > 0 {
							t.Error("asked for the address of a domain whose MX lookup failed")
						}
					}
				})
			})
		}
	}
}

func TestOutcomesAreClosed(t *testing.T) {
	var zero mx.ErrorKind
	if !zero.Temporary() || !(mx.ErrorKind(99)).Temporary() {
		t.Error("an outcome that nobody set is not temporary")
	}
	seen := make(map[string]bool)
	for o := mx.DNSTrouble; o <= mx.BadDomain; o++ {
		if seen[o.String()] {
			t.Errorf("two outcomes are called %q", o)
		}
		seen[o.String()] = true
		if want := o == mx.DNSTrouble || o == mx.BogusAnswer; o.Temporary() != want {
			t.Errorf("%v is temporary: %v, want %v", o, o.Temporary(), want)
		}
	}
	for f := mx.NoAnswer; f <= mx.Canceled; f++ {
		if seen[f.String()] {
			t.Errorf("two failures are called %q", f)
		}
		seen[f.String()] = true
	}
	for r := mx.LookupFailed; r <= mx.OverLimit; r++ {
		if seen[r.String()] {
			t.Errorf("two reasons are called %q", r)
		}
		seen[r.String()] = true
	}
}

func TestErrorsAreForPeople(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"a bad domain with control characters", lookupError(t, "a\r\n\x1b[31mb.test"), `"a\r\n\x1b[31mb.test": not a domain name: "a\r\n\x1b[31mb.test": character that no domain name has`},
		{"a lookup that failed", lookupError(t, "servfail.test"), "servfail.test: no answer from DNS for now: MX of servfail.test: server failure"},
		{"an alias of nothing", lookupError(t, "dangling.test"), "dangling.test: no such domain (gone.test)"},
		{
			"a failure with its server and cause",
			&mx.ResolveError{Name: "e\x00.test", Type: mx.TypeMX, Server: "192.0.2.53:53", Kind: mx.Unreachable, Err: errors.New("no route")},
			`MX of "e\x00.test": server unreachable from 192.0.2.53:53: no route`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.err.Error(); got != test.want {
				t.Errorf("error says\n\t%s\nwant\n\t%s", got, test.want)
			}
		})
	}
	t.Run("an endless name is cut", func(t *testing.T) {
		if n := len(lookupError(t, strings.Repeat("a", 1<<20)).Error()); n > 1000 {
			t.Errorf("error is %d bytes", n)
		}
	})
}

func lookupError(t *testing.T, domain string) error {
	t.Helper()
	_, err := mx.Lookup(t.Context(), &mxtest.DNS{Zone: everything, Rules: faults}, domain)
	if err == nil {
		t.Fatalf("%s has a route", domain)
	}
	return err
}

// TestDeferNoSuchDomain: a name that does not exist may be wanted to be asked again.
func TestDeferNoSuchDomain(t *testing.T) {
	const later = "450 4.1.2 no such domain for now"
	runRoutes(t, []routeCase{
		{name: "MX-4 a domain that does not exist", router: mx.Router{DeferNoSuchDomain: true}, zone: "other.test A 192.0.2.1", want: later, asked: []string{"MX e.test"}},
		{name: "MX-7 an alias of a domain that does not exist", router: mx.Router{DeferNoSuchDomain: true}, zone: "e.test CNAME gone.test", want: later},
		{name: "MX-29 null MX is what the domain itself says", router: mx.Router{DeferNoSuchDomain: true}, zone: "e.test MX 0 .", want: "556 5.1.10 domain takes no mail"},
		{name: "MX-21 hosts that do not exist", router: mx.Router{DeferNoSuchDomain: true}, zone: "e.test MX 10 gone.test", want: "550 5.4.4 no usable mail exchanger; out: 10 gone.test (it has no address)"},
		{name: "MX-4 by default it is final", zone: "other.test A 192.0.2.1", want: "550 5.1.2 no such domain"},
	})
}
