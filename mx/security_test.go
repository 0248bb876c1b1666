package mx_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

func TestSecurityText(t *testing.T) {
	for _, s := range []mx.Security{mx.SecurityUnknown, mx.Insecure, mx.Secure} {
		text, err := json.Marshal(s)
		if err != nil || string(text) != `"`+s.String()+`"` {
			t.Errorf("%v in JSON is %s, %v", s, text, err)
		}
		back := mx.Security(9)
		if err := json.Unmarshal(text, &back); err != nil || back != s {
			t.Errorf("%s is read as %v, %v; want %v", text, back, err, s)
		}
	}
	if s := mx.Security(3); s.String() != "security 3" {
		t.Errorf("what is none of them is called %q", s)
	}
	if text, err := json.Marshal(mx.Security(3)); err == nil {
		t.Errorf("what is none of them is written as %s", text)
	}
	for _, text := range []string{`""`, `"Secure"`, `"bogus"`, `"secure "`} {
		s := mx.Insecure
		if err := json.Unmarshal([]byte(text), &s); err == nil || s != mx.Insecure {
			t.Errorf("%s is read as %v, %v", text, s, err)
		}
	}
	var forgotten mx.Host
	if forgotten.Secure != mx.SecurityUnknown || forgotten.NameSecure != mx.SecurityUnknown {
		t.Error("what nobody has found out is taken for known")
	}
}

// bubble runs a test under virtual time.
func bubble(f func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

// A host behind an alias whose zone is signed, while that of its target is not: the
// server says so of the chain as a whole, and the alias must be asked about.
const signedAlias = `
e.test       MX    10 m.e.test.
m.e.test     CNAME n.other.test.
n.other.test A     192.0.2.1
n.other.test AAAA  2001:db8::1
`

func TestAliasWhoseSecurityIsNotFoundOut(t *testing.T) {
	for _, fault := range []mxtest.Fault{mxtest.ServFail, mxtest.Refused, mxtest.NotImp, mxtest.Bogus, mxtest.Timeout, mxtest.Malformed, mxtest.Lame} {
		dns := func(more string) *mxtest.DNS {
			return &mxtest.DNS{
				Zone: signedAlias + more, Signed: map[string]bool{"e.test": true},
				Rules: []mxtest.Rule{{Name: "m.e.test", Type: mx.TypeCNAME, Fault: fault}},
			}
		}
		t.Run("TLS-29 "+fault.String()+", another host is used", bubble(func(t *testing.T) {
			route, err := mx.Lookup(t.Context(), dns("e.test MX 20 m2.e.test.\nm2.e.test A 192.0.2.2"), "e.test")
			if got, want := describe(route, err), "mx: 20 m2.e.test 192.0.2.2; out: 10 m.e.test=n.other.test ("+mx.LookupFailed.String()+")"; got != want {
				t.Fatalf("route is %s, want %s", got, want)
			}
			left := route.LeftOut[0]
			if re, ok := errors.AsType[*mx.ResolveError](left.Err); !ok || re.Type != mx.TypeCNAME || re.Name != "m.e.test" {
				t.Errorf("it is left out because of %v, want the question about the alias", left.Err)
			}
			if left.Host.NameSecure != mx.SecurityUnknown {
				t.Errorf("its name is %v, want unknown", left.Host.NameSecure)
			}
			if left.Reason.Permanent() {
				t.Error("it is left out for good")
			}
		}))
		t.Run("TLS-29 "+fault.String()+", there is no other host", bubble(func(t *testing.T) {
			_, err := mx.Lookup(t.Context(), dns(""), "e.test")
			if e, ok := errors.AsType[*mx.Error](err); !ok || !e.Temporary() || e.Name != "m.e.test" {
				t.Errorf("error is %v, want a temporary one about m.e.test", err)
			}
		}))
		t.Run("TLS-29 "+fault.String()+", a smart host", bubble(func(t *testing.T) {
			r := mx.Router{Resolver: dns("")}
			if host, err := r.DNSAddresses(t.Context(), "m.e.test"); err == nil || len(host.Addrs) > 0 {
				t.Errorf("host is %+v, want none for now", host)
			}
		}))
		t.Run("TLS-29 "+fault.String()+", an implicit MX", bubble(func(t *testing.T) {
			d := dns("")
			d.Zone = "e.test CNAME n.other.test.\nn.other.test A 192.0.2.1"
			d.Rules[0].Name = "e.test"
			_, err := mx.Lookup(t.Context(), d, "e.test")
			if e, ok := errors.AsType[*mx.Error](err); !ok || !e.Temporary() || len(e.LeftOut) != 1 {
				t.Errorf("error is %v, want a temporary one with the host left out", err)
			}
		}))
	}
	t.Run("TLS-29 the next attempt asks again", func(t *testing.T) {
		dns := &mxtest.DNS{
			Zone: signedAlias, Signed: map[string]bool{"e.test": true},
			Rules: []mxtest.Rule{{Name: "m.e.test", Type: mx.TypeCNAME, Fault: mxtest.ServFail, Times: 1}},
		}
		if _, err := mx.Lookup(t.Context(), dns, "e.test"); err == nil {
			t.Error("the host was used")
		}
		route, err := mx.Lookup(t.Context(), dns, "e.test")
		if err != nil || route.Hosts[0].NameSecure != mx.Secure || route.Hosts[0].Secure != mx.Insecure {
			t.Errorf("then the host is %+v, %v; want its name secure, its addresses not", route.Hosts, err)
		}
	})
	t.Run("a Resolver that cannot ask about aliases vouches for none", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: signedAlias, Signed: map[string]bool{"e.test": true}}
		r := mx.Router{Resolver: resolverFunc(func(ctx context.Context, name string, ty mx.Type) (mx.Answer, error) {
			if ty == mx.TypeCNAME {
				return mx.Answer{}, errors.ErrUnsupported
			}
			return dns.Resolve(ctx, name, ty)
		})}
		host, err := r.DNSAddresses(t.Context(), "m.e.test")
		if err != nil || host.NameSecure != mx.Insecure {
			t.Errorf("host is %+v, %v; want it insecure", host, err)
		}
	})
}

func TestSecurityOfAliases(t *testing.T) {
	for _, test := range []struct {
		name       string
		zone       string
		signed     []string
		validates  bool // the resolver knows of each link
		asked      int  // questions about the alias
		wantName   mx.Security
		wantSecure mx.Security
	}{
		{"TLS-32 signed, target not", signedAlias, []string{"e.test"}, false, 1, mx.Secure, mx.Insecure},
		{"TLS-32 not signed, nor is its target", signedAlias, []string{"e.test", "-m.e.test"}, false, 1, mx.Insecure, mx.Insecure},
		{"TLS-32 not signed, its target is", signedAlias, []string{"e.test", "other.test", "-m.e.test"}, false, 1, mx.Insecure, mx.Insecure},
		{"TLS-32 signed, and so is its target", signedAlias, []string{"test"}, false, 0, mx.Secure, mx.Secure},
		{"TLS-32 signed, target not, by a resolver that validates", signedAlias, []string{"e.test"}, true, 0, mx.Secure, mx.Insecure},
		{"TLS-32 not signed, target is, by a resolver that validates", signedAlias, []string{"e.test", "other.test", "-m.e.test"}, true, 0, mx.Insecure, mx.Insecure},
		{"TLS-30 an insecure MX set: nobody asks about the alias", signedAlias, []string{"m.e.test"}, false, 0, mx.SecurityUnknown, mx.Insecure},
		{"TLS-32 an implicit MX behind a signed alias", "e.test CNAME m.other.test.\nm.other.test A 192.0.2.1", []string{"e.test"}, false, 1, mx.Secure, mx.Insecure},
		{"TLS-32 an implicit MX behind an alias that is not", "e.test CNAME m.other.test.\nm.other.test A 192.0.2.1", []string{"other.test"}, false, 1, mx.Insecure, mx.Insecure},
		{"TLS-32 an implicit MX, all signed", "e.test CNAME m.other.test.\nm.other.test A 192.0.2.1", []string{"test"}, false, 0, mx.Secure, mx.Secure},
	} {
		t.Run(test.name, func(t *testing.T) {
			dns := &mxtest.DNS{Zone: test.zone, Validates: test.validates}
			for _, name := range test.signed {
				is := name[0] != '-'
				if !is {
					name = name[1:]
				}
				dns.SetSigned(name, is)
			}
			route, err := mx.Lookup(t.Context(), dns, "e.test")
			if err != nil {
				t.Fatal(err)
			}
			if h := route.Hosts[0]; h.NameSecure != test.wantName || h.Secure != test.wantSecure {
				t.Errorf("the name is %v, the addresses are %v; want %v, %v", h.NameSecure, h.Secure, test.wantName, test.wantSecure)
			}
			if n := dns.Count("m.e.test", mx.TypeCNAME) + dns.Count("e.test", mx.TypeCNAME); n != test.asked {
				t.Errorf("asked about the alias %d times, want %d", n, test.asked)
			}
		})
	}
}

func TestSecurityOfFamilies(t *testing.T) {
	const zone = "e.test MX 10 m.test.\nm.test A 192.0.2.1\n"
	for _, test := range []struct {
		name string
		zone string
		rule mxtest.Rule
		want mx.Security
	}{
		{"TLS-30 one family has no answer", zone, mxtest.Rule{Name: "m.test", Type: mx.TypeAAAA, Fault: mxtest.ServFail}, mx.Secure},
		{"TLS-30 one family has no addresses", zone, mxtest.Rule{Name: "m.test", Type: mx.TypeAAAA, Fault: mxtest.NoData}, mx.Secure},
		{"TLS-30 both have", zone + "m.test AAAA 2001:db8::1", mxtest.Rule{Name: "nobody.test"}, mx.Secure},
	} {
		t.Run(test.name, func(t *testing.T) {
			dns := &mxtest.DNS{Zone: test.zone, Signed: map[string]bool{"test": true}, Rules: []mxtest.Rule{test.rule}}
			route, err := mx.Lookup(t.Context(), dns, "e.test")
			if err != nil || route.Hosts[0].Secure != test.want || route.Hosts[0].NameSecure != test.want {
				t.Errorf("hosts are %+v, %v; want %v", route.Hosts, err, test.want)
			}
		})
	}
	for _, test := range []struct {
		name      string
		six, four mx.Security // of the first step, in the answers
		asked     mx.Security // of the alias, where it is asked about
		want      mx.Security
	}{
		{"TLS-30 one family is not signed", mx.Insecure, mx.Secure, mx.Secure, mx.Insecure},
		{"TLS-30 the other family is not signed", mx.Secure, mx.Insecure, mx.Secure, mx.Insecure},
		{"TLS-32 nothing is known of one family, the other is not signed", mx.SecurityUnknown, mx.Insecure, mx.Secure, mx.Insecure},
		{"TLS-32 nothing is known of one family", mx.Secure, mx.SecurityUnknown, mx.Secure, mx.Secure},
		{"TLS-32 nothing is known of the other family", mx.SecurityUnknown, mx.Secure, mx.Insecure, mx.Insecure},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := mx.Router{Resolver: resolverFunc(func(_ context.Context, name string, ty mx.Type) (mx.Answer, error) {
				alias := mx.Alias{From: name, To: "n.test"}
				a := mx.Answer{Status: mx.Success, Name: "n.test", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}
				switch ty {
				case mx.TypeAAAA:
					alias.Secure = test.six
				case mx.TypeA:
					alias.Secure, a.Addrs = test.four, []netip.Addr{netip.MustParseAddr("192.0.2.1")}
				case mx.TypeCNAME:
					alias.Secure = test.asked
				}
				a.Aliases = []mx.Alias{alias}
				return a, nil
			})}
			host, err := r.DNSAddresses(t.Context(), "m.test")
			if err != nil || host.NameSecure != test.want || host.Secure != mx.Insecure {
				t.Errorf("host is %+v, %v; want its name %v, its addresses insecure", host, err, test.want)
			}
		})
	}
	t.Run("MX-36 what is vouched for as a whole is in every link", func(t *testing.T) {
		r := mx.Router{Resolver: resolverFunc(func(_ context.Context, name string, _ mx.Type) (mx.Answer, error) {
			return mx.Answer{
				Status: mx.Success, Name: "n.test", Aliases: []mx.Alias{{From: name, To: "n.test"}},
				Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Secure: true,
			}, nil
		}), Family: mx.IPv4Only}
		host, err := r.DNSAddresses(t.Context(), "m.test")
		if err != nil || host.NameSecure != mx.Secure || host.Secure != mx.Secure {
			t.Errorf("host is %+v, %v; want all secure", host, err)
		}
	})
	t.Run("TLS-32 nobody asks about the alias of a host without addresses", func(t *testing.T) {
		dns := &mxtest.DNS{
			Zone:   "e.test MX 10 m.e.test.\ne.test MX 20 n.e.test.\nm.e.test CNAME gone.other.test.\nn.e.test A 192.0.2.1",
			Signed: map[string]bool{"e.test": true},
		}
		if route, err := mx.Lookup(t.Context(), dns, "e.test"); err != nil || dns.Count("m.e.test", mx.TypeCNAME) > 0 {
			t.Errorf("asked %v for %+v, %v", questions(dns), route, err)
		}
	})
	t.Run("TLS-29 without any answer it is not known", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: zone, Signed: map[string]bool{"test": true}, Rules: []mxtest.Rule{{Name: "m.test", Fault: mxtest.ServFail}}}
		_, err := mx.Lookup(t.Context(), dns, "e.test")
		if e, ok := errors.AsType[*mx.Error](err); !ok || len(e.LeftOut) != 1 || e.LeftOut[0].Host.Secure != mx.SecurityUnknown {
			t.Errorf("error is %v, want one with a host of which nothing is known", err)
		}
	})
	t.Run("TLS-34 what is no name is vouched for by nobody", func(t *testing.T) {
		r := mx.Router{Resolver: &mxtest.DNS{Signed: map[string]bool{".": true}}}
		route, err := r.Route(t.Context(), "[192.0.2.1]")
		if err != nil || route.Hosts[0].Secure != mx.Insecure || route.Hosts[0].NameSecure != mx.Insecure {
			t.Errorf("hosts are %+v, %v; want it insecure", route.Hosts, err)
		}
		host, err := r.Addresses(t.Context(), "192.0.2.1")
		if err != nil || host.Secure != mx.Insecure || host.NameSecure != mx.Insecure {
			t.Errorf("host is %+v, %v; want it insecure", host, err)
		}
	})
}

func TestClientSecurityOfLinks(t *testing.T) {
	for _, test := range []struct {
		name    string
		trusted bool
		signed  string
		ask     mx.Type
		want    mx.Security
	}{
		{"MX-36 AD is about all links", true, "test", mx.TypeA, mx.Secure},
		{"MX-36 without AD nothing is known of one link among several", true, "e.test", mx.TypeA, mx.SecurityUnknown},
		{"MX-36 nor of one that leads to nothing", true, "e.test", mx.TypeTXT, mx.SecurityUnknown},
		{"MX-36 AD is about the one link asked for", true, "e.test", mx.TypeCNAME, mx.Secure},
		{"MX-36 and so is its lack", true, "other.test", mx.TypeCNAME, mx.Insecure},
		{"MX-36 who is not trusted vouches for nothing", false, "test", mx.TypeA, mx.Insecure},
		{"MX-36 who is trusted, where nobody is believed", true, "test", mx.TypeA, mx.Insecure},
	} {
		t.Run(test.name, func(t *testing.T) {
			dns := &mxtest.DNS{Zone: signedAlias, Signed: map[string]bool{test.signed: true}}
			client := &mx.Client{Servers: []mx.Server{{Addr: first, TrustAD: test.trusted}}, Dial: dns.Dial}
			client.IgnoreAD = test.trusted && test.want == mx.Insecure && test.signed == "test"
			a, err := client.Resolve(t.Context(), "m.e.test", test.ask)
			if err != nil || len(a.Aliases) != 1 || a.Aliases[0].Secure != test.want {
				t.Errorf("aliases are %v, %v; want one that is %v", a.Aliases, err, test.want)
			}
		})
	}
}

func TestBrokenTLSARecords(t *testing.T) {
	const name = "_25._tcp.m.test"
	for _, test := range []struct {
		name, zone string
		records    int
	}{
		{"TLS-36 the only record cannot be read", name + " TLSA 3 1 1 00ff", 0},
		{"TLS-36 one of two records cannot be read", name + " TLSA 3 1 1 00ff\n" + name + " TLSA 3 1 2 00ff", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			dns := &mxtest.DNS{
				Zone: test.zone, Signed: map[string]bool{"test": true},
				Rules: []mxtest.Rule{{Name: name, Fault: mxtest.LastBroken}},
			}
			client := &mx.Client{Servers: []mx.Server{{Addr: first, TrustAD: true}}, Dial: dns.Dial}
			for by, r := range map[string]mx.Resolver{"a server": client, "the fake": dns, "a cache": &mx.Cache{Resolver: client}} {
				a, err := mx.Follow(t.Context(), r, name, mx.TypeTLSA)
				if err != nil || a.Status != mx.Success || !a.Secure || len(a.TLSA) != test.records || a.Unreadable != 1 {
					t.Errorf("by %s the answer is %+v, %v; want success with %d records and one that cannot be read", by, a, err, test.records)
				}
			}
		})
	}
}
