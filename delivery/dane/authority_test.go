package dane_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

func TestAuthority(t *testing.T) {
	root := issue(t, nil, "root", isCA)
	middle := issue(t, root, "middle", isCA)
	leaf := issue(t, middle, "example.com", names("example.com"))
	other := issue(t, nil, "other", isCA)

	tight := issue(t, root, "tight", isCA, pathLen(0))
	below := issue(t, tight, "below", isCA)
	tooDeep := issue(t, below, "example.com", names("example.com"))

	noCA := issue(t, root, "no CA")
	byNoCA := issue(t, noCA, "example.com", names("example.com"))
	deadCA := issue(t, root, "dead", isCA, expired)
	byDead := issue(t, deadCA, "example.com", names("example.com"))
	deadRoot := issue(t, nil, "dead root", isCA, expired)
	byDeadRoot := issue(t, deadRoot, "example.com", names("example.com"))
	only := issue(t, root, "only", isCA, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"elsewhere.test"}, true
	})
	outside := issue(t, only, "example.com", names("example.com"))
	old := issue(t, middle, "example.com", names("example.com"), expired)
	young := issue(t, middle, "example.com", names("example.com"), notYet)
	forClients := issue(t, middle, "example.com", names("example.com"), usage(x509.ExtKeyUsageClientAuth))
	forServers := issue(t, middle, "example.com", names("example.com"), usage(x509.ExtKeyUsageServerAuth))
	foreign := issue(t, middle, "other.test", names("other.test"))
	self := issue(t, nil, "example.com", names("example.com"), isCA)
	direct := issue(t, root, "example.com", names("example.com"))

	for _, test := range []struct {
		name    string
		records []string
		chain   []*identity
		want    dane.Reason
		depth   int
	}{
		{"TLS-38 the authority is in the chain", []string{tlsa(2, 0, 1, middle)}, []*identity{leaf, middle, root}, dane.NoReason, 1},
		{"TLS-38 the root is in the chain", []string{tlsa(2, 1, 2, root)}, []*identity{leaf, middle, root}, dane.NoReason, 2},
		{"TLS-38 an authority in the middle, its root not sent", []string{tlsa(2, 1, 1, middle)}, []*identity{leaf, middle}, dane.NoReason, 1},
		{"TLS-38 the chain in another order, and more than a chain", []string{tlsa(2, 1, 1, root)}, []*identity{leaf, other, root, middle}, dane.NoReason, 2},
		{"TLS-38 the digest of an authority that is not sent", []string{tlsa(2, 1, 1, root)}, []*identity{leaf, middle}, dane.NoRecordMatches, 0},
		{"TLS-38 the whole authority is in the record and not sent", []string{tlsa(2, 0, 0, root)}, []*identity{leaf, middle}, dane.NoReason, 2},
		{"TLS-38 the whole issuer is in the record, the host's own certificate alone is sent", []string{tlsa(2, 0, 0, middle)}, []*identity{leaf}, dane.NoReason, 1},
		{"TLS-38 the key of the root is in the record, the root not sent", []string{tlsa(2, 1, 0, root)}, []*identity{leaf, middle}, dane.NoReason, 1},
		{"TLS-38 the key of the issuer is in the record, the host's own certificate alone is sent", []string{tlsa(2, 1, 0, middle)}, []*identity{leaf}, dane.NoReason, 0},
		{"TLS-38 the key of another authority", []string{tlsa(2, 1, 0, other)}, []*identity{leaf, middle}, dane.NoRecordMatches, 0},
		{"TLS-38 another whole authority", []string{tlsa(2, 0, 0, other)}, []*identity{leaf, middle}, dane.NoRecordMatches, 0},
		{"TLS-38 the authority is sent, and is not above the host's certificate", []string{tlsa(2, 1, 1, other)}, []*identity{leaf, other}, dane.ChainInvalid, 1},
		{"TLS-38 what is in between is not sent", []string{tlsa(2, 1, 1, root)}, []*identity{leaf, root}, dane.ChainInvalid, 1},
		{"TLS-38 the path is longer than its length allows", []string{tlsa(2, 1, 1, root)}, []*identity{tooDeep, below, tight, root}, dane.ChainInvalid, 3},
		{"TLS-38 the length is that of the authority itself", []string{tlsa(2, 1, 1, tight)}, []*identity{tooDeep, below, tight}, dane.ChainInvalid, 2},
		{"TLS-38 the length holds with a bare key above", []string{tlsa(2, 1, 0, root)}, []*identity{tooDeep, below, tight}, dane.ChainInvalid, 2},
		{"TLS-38 what issued the certificate is no authority", []string{tlsa(2, 1, 1, noCA)}, []*identity{byNoCA, noCA}, dane.ChainInvalid, 1},
		{"TLS-38 what is in the middle is no authority", []string{tlsa(2, 1, 1, root)}, []*identity{byNoCA, noCA, root}, dane.ChainInvalid, 2},
		{"TLS-38 the authority's own dates play no part", []string{tlsa(2, 1, 1, deadCA)}, []*identity{byDead, deadCA}, dane.NoReason, 1},
		{"TLS-38 nor do those of a root", []string{tlsa(2, 1, 1, deadRoot)}, []*identity{byDeadRoot, deadRoot}, dane.NoReason, 1},
		{"TLS-38 nor if it is in the record", []string{tlsa(2, 0, 0, deadCA)}, []*identity{byDead}, dane.NoReason, 1},
		{"TLS-38 a sent authority is not left out for its key's sake", []string{tlsa(2, 1, 0, noCA)}, []*identity{byNoCA, noCA}, dane.ChainInvalid, 1},
		{"TLS-38 what is in the middle has expired", []string{tlsa(2, 1, 1, root)}, []*identity{byDead, deadCA, root}, dane.NotInDate, 2},
		{"TLS-38 the host's certificate has expired", []string{tlsa(2, 1, 1, root)}, []*identity{old, middle, root}, dane.NotInDate, 2},
		{"TLS-38 the host's certificate has expired, with a bare key", []string{tlsa(2, 1, 0, middle)}, []*identity{old}, dane.NotInDate, 0},
		{"TLS-38 the host's certificate is not valid yet", []string{tlsa(2, 1, 1, middle)}, []*identity{young, middle}, dane.NotInDate, 1},
		{"TLS-38 the authority is for other names", []string{tlsa(2, 1, 1, root)}, []*identity{outside, only, root}, dane.ChainInvalid, 2},
		{"TLS-38 the certificate is for clients", []string{tlsa(2, 1, 1, middle)}, []*identity{forClients, middle}, dane.ChainInvalid, 1},
		{"TLS-38 the certificate is for servers", []string{tlsa(2, 1, 1, middle)}, []*identity{forServers, middle}, dane.NoReason, 1},
		{"TLS-38 a host is no authority over itself", []string{tlsa(2, 1, 1, self)}, []*identity{self}, dane.NoRecordMatches, 0},
		{"TLS-38 nor if it sends its certificate twice", []string{tlsa(2, 1, 1, self)}, []*identity{self, self}, dane.NoRecordMatches, 0},
		{"TLS-38 nor if the record has it whole", []string{tlsa(2, 0, 0, self)}, []*identity{self}, dane.NoRecordMatches, 0},
		{"TLS-38 but the key in a record may have signed its own certificate", []string{tlsa(2, 1, 0, self)}, []*identity{self}, dane.NoReason, 0},
		{"TLS-38 a root that issued the host's certificate", []string{tlsa(2, 0, 2, root)}, []*identity{direct, root}, dane.NoReason, 1},
		{"TLS-39 the certificate is for another name", []string{tlsa(2, 1, 1, middle)}, []*identity{foreign, middle}, dane.WrongName, 1},
		{"TLS-39 another name, with a bare key", []string{tlsa(2, 1, 0, middle)}, []*identity{foreign}, dane.WrongName, 0},
		{"TLS-38 of two authorities one will do", []string{tlsa(2, 1, 1, other), tlsa(2, 1, 1, root)}, []*identity{leaf, middle, root}, dane.NoReason, 2},
		{"TLS-38 the certificate itself beside an authority of no use", []string{tlsa(2, 1, 1, other), tlsa(3, 1, 1, leaf)}, []*identity{leaf}, dane.NoReason, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := find(t, test.records).Judge(dane.Session{Offered: true, Chain: sent(test.chain...)}, now)
			if v.Reason != test.want || v.Authenticated != (test.want == dane.NoReason) {
				t.Fatalf("reason is %q, want %q: %s", v.Reason, test.want, v)
			}
			if (v.Matched != nil) != v.Authenticated {
				t.Errorf("the record that matched is %v", v.Matched)
			}
			fates := map[dane.Reason]dane.Fate{
				dane.NoReason: dane.Matched, dane.NoRecordMatches: dane.NoMatch, dane.ChainInvalid: dane.BadChain, dane.NotInDate: dane.Expired, dane.WrongName: dane.NameMismatch,
			}
			if last := v.Records[len(v.Records)-1]; last.Fate != fates[test.want] {
				t.Errorf("the record %s: %v, want that it %v", last, last.Fate, fates[test.want])
			}
			if test.want == dane.NoReason && v.Matched.Depth != test.depth {
				t.Errorf("it matches at depth %d, want %d", v.Matched.Depth, test.depth)
			}
			types := map[dane.Reason]dane.ResultType{
				dane.NoRecordMatches: dane.NotTrusted, dane.ChainInvalid: dane.NotTrusted, dane.NotInDate: dane.CertificateExpired, dane.WrongName: dane.HostMismatch,
			}
			if v.ResultType != types[test.want] {
				t.Errorf("TLS-44 it is reported as %q, want %q", v.ResultType, types[test.want])
			}
		})
	}
}

func TestNamesInCertificates(t *testing.T) {
	ca := issue(t, nil, "CA", isCA)
	for _, test := range []struct {
		common string
		san    []string
		want   bool
	}{
		{"", []string{"mx.example.com"}, true},
		{"", []string{"MX.Example.COM"}, true},
		{"", []string{"a.test", "mx.example.com"}, true},
		{"", []string{"*.example.com"}, true},
		{"", []string{"*.com"}, false},
		{"", []string{"example.com"}, false},
		{"", []string{"a.mx.example.com"}, false},
		{"", []string{"m*.example.com"}, false},
		{"", []string{"*x.example.com"}, false},
		{"", []string{"*.*.com"}, false},
		{"", []string{"*"}, false},
		{"", []string{"mx.*.com"}, false},
		{"mx.example.com", []string{"other.test"}, false},
		{"mx.example.com", nil, true},
		{"*.example.com", nil, true},
		{"MX.example.com", nil, true},
		{"other.test", nil, false},
		{"", nil, false},
	} {
		t.Run(fmt.Sprintf("TLS-39 common name %q, names %q", test.common, test.san), func(t *testing.T) {
			leaf := issue(t, ca, test.common, names(test.san...), func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: test.common} })
			dns := &mxtest.DNS{Zone: "_25._tcp.mx.example.com TLSA " + tlsa(2, 1, 1, ca), Signed: map[string]bool{".": true}}
			source := dane.Source{Resolver: dns, InsecureMX: true}
			host := mx.Host{Name: "mx.example.com", Target: "mx.example.com", Secure: mx.Secure, NameSecure: mx.Secure}
			v := source.Find(t.Context(), &mx.Route{Domain: "d.test"}, &host).Judge(dane.Session{Offered: true, Chain: sent(leaf, ca)}, now)
			if v.Authenticated != test.want {
				t.Errorf("verdict is %s, want authenticated %v", v, test.want)
			}
		})
	}
}
