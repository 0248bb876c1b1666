package dane_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// record is a TLSA record, as zone text, that is usable and matches nothing.
var record = "TLSA 3 1 1 " + strings.Repeat("00", 32)

// resolver is DNS in memory, and what is signed there: names with a dash before them
// are not, although the domain above them is.
func resolver(zone string, signed ...string) *mxtest.DNS {
	dns := &mxtest.DNS{Zone: strings.ReplaceAll(zone, "\n\t\t", "\n")}
	for _, name := range signed {
		unsigned, not := strings.CutPrefix(name, "-")
		dns.SetSigned(unsigned, !not)
	}
	return dns
}

// policies are the policies of all hosts of the route to a domain.
func policies(t *testing.T, source *dane.Source, domain string) []*dane.Policy {
	t.Helper()
	route, err := mx.Lookup(t.Context(), source.Resolver, domain)
	if err != nil {
		t.Fatal(err)
	}
	var all []*dane.Policy
	for i := range route.Hosts {
		all = append(all, source.Find(t.Context(), &route, &route.Hosts[i]))
	}
	return all
}

// asked are the names that TLSA records were asked for.
func asked(dns *mxtest.DNS) []string {
	var all []string
	for _, q := range dns.Queries() {
		if q.Type == mx.TypeTLSA {
			all = append(all, q.Name)
		}
	}
	return all
}

// TestNamesOfRFC7672 is the zone of RFC 7672 section 3.2.2.
func TestNamesOfRFC7672(t *testing.T) {
	dns := resolver(`
		exchange.example.org. CNAME mail.example.com.
		mail.example.com.     CNAME example.com.
		example.com.          MX    10 mx10.example.com.
		example.com.          MX    15 mx15.example.com.
		example.com.          MX    20 mx20.example.com.
		mx10.example.com.     A     192.0.2.10
		_25._tcp.mx10.example.com. `+record+`
		mx15.example.com.     CNAME mxbackup.example.com.
		mxbackup.example.com. A     192.0.2.15
		_25._tcp.mx15.example.com. `+record+`
		mx20.example.com.     CNAME mxbackup.example.net.
		mxbackup.example.net. A     198.51.100.20
		_25._tcp.mxbackup.example.net. `+record, ".")
	want := []struct {
		base  string
		names []string
	}{
		{"mx10.example.com", []string{"mx10.example.com", "exchange.example.org", "example.com"}},
		{"mx15.example.com", []string{"mx15.example.com", "exchange.example.org", "example.com"}},
		{"mxbackup.example.net", []string{"mxbackup.example.net", "exchange.example.org", "example.com"}},
	}
	for i, p := range policies(t, &dane.Source{Resolver: dns}, "exchange.example.org") {
		t.Run("TLS-31, TLS-39 "+p.Host, func(t *testing.T) {
			if p.Outcome != dane.Usable || p.Base != want[i].base || !slices.Equal(p.Names, want[i].names) || p.ServerName() != want[i].base {
				t.Errorf("the base domain is %s, the names %q; want %s, %q", p.Base, p.Names, want[i].base, want[i].names)
			}
		})
	}
	if n := dns.Count("_25._tcp.mxbackup.example.com", mx.TypeTLSA); n != 1 {
		t.Errorf("TLS-31 the expanded name was asked for %d times, want once, before the original", n)
	}
	if n := dns.Count("_25._tcp.mx20.example.com", mx.TypeTLSA); n != 0 {
		t.Errorf("TLS-31 the original name was asked for %d times, though the expanded one has records", n)
	}
}

func TestFind(t *testing.T) {
	const plain = "e.test MX 10 m.e.test.\nm.e.test A 192.0.2.1\n"
	const alias = "e.test MX 10 m.e.test.\nm.e.test CNAME a.mid.test.\na.mid.test CNAME n.other.test.\nn.other.test A 192.0.2.1\n"
	for _, test := range []struct {
		name    string
		zone    string
		signed  []string
		change  func(*dane.Source)
		outcome dane.Outcome
		reason  dane.Reason
		base    string
		names   string
		asked   []string
	}{
		{"TLS-26 an untrusted resolver", plain + "_25._tcp.m.e.test " + record, nil, nil, dane.None, dane.InsecureMX, "", "", nil},
		{"TLS-27 all is signed", plain + "_25._tcp.m.e.test " + record, []string{"test"}, nil, dane.Usable, 0, "m.e.test", "m.e.test e.test", []string{"_25._tcp.m.e.test"}},
		{"TLS-27 proved absence", plain, []string{"test"}, nil, dane.None, dane.NoRecords, "", "", []string{"_25._tcp.m.e.test"}},
		{"TLS-27 the records are not signed", plain + "_25._tcp.m.e.test " + record, []string{"test", "-_25._tcp.m.e.test"}, nil, dane.None, dane.InsecureRecords, "", "", []string{"_25._tcp.m.e.test"}},
		{"TLS-28 the MX set is not signed", plain + "_25._tcp.m.e.test " + record, []string{"m.e.test"}, nil, dane.None, dane.InsecureMX, "", "", nil},
		{"TLS-28 the MX set is not signed, by its own name all the same", plain + "_25._tcp.m.e.test " + record, []string{"m.e.test"}, func(s *dane.Source) { s.InsecureMX = true }, dane.Usable, 0, "m.e.test", "m.e.test", []string{"_25._tcp.m.e.test"}},
		{"TLS-28 nor is an alias that leads to it", "e.test CNAME f.test.\nf.test MX 10 m.f.test.\nm.f.test A 192.0.2.1\n_25._tcp.m.f.test " + record, []string{"f.test"}, nil, dane.None, dane.InsecureMX, "", "", nil},
		{"TLS-28 an alias of an insecure MX set, signed, by its own name all the same", alias + "_25._tcp.m.e.test " + record, []string{"m.e.test"}, func(s *dane.Source) { s.InsecureMX = true }, dane.Usable, 0, "m.e.test", "m.e.test", []string{"_25._tcp.m.e.test"}},
		{"TLS-28 an alias of an insecure MX set, not signed", alias + "_25._tcp.m.e.test " + record, nil, func(s *dane.Source) { s.InsecureMX = true }, dane.None, dane.InsecureAlias, "", "", nil},
		{"TLS-30 the addresses are not signed", plain + "_25._tcp.m.e.test " + record, []string{"test", "-m.e.test"}, nil, dane.None, dane.InsecureAddress, "", "", nil},
		{"TLS-31 the expanded name has records", alias + "_25._tcp.n.other.test " + record, []string{"test"}, nil, dane.Usable, 0, "n.other.test", "n.other.test e.test", []string{"_25._tcp.n.other.test"}},
		{"TLS-31 the original name has records", alias + "_25._tcp.m.e.test " + record, []string{"test"}, nil, dane.Usable, 0, "m.e.test", "m.e.test e.test", []string{"_25._tcp.n.other.test", "_25._tcp.m.e.test"}},
		{"TLS-31 a name in between does not count", alias + "_25._tcp.a.mid.test " + record, []string{"test"}, nil, dane.None, dane.NoRecords, "", "", []string{"_25._tcp.n.other.test", "_25._tcp.m.e.test"}},
		{"TLS-31 the records of the expanded name are not signed", alias + "_25._tcp.n.other.test " + record + "\n_25._tcp.m.e.test " + record, []string{"test", "-_25._tcp.n.other.test"}, nil, dane.Usable, 0, "m.e.test", "m.e.test e.test", []string{"_25._tcp.n.other.test", "_25._tcp.m.e.test"}},
		{"TLS-31 neither is signed", alias + "_25._tcp.n.other.test " + record + "\n_25._tcp.m.e.test " + record, []string{"test", "-_25._tcp.n.other.test", "-_25._tcp.m.e.test"}, nil, dane.None, dane.InsecureRecords, "", "", []string{"_25._tcp.n.other.test", "_25._tcp.m.e.test"}},
		{"TLS-32 the target is not signed, the alias is", alias + "_25._tcp.n.other.test " + record + "\n_25._tcp.m.e.test " + record, []string{"e.test"}, nil, dane.Usable, 0, "m.e.test", "m.e.test e.test", []string{"_25._tcp.m.e.test"}},
		{"TLS-32 a link in the middle is not signed", alias + "_25._tcp.n.other.test " + record + "\n_25._tcp.m.e.test " + record, []string{"test", "-mid.test"}, nil, dane.Usable, 0, "m.e.test", "m.e.test e.test", []string{"_25._tcp.m.e.test"}},
		{"TLS-32 the alias is not signed", alias + "_25._tcp.m.e.test " + record, []string{"test", "-m.e.test"}, nil, dane.None, dane.InsecureAlias, "", "", nil},
		{"TLS-33 the records are behind an alias", plain + "_25._tcp.m.e.test CNAME tlsa201._dane.e.test.\ntlsa201._dane.e.test " + record, []string{"test"}, nil, dane.Usable, 0, "m.e.test", "m.e.test e.test", []string{"_25._tcp.m.e.test"}},
		{"TLS-33 behind an alias that is not signed", plain + "_25._tcp.m.e.test CNAME x.far.test.\nx.far.test " + record, []string{"test", "-far.test"}, nil, dane.None, dane.InsecureRecords, "", "", []string{"_25._tcp.m.e.test"}},
		{"TLS-33 another port", plain + "_2525._tcp.m.e.test " + record, []string{"test"}, func(s *dane.Source) { s.Port = 2525 }, dane.Usable, 0, "m.e.test", "m.e.test e.test", []string{"_2525._tcp.m.e.test"}},
		{"TLS-34 an address literal", "", []string{"."}, nil, dane.None, dane.NoName, "", "", nil},
		{"TLS-39 an implicit MX", "e.test A 192.0.2.1\n_25._tcp.e.test " + record, []string{"test"}, nil, dane.Usable, 0, "e.test", "e.test", []string{"_25._tcp.e.test"}},
		{"TLS-39 an implicit MX behind an alias", "e.test CNAME f.test.\nf.test A 192.0.2.1\n_25._tcp.f.test " + record, []string{"test"}, nil, dane.Usable, 0, "f.test", "f.test e.test", []string{"_25._tcp.f.test"}},
		{"TLS-32 an implicit MX behind an alias, its target not signed", "e.test CNAME f.test.\nf.test A 192.0.2.1\n_25._tcp.e.test " + record, []string{"e.test"}, nil, dane.Usable, 0, "e.test", "e.test", []string{"_25._tcp.e.test"}},
		{"TLS-27 a set of broken records", plain + "_25._tcp.m.e.test TLSA 3 1 1 00\n_25._tcp.m.e.test TLSA 9 9 9 00", []string{"test"}, nil, dane.Unusable, dane.NoneUsable, "m.e.test", "m.e.test e.test", []string{"_25._tcp.m.e.test"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dns := resolver(test.zone, test.signed...)
			source := dane.Source{Resolver: dns}
			if test.change != nil {
				test.change(&source)
			}
			domain := "e.test"
			if test.zone == "" {
				domain = "[192.0.2.1]"
			}
			p := policies(t, &source, domain)[0]
			if p.Outcome != test.outcome || p.Reason != test.reason || p.Base != test.base || strings.Join(p.Names, " ") != test.names {
				t.Errorf("policy is %v, %v, base %q, names %q; want %v, %v, %q, %q", p.Outcome, p.Reason, p.Base, p.Names, test.outcome, test.reason, test.base, test.names)
			}
			if got := asked(dns); !slices.Equal(got, test.asked) {
				t.Errorf("asked for %q, want %q", got, test.asked)
			}
			levels := map[dane.Outcome]mx.TLSLevel{dane.Usable: mx.TLSVerify, dane.Unusable: mx.TLSEncrypt, dane.None: mx.TLSDefault}
			if n := dns.Count("m.e.test", mx.TypeCNAME); n > 1 {
				t.Errorf("asked about the alias %d times", n)
			}
			if p.Level() != levels[p.Outcome] || p.Err() != nil {
				t.Errorf("level is %v, error %v", p.Level(), p.Err())
			}
		})
	}
}

// TestFailedQuestions: who can make any one question on the way fail gets no more than
// a host that is left alone.
func TestFailedQuestions(t *testing.T) {
	const zone = `
		e.test MX 10 m.e.test.
		m.e.test CNAME n.other.test.
		n.other.test A 192.0.2.1
		_25._tcp.m.e.test ` + "TLSA 3 1 1 00"
	host := mx.Host{Name: "m.e.test", Target: "n.other.test", Secure: mx.Insecure, NameSecure: mx.SecurityUnknown}
	foreign := mx.Host{Name: "m.e.test"} // of a route that is not a Router's
	for _, fault := range []mxtest.Fault{mxtest.ServFail, mxtest.Timeout, mxtest.Bogus, mxtest.Malformed, mxtest.Refused, mxtest.NotImp, mxtest.Lame} {
		for _, test := range []struct {
			name, question string
			t              mx.Type
			host           mx.Host
		}{
			{"the records", "_25._tcp.m.e.test", mx.TypeTLSA, mx.Host{Name: "m.e.test", Target: "n.other.test", Secure: mx.Insecure, NameSecure: mx.Secure}},
			{"the records at the expanded name", "_25._tcp.n.other.test", mx.TypeTLSA, mx.Host{Name: "m.e.test", Target: "n.other.test", Secure: mx.Secure, NameSecure: mx.Secure}},
			{"the alias", "m.e.test", mx.TypeCNAME, host},
			{"the addresses", "m.e.test", 0, foreign},
			{"the alias, of a host of which nothing is known", "m.e.test", mx.TypeCNAME, foreign},
		} {
			t.Run(fmt.Sprintf("TLS-29 %v, %s", fault, test.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dns := resolver(zone, "e.test")
					if err := dns.Set(mxtest.Rule{Name: test.question, Type: test.t, Fault: fault}); err != nil {
						t.Fatal(err)
					}
					source := dane.Source{Resolver: dns}
					p := source.Find(t.Context(), &mx.Route{Domain: "e.test", Secure: true}, &test.host)
					e, ok := errors.AsType[*dane.Error](p.Err())
					if p.Outcome != dane.Failed || !ok || !e.Temporary() || e.ResultType() != "dnssec-invalid" || e.ReasonCode() != "dns-lookup-failed" {
						t.Fatalf("policy is %v, %v; want it failed", p.Outcome, p.Err())
					}
					if re, ok := errors.AsType[*mx.ResolveError](p.Err()); !ok || re.Name != test.question {
						t.Errorf("the error is %v, want it about %s", p.Err(), test.question)
					}
					if last := p.Steps[len(p.Steps)-1]; last.Name != test.question || last.Security != mx.SecurityUnknown || last.Status == "none" {
						t.Errorf("the last step is %+v", last)
					}
				})
			})
		}
	}
	t.Run("TLS-29 the question is canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		dns := resolver(zone, "e.test")
		source := dane.Source{Resolver: &mx.Cache{Resolver: dns}}
		if p := source.Find(ctx, &mx.Route{Domain: "e.test", Secure: true}, &host); p.Outcome != dane.Failed || !errors.Is(p.Err(), context.Canceled) {
			t.Errorf("policy is %v, %v", p.Outcome, p.Err())
		}
	})
}

// TestForeignRoutes: a route that no Router made says nothing of security, which is then
// found out here.
func TestForeignRoutes(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for _, test := range []struct {
		name, zone string
		signed     []string
		fault      mxtest.Rule
		want       dane.Outcome
		base       string
	}{
		{"TLS-30 signed", "m.test A 192.0.2.1\n_25._tcp.m.test " + record, []string{"test"}, mxtest.Rule{}, dane.Usable, "m.test"},
		{"TLS-30 not signed", "m.test A 192.0.2.1\n_25._tcp.m.test " + record, nil, mxtest.Rule{}, dane.None, ""},
		{"TLS-30 one family fails", "m.test A 192.0.2.1\n_25._tcp.m.test " + record, []string{"test"}, mxtest.Rule{Name: "m.test", Type: mx.TypeAAAA, Fault: mxtest.ServFail}, dane.Usable, "m.test"},
		{"TLS-30 the other family fails", "m.test AAAA 2001:db8::1\n_25._tcp.m.test " + record, []string{"test"}, mxtest.Rule{Name: "m.test", Type: mx.TypeA, Fault: mxtest.ServFail}, dane.Usable, "m.test"},
		{"TLS-31 an alias", "m.test CNAME n.test.\nn.test A 192.0.2.1\n_25._tcp.n.test " + record, []string{"test"}, mxtest.Rule{}, dane.Usable, "n.test"},
		{"TLS-32 a signed alias", "m.test CNAME n.other.\nn.other A 192.0.2.1\n_25._tcp.m.test " + record, []string{"test"}, mxtest.Rule{}, dane.Usable, "m.test"},
		{"TLS-30 no addresses in DNS", "_25._tcp.m.test " + record, []string{"test"}, mxtest.Rule{}, dane.None, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dns := resolver(test.zone, test.signed...)
			if err := dns.Set(test.fault); err != nil {
				t.Fatal(err)
			}
			source := dane.Source{Resolver: dns}
			p := source.Find(t.Context(), &mx.Route{Domain: "e.test", Via: mx.ViaSmartHost}, &mx.Host{Name: "m.test", Addrs: addrs})
			if p.Outcome != test.want || p.Base != test.base {
				t.Errorf("policy is %v, base %q, %v; want %v, %q", p.Outcome, p.Base, p.Err(), test.want, test.base)
			}
		})
	}
}

func TestSmartHosts(t *testing.T) {
	for _, test := range []struct {
		name  string
		host  mx.Host
		names string // none: DANE has no say
		port  string
	}{
		{"TLS-33, TLS-39 by its name", mx.Host{Name: "s.test", Port: 587}, "s.test", "587"},
		{"TLS-39 by its name, an alias", mx.Host{Name: "a.test"}, "s.test a.test", "25"},
		{"TLS-39 with names of its own", mx.Host{Name: "s.test", Identities: []string{"s.test", "mail.s.test", "_submissions.s.test"}}, "s.test mail.s.test", "25"},
		{"TLS-28 found by insecure MX records", mx.Host{Name: "s.test", Identities: []string{"d.test"}}, "", "25"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dns := resolver("s.test A 192.0.2.1\na.test CNAME s.test.\n_"+test.port+"._tcp.s.test "+record, ".")
			for _, kind := range []mx.Via{mx.ViaSmartHost, mx.ViaFallback} {
				source := dane.Source{Resolver: dns}
				p := source.Find(t.Context(), &mx.Route{Domain: "recipient.test", Via: kind}, &test.host)
				if got := strings.Join(p.Names, " "); got != test.names || (p.Outcome == dane.Usable) != (test.names != "") {
					t.Errorf("policy is %v, %v, names %q; want %q", p.Outcome, p.Reason, got, test.names)
				}
			}
		})
	}
}

func TestTTLIsTheLeastOfTheAnswers(t *testing.T) {
	dns := resolver("test 7 SOA ns.test. root.test. 1 2 3 4 7\ne.test 60 MX 10 m.test.\nm.test 60 CNAME n.test.\nn.test 60 A 192.0.2.1\n_25._tcp.m.test 30 "+record, ".")
	p := policies(t, &dane.Source{Resolver: dns}, "e.test")[0]
	if p.TTL != 7*time.Second {
		t.Errorf("TLS-41 TTL is %v, want that of the absence of records at the name that comes first, 7s", p.TTL)
	}
}

// TestDomainIsNotProvedByInsecureMX: a host that proves its own name is not the
// domain's for that.
func TestDomainIsNotProvedByInsecureMX(t *testing.T) {
	host := issue(t, nil, "m")
	dns := resolver("e.test MX 10 m.s.test.\nm.s.test A 192.0.2.1\n_25._tcp.m.s.test TLSA "+tlsa(3, 1, 1, host), "s.test")
	p := policies(t, &dane.Source{Resolver: dns, InsecureMX: true}, "e.test")[0]
	v := p.Judge(dane.Session{Offered: true, Chain: sent(host)}, now)
	if !v.Authenticated || v.DomainAuthenticated() || !strings.Contains(v.String(), "named by insecure MX records") {
		t.Errorf("TLS-41 verdict is %s, of the domain: %v", v, v.DomainAuthenticated())
	}
	dns.SetSigned("e.test", true)
	p = policies(t, &dane.Source{Resolver: dns, InsecureMX: true}, "e.test")[0]
	if v := p.Judge(dane.Session{Offered: true, Chain: sent(host)}, now); !v.DomainAuthenticated() {
		t.Errorf("TLS-41 with secure MX records the verdict is %s", v)
	}
	p = policies(t, &dane.Source{Resolver: dns, InsecureMX: true, Mandatory: true}, "e.test")[0]
	if p.Err() != nil {
		t.Errorf("TLS-35 with secure MX records the error is %v", p.Err())
	}
	dns.SetSigned("e.test", false)
	if p = policies(t, &dane.Source{Resolver: dns, InsecureMX: true, Mandatory: true}, "e.test")[0]; p.Err() == nil {
		t.Error("TLS-28 DANE is mandatory, and a host that nobody knows to be the domain's may have the mail")
	}
}

func TestProbe(t *testing.T) {
	dns := resolver(". NS a.root.test.", ".")
	if err := dane.Probe(t.Context(), dns); err != nil {
		t.Errorf("TLS-26 error is %v", err)
	}
	dns.SetSigned(".", false)
	if err := dane.Probe(t.Context(), dns); !errors.Is(err, dane.ErrNoDNSSEC) {
		t.Errorf("TLS-26 error is %v, want ErrNoDNSSEC", err)
	}
	if err := dns.Set(mxtest.Rule{Fault: mxtest.ServFail}); err != nil {
		t.Fatal(err)
	}
	err := dane.Probe(t.Context(), dns)
	if _, ok := errors.AsType[*mx.ResolveError](err); !ok || errors.Is(err, dane.ErrNoDNSSEC) {
		t.Errorf("TLS-26 error is %v, want that there was no answer", err)
	}
}

func TestValidate(t *testing.T) {
	host := mx.Host{Name: "m.test", Secure: mx.Secure}
	for field, source := range map[string]dane.Source{
		"Resolver":   {},
		"Digests[1]": {Resolver: resolver(""), Digests: []uint8{dane.SHA256, 3}},
		"Digests[2]": {Resolver: resolver(""), Digests: []uint8{dane.SHA256, dane.SHA512, dane.SHA256}},
		"Digests: ":  {Resolver: resolver(""), Digests: []uint8{dane.SHA512}},
	} {
		err := source.Validate()
		if err == nil || !strings.Contains(err.Error(), "dane.Source."+field) {
			t.Errorf("error is %v, want one about %s", err, field)
		}
		if p := source.Find(t.Context(), &mx.Route{Secure: true}, &host); p.Outcome != dane.Failed || p.Reason != dane.Misconfigured ||
			p.Judge(dane.Session{}, now).ResultType != dane.ValidationFailure {
			t.Errorf("with a wrong field %s the policy is %v, %v", field, p.Outcome, p.Reason)
		}
	}
	if err := (&dane.Source{Resolver: resolver("")}).Validate(); err != nil {
		t.Errorf("error is %v", err)
	}
}
