package dane_test

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// secureHost is a host whose name and addresses are signed.
func secureHost(name string) *mx.Host {
	return &mx.Host{Name: name, Target: name, Secure: mx.Secure, NameSecure: mx.Secure}
}

func TestKeyFollowsWhatIsChecked(t *testing.T) {
	zone := "_25._tcp.m.test TLSA 2 1 1 " + strings.Repeat("00", 32) + "\n_25._tcp.m.test TLSA 3 1 1 " + strings.Repeat("11", 32)
	ee := "_25._tcp.m.test TLSA 3 1 1 " + strings.Repeat("11", 32)
	key := func(zone, domain string, secure bool) string {
		source := dane.Source{Resolver: resolver(zone, "."), InsecureMX: true}
		return source.Find(t.Context(), &mx.Route{Domain: domain, Secure: secure}, secureHost("m.test")).Key()
	}
	if key(zone, "a.test", true) == key(zone, "b.test", true) {
		t.Error("SMTP-43 usage 2: what proves the host for one domain proves it for another, whose name is not looked for")
	}
	if key(ee, "a.test", true) != key(ee, "b.test", true) {
		t.Error("usage 3: the names play no part, and keep connections apart")
	}
	if key(ee, "a.test", true) == key(ee, "a.test", false) {
		t.Error("SMTP-43, TLS-41 a host that insecure MX records name serves as one that is known to be the domain's")
	}
	if key(ee, "a.test", true) == key(ee+"\n_25._tcp.m.test TLSA 3 1 1 "+strings.Repeat("22", 32), "a.test", true) {
		t.Error("one more record changes nothing")
	}
	if key(ee, "a.test", true) != key(ee+"\n_25._tcp.m.test TLSA 3 9 9 00", "a.test", true) {
		t.Error("a record of no use keeps connections apart")
	}
}

func TestContradictorySessions(t *testing.T) {
	host := issue(t, nil, "m")
	policy := find(t, []string{tlsa(3, 1, 1, host)})
	chain := sent(host)
	for _, session := range []dane.Session{
		{Chain: chain},
		{Offered: true, Chain: chain, Err: errors.New("the handshake failed")},
		{Offered: true, Chain: chain, Unparsable: true},
	} {
		if v := policy.Judge(session, now); v.Accepted || v.Encrypted || v.Authenticated {
			t.Errorf("of a session that did not come about the verdict is %s", v)
		}
		if v := find(t, nil).Judge(session, now); v.Encrypted {
			t.Errorf("without records it counts as encrypted: %s", v)
		}
	}
}

func TestFormOfWholeCertificates(t *testing.T) {
	type certificate struct {
		TBS       any
		Algorithm struct{ OID asn1.ObjectIdentifier }
		Signature asn1.BitString
	}
	of := func(tbs any) string {
		c := certificate{TBS: tbs, Signature: asn1.BitString{Bytes: []byte{1}, BitLength: 8}}
		c.Algorithm.OID = asn1.ObjectIdentifier{1, 2, 3}
		der, err := asn1.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("3 0 0 %x", der)
	}
	for name, test := range map[string]struct {
		tbs  any
		want dane.Fate
	}{
		"TLS-36 the form of a certificate, of a kind that nobody knows": {struct{ A int }{1}, dane.Counts},
		"TLS-36 a number in place of a certificate's body":              {1, dane.BadData},
		"TLS-36 a body of another class":                                {asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: asn1.TagSequence, IsCompound: true}, dane.BadData},
	} {
		t.Run(name, func(t *testing.T) {
			if got := find(t, []string{of(test.tbs)}).Records[0].Fate; got != test.want {
				t.Errorf("the record is %v, want %v", got, test.want)
			}
		})
	}
}

func TestWholeKeyAndDigest(t *testing.T) {
	host, other := issue(t, nil, "m"), issue(t, nil, "other")
	policy := find(t, []string{tlsa(3, 1, 0, other), tlsa(3, 1, 1, host)})
	if v := policy.Judge(dane.Session{Offered: true, Chain: sent(host)}, now); !v.Authenticated {
		t.Errorf("TLS-40 a whole key takes the place of a digest: %s", v)
	}
	policy = find(t, []string{tlsa(3, 1, 1, host), tlsa(3, 1, 1, host), tlsa(3, 1, 0, host)})
	v := policy.Judge(dane.Session{Offered: true, Chain: sent(host)}, now)
	for _, r := range v.Records {
		if r.Fate != dane.Matched {
			t.Errorf("record %s: %v; all match: %s", r, r.Fate, v)
		}
	}
	if v.Matched != &v.Records[0] {
		t.Error("the record that authenticates is not the first that does")
	}
	if got := policy.Strings(); len(got) != 3 || got[0] != tlsa(3, 1, 1, host) {
		t.Errorf("for reports the records are %q", got)
	}
}

func TestRecordsThatCannotBeRead(t *testing.T) {
	host := issue(t, nil, "m")
	dns := resolver("_25._tcp.m.test TLSA 3 1 1 00", ".")
	if err := dns.Set(mxtest.Rule{Name: "_25._tcp.m.test", Fault: mxtest.LastBroken}); err != nil {
		t.Fatal(err)
	}
	source := dane.Source{Resolver: dns}
	policy := source.Find(t.Context(), &mx.Route{Domain: "e.test", Secure: true}, secureHost("m.test"))
	if policy.Outcome != dane.Unusable || policy.Unreadable != 1 || policy.Level() != mx.TLSEncrypt {
		t.Errorf("TLS-36 policy is %v, %d cannot be read; want it unusable, and TLS required", policy.Outcome, policy.Unreadable)
	}
	v := policy.Judge(dane.Session{Offered: true, Chain: sent(host)}, now)
	if !v.Accepted || v.ResultType != dane.TLSAInvalid || !strings.Contains(v.String(), "and 1 that cannot be read") {
		t.Errorf("verdict is %s", v)
	}
}

func TestTextsOfOutcomes(t *testing.T) {
	host := issue(t, nil, "m")
	dns := resolver("a.test CNAME m.test.\nm.test A 192.0.2.1\n_25._tcp.m.test CNAME t.test.\nt.test TLSA 1 1 1 "+strings.Repeat("00", 32), ".")
	source := dane.Source{Resolver: dns}
	route := &mx.Route{Domain: "e.test", Secure: true}
	shown := dane.Session{Offered: true, Chain: sent(host)}
	v := source.Find(t.Context(), route, &mx.Host{Name: "a.test"}).Judge(shown, now)
	for _, want := range []string{
		"a.test port 25 for e.test\n", "asked A of a.test: records, secure, alias of m.test\n", "asked AAAA of a.test: none, secure, alias of m.test\n",
		"alias of t.test\n", "record 1 1 1 0", "accepted with TLS, not authenticated: none of its TLSA records can be used\n",
	} {
		if !strings.Contains(v.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, v)
		}
	}
	insecure := source.Find(t.Context(), &mx.Route{Domain: "e.test"}, secureHost("m.test"))
	if text := insecure.Judge(dane.Session{}, now).String(); !strings.Contains(text, "accepted, DANE has no say: insecure MX records name the host") || strings.Contains(text, "names for usage 2") {
		t.Errorf("of a host that DANE has no say about the text is:\n%s", text)
	}
	if text := insecure.Judge(shown, now).String(); !strings.Contains(text, "accepted with TLS, not authenticated: insecure MX records") {
		t.Errorf("with TLS the text is:\n%s", text)
	}
	if err := dns.Set(mxtest.Rule{Name: "_25._tcp.m.test", Fault: mxtest.ServFail}); err != nil {
		t.Fatal(err)
	}
	failed := source.Find(t.Context(), route, secureHost("m.test"))
	if text := failed.Judge(shown, now).String(); !strings.Contains(text, "asked TLSA of _25._tcp.m.test: server failure\n") || !strings.Contains(text, "refused: a DNS question has no answer for now: TLSA of") {
		t.Errorf("of a failed question the text is:\n%s", text)
	}
	if v := failed.Judge(shown, now); v.DomainAuthenticated() {
		t.Error("it counts as authenticated")
	}
	if v := find(t, nil).Judge(shown, now); v.DomainAuthenticated() {
		t.Error("without records a host counts as authenticated")
	}
}

func TestForeignAddressesOfTwoKinds(t *testing.T) {
	for _, unsigned := range []mx.Type{mx.TypeA, mx.TypeAAAA} {
		dns := resolver("m.test A 192.0.2.1\nm.test AAAA 2001:db8::1\n_25._tcp.m.test "+record, ".")
		source := dane.Source{Resolver: halfSigned{dns, unsigned}}
		p := source.Find(t.Context(), &mx.Route{Domain: "e.test", Secure: true}, &mx.Host{Name: "m.test"})
		if p.Outcome != dane.None || p.Reason != dane.InsecureAddress {
			t.Errorf("TLS-30 with an unsigned %v the policy is %v, %v", unsigned, p.Outcome, p.Reason)
		}
	}
}

func TestTTLOfOneAnswer(t *testing.T) {
	for _, ttls := range [][]int{{30, 60}, {60, 30}} {
		zone := fmt.Sprintf("test %d SOA ns.test. root.test. 1 2 3 4 %d\n_25._tcp.a.test %d %s", ttls[0], ttls[0], ttls[1], record)
		source := dane.Source{Resolver: resolver(zone, ".")}
		p := source.Find(t.Context(), &mx.Route{Domain: "e.test", Secure: true}, &mx.Host{Name: "a.test", Target: "b.test", Secure: mx.Secure, NameSecure: mx.Secure})
		if p.TTL.Seconds() != 30 {
			t.Errorf("TLS-41 of answers for %v seconds the TTL is %v, want 30s", ttls, p.TTL)
		}
	}
}

func TestIdentitiesAndNoTarget(t *testing.T) {
	source := dane.Source{Resolver: resolver("_25._tcp.m.test "+record, ".")}
	p := source.Find(t.Context(), &mx.Route{Domain: "e.test", Secure: true}, &mx.Host{Name: "m.test", Secure: mx.Secure, NameSecure: mx.Secure})
	if p.Base != "m.test" || !slices.Equal(p.Names, []string{"m.test", "e.test"}) {
		t.Errorf("of a host that does not say where its name leads to the base is %q, the names %q", p.Base, p.Names)
	}
	p = (&dane.Source{Resolver: source.Resolver, InsecureMX: true}).Find(t.Context(), &mx.Route{Domain: "r.test", Via: mx.ViaSmartHost},
		&mx.Host{Name: "m.test", Secure: mx.Secure, NameSecure: mx.Secure, Identities: []string{"d.test"}})
	if !slices.Equal(p.Names, []string{"m.test"}) || p.DomainSecure {
		t.Errorf("TLS-28 of a smart host found by insecure MX records the names are %q", p.Names)
	}
}

func TestWordsThatLookLikeNames(t *testing.T) {
	ca := issue(t, nil, "CA", isCA)
	for _, name := range []string{"\u212aing.test", "king.test."} {
		leaf := issue(t, ca, name) // as its common name: no DNS name can have such letters
		dns := resolver("_25._tcp.king.test TLSA "+tlsa(2, 1, 1, ca), ".")
		source := dane.Source{Resolver: dns}
		p := source.Find(t.Context(), &mx.Route{Domain: "king.test", Via: mx.ViaImplicit}, secureHost("king.test"))
		if v := p.Judge(dane.Session{Offered: true, Chain: sent(leaf, ca)}, now); v.Authenticated {
			t.Errorf("TLS-39 %q is taken for king.test", name)
		}
	}
}

// TestPolicyThatNobodyMade: a policy that was forgotten lets no mail through, and says so.
func TestPolicyThatNobodyMade(t *testing.T) {
	err := new(dane.Policy).Err()
	if err == nil || !strings.HasSuffix(err.Error(), "refused: it is misconfigured") {
		t.Errorf("%v", err)
	}
	if v := new(dane.Policy).Judge(dane.Session{}, now); v.Accepted || v.Reason != dane.Misconfigured {
		t.Errorf("%v", v)
	}
}
