package dane_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// vector is a case of testdata/danetest.in, whose head says what the fields are.
type vector struct {
	number       int
	noNameChecks bool // for usage 3; OpenSSL has the choice
	verify       int  // as OpenSSL numbers its errors
	depth        int
	records      []string
	chain        []*x509.Certificate
}

// OpenSSL's results in the vectors.
const (
	verifyOK       = 0
	verifyNoIssuer = 20
	verifyHostname = 62
	verifyNoMatch  = 65
)

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/danetest.in")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for len(lines) > 0 {
		line := strings.TrimSpace(lines[0])
		lines = lines[1:]
		if line == "" || line[0] == '#' {
			continue
		}
		v := vector{number: len(all) + 1}
		var records, certs, unchecked int
		if _, err := fmt.Sscan(line, &records, &certs, &unchecked, &v.verify, &v.depth); err != nil {
			t.Fatalf("vector %d: %q: %v", v.number, line, err)
		}
		v.noNameChecks = unchecked == 1
		v.records, lines = lines[:records], lines[records:]
		rest := []byte(strings.Join(lines, "\n"))
		for range certs {
			var block *pem.Block
			block, rest = pem.Decode(rest)
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatalf("vector %d: %v", v.number, err)
			}
			v.chain = append(v.chain, cert)
		}
		lines = strings.Split(string(bytes.TrimSpace(rest)), "\n")
		all = append(all, v)
	}
	return all
}

// onlyPKIX reports whether all records have usages 0 and 1.
func (v *vector) onlyPKIX() bool {
	for _, r := range v.records {
		if r[0] > '1' {
			return false
		}
	}
	return true
}

func TestVectorsOfOpenSSL(t *testing.T) {
	all := vectors(t)
	if len(all) != 54 {
		t.Fatalf("there are %d vectors, want 54", len(all))
	}
	differ := 0
	for _, v := range all {
		t.Run(fmt.Sprintf("TLS-37, TLS-38 vector %d", v.number), func(t *testing.T) {
			policy := find(t, v.records)
			verdict := policy.Judge(dane.Session{Offered: true, Chain: v.chain}, now)
			want, outcome := v.verify, dane.Usable
			switch {
			case v.onlyPKIX():
				// RFC 7672 section 3.1.3: SMTP has no such usages, and a set of these
				// alone asks for TLS and for no certificate.
				outcome = dane.Unusable
			case want == verifyHostname && !v.noNameChecks && v.records[0][0] == '3':
				// RFC 7672 section 3.1.1: names are not checked for usage 3.
				want = verifyOK
				differ++
			}
			if policy.Outcome != outcome {
				t.Fatalf("the records are %v, want them %v", policy.Outcome, outcome)
			}
			if outcome == dane.Unusable {
				if !verdict.Accepted || verdict.Authenticated {
					t.Errorf("verdict is %s, want it accepted and not authenticated", verdict)
				}
				return
			}
			got := map[dane.Reason]int{dane.NoReason: verifyOK, dane.WrongName: verifyHostname, dane.NoRecordMatches: verifyNoMatch}
			if result, ok := got[verdict.Reason]; !ok || result != want || verdict.Authenticated != (want == verifyOK) {
				t.Errorf("verdict is %s, want OpenSSL's %d", verdict, want)
			}
			if depth := depthOf(verdict); depth != v.depth {
				t.Errorf("it matches at depth %d, want %d: %s", depth, v.depth, verdict)
			}
		})
	}
	if differ != 1 {
		t.Errorf("%d vectors differ by RFC 7672 section 3.1.1, want 1", differ)
	}
}

// depthOf is the least depth at which a record matches a certificate, -1 if none does.
func depthOf(v *dane.Verdict) int {
	depth := -1
	for _, r := range v.Records {
		if (r.Fate == dane.Matched || r.Fate == dane.NameMismatch) && (depth < 0 || r.Depth < depth) {
			depth = r.Depth
		}
	}
	return depth
}

// find is the policy of example.com by the records given.
func find(t testing.TB, records []string, changes ...func(*dane.Source)) *dane.Policy {
	t.Helper()
	dns := &mxtest.DNS{Signed: map[string]bool{".": true}}
	for _, r := range records {
		dns.Zone += "_25._tcp.example.com TLSA " + r + "\n"
	}
	source := dane.Source{Resolver: dns}
	for _, change := range changes {
		change(&source)
	}
	host := mx.Host{Name: "example.com", Target: "example.com", Secure: mx.Secure, NameSecure: mx.Secure}
	policy := source.Find(t.Context(), &mx.Route{Domain: "example.com", Via: mx.ViaImplicit, Secure: true}, &host)
	if policy.Cause != nil {
		t.Fatal(policy.Cause)
	}
	return policy
}
