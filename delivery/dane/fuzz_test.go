package dane_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/mx"
)

// answers is a Resolver that has the same answer for every question.
type answers struct{ mx.Answer }

// FuzzRecord: whatever stands in a record, it is usable or it says why not; and it
// authenticates nobody but whom it is about.
func FuzzRecord(f *testing.F) {
	all := vectors(f)
	for i := range all {
		v := &all[i]
		for _, r := range v.records {
			var usage, selector, matching uint8
			var data []byte
			if scan(r, &usage, &selector, &matching, &data) {
				f.Add(usage, selector, matching, data)
			}
		}
	}
	leaf := issue(f, nil, "example.com", names("example.com"))
	f.Add(uint8(3), uint8(0), uint8(0), leaf.cert.Raw)
	f.Add(uint8(2), uint8(1), uint8(0), leaf.cert.RawSubjectPublicKeyInfo)
	f.Fuzz(func(t *testing.T, usage, selector, matching uint8, data []byte) {
		set := []mx.TLSA{{Usage: usage, Selector: selector, MatchingType: matching, Data: data}}
		policy := policyOf(t, set)
		verdict := policy.Judge(dane.Session{Offered: true, Chain: sent(leaf)}, now)
		check(t, policy, verdict)
		if verdict.Authenticated && (usage != 3 && (usage != 2 || selector != 1 || matching != 0) || !about(set[0], leaf)) {
			t.Errorf("%s authenticates a stranger: %s", policy.Records[0], verdict)
		}
		if usage < 2 && policy.Outcome == dane.Usable {
			t.Errorf("%s is usable", policy.Records[0])
		}
	})
}

// FuzzChain: whatever certificates a host sends, it is authenticated only if one of them
// matches a record.
func FuzzChain(f *testing.F) {
	root := issue(f, nil, "root", isCA)
	leaf := issue(f, root, "example.com", names("example.com"))
	policy := policyOf(f, []mx.TLSA{{Usage: 2, Selector: 1, MatchingType: 0, Data: root.cert.RawSubjectPublicKeyInfo}})
	f.Add(leaf.cert.Raw, root.cert.Raw)
	f.Add(leaf.cert.Raw, leaf.cert.Raw)
	all := vectors(f)
	for i := range all {
		chain := all[i].chain
		f.Add(chain[0].Raw, chain[len(chain)-1].Raw)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var chain []*x509.Certificate
		for _, der := range [][]byte{first, second} {
			if cert, err := x509.ParseCertificate(der); err == nil {
				chain = append(chain, cert)
			}
		}
		verdict := policy.Judge(dane.Session{Offered: true, Chain: chain}, now)
		check(t, policy, verdict)
		if verdict.Authenticated && string(chain[0].RawTBSCertificate) != string(leaf.cert.RawTBSCertificate) {
			t.Errorf("a stranger is authenticated: %s", verdict)
		}
	})
}

// check is what holds of every verdict.
func check(t *testing.T, policy *dane.Policy, verdict *dane.Verdict) {
	t.Helper()
	if verdict.Authenticated && (!verdict.Accepted || verdict.Matched == nil || policy.Outcome != dane.Usable) {
		t.Errorf("authenticated and not: %+v", verdict)
	}
	if e, ok := errors.AsType[*dane.Error](verdict.Err()); ok == verdict.Accepted || ok && (!e.Temporary() || e.ResultType() == "" || e.ReasonCode() == "") {
		t.Errorf("error is %v of %s", verdict.Err(), verdict)
	}
	for _, c := range verdict.String() {
		if c != '\n' && (c < ' ' || c == 0x7f) {
			t.Errorf("the text has %q in it: %q", c, verdict.String())
		}
	}
	if _, err := json.Marshal(verdict); err != nil {
		t.Error(err)
	}
}
