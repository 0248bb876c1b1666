package dane_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// TestTwelveVerdicts is RFC 7672 section 2.1.1 and 2.2 whole: what there is in DNS, and
// what the host shows.
func TestTwelveVerdicts(t *testing.T) {
	good, bad := issue(t, nil, "good"), issue(t, nil, "bad")
	sessions := map[string]dane.Session{
		"right certificate": {Offered: true, Chain: sent(good)},
		"wrong certificate": {Offered: true, Chain: sent(bad)},
		"no STARTTLS":       {},
	}
	const accepted, encrypted, authenticated, refused = "accepted", "encrypted", "authenticated", "refused"
	for _, test := range []struct {
		outcome  string
		source   func(*dane.Source)
		records  []string
		want     map[string]string
		reported map[string]dane.ResultType
	}{
		{
			"secure, usable", nil, []string{tlsa(3, 1, 1, good)},
			map[string]string{"right certificate": authenticated, "wrong certificate": refused, "no STARTTLS": refused},
			map[string]dane.ResultType{"wrong certificate": dane.NotTrusted, "no STARTTLS": dane.StartTLSNotSupported},
		},
		{
			"secure, none usable", nil, []string{"1 1 1 " + strings.Repeat("00", 32)},
			map[string]string{"right certificate": encrypted, "wrong certificate": encrypted, "no STARTTLS": refused},
			map[string]dane.ResultType{"right certificate": dane.TLSAInvalid, "wrong certificate": dane.TLSAInvalid, "no STARTTLS": dane.StartTLSNotSupported},
		},
		{
			"absent", nil, nil,
			map[string]string{"right certificate": encrypted, "wrong certificate": encrypted, "no STARTTLS": accepted}, nil,
		},
		{
			"insecure", func(s *dane.Source) { s.Resolver.(*mxtest.DNS).SetSigned("_25._tcp.example.com", false) }, []string{tlsa(3, 1, 1, good)},
			map[string]string{"right certificate": encrypted, "wrong certificate": encrypted, "no STARTTLS": accepted}, nil,
		},
	} {
		for shown, session := range sessions {
			t.Run("TLS-27 "+test.outcome+", "+shown, func(t *testing.T) {
				change := test.source
				if change == nil {
					change = func(*dane.Source) {}
				}
				verdict := find(t, test.records, change).Judge(session, now)
				got := refused
				switch {
				case verdict.Authenticated:
					got = authenticated
				case verdict.Accepted && verdict.Encrypted:
					got = encrypted
				case verdict.Accepted:
					got = accepted
				}
				if got != test.want[shown] {
					t.Errorf("it is %s, want %s: %s", got, test.want[shown], verdict)
				}
				if (verdict.Err() != nil) != (got == refused) {
					t.Errorf("error is %v", verdict.Err())
				}
				if verdict.ResultType != test.reported[shown] {
					t.Errorf("TLS-44 it is reported as %q, want %q", verdict.ResultType, test.reported[shown])
				}
			})
		}
	}
	for shown, session := range sessions {
		t.Run("TLS-27, TLS-29 failed, "+shown, func(t *testing.T) {
			source := dane.Source{Resolver: &mxtest.DNS{Rules: []mxtest.Rule{{Fault: mxtest.ServFail}}}}
			host := mx.Host{Name: "m.test", Target: "m.test", Secure: mx.Secure, NameSecure: mx.Secure}
			policy := source.Find(t.Context(), &mx.Route{Domain: "e.test", Secure: true}, &host)
			if policy.Err() == nil {
				t.Error("the host may be tried")
			}
			if verdict := policy.Judge(session, now); verdict.Accepted || verdict.ResultType != dane.DNSSECInvalid {
				t.Errorf("verdict is %s, reported as %q; want it refused", verdict, verdict.ResultType)
			}
		})
	}
}

func TestTrouble(t *testing.T) {
	host := issue(t, nil, "m")
	policy := find(t, []string{tlsa(3, 1, 1, host)})
	unusable := find(t, []string{"3 9 1 00"})
	broken := errors.New("the connection was reset")
	for _, test := range []struct {
		name    string
		session dane.Session
		reason  dane.Reason
	}{
		{"TLS-44 the handshake fails", dane.Session{Offered: true, Err: broken}, dane.HandshakeFailed},
		{"TLS-44 the certificate cannot be parsed", dane.Session{Offered: true, Err: broken, Unparsable: true}, dane.Unparsable},
		{"TLS-44 no certificate is sent", dane.Session{Offered: true}, dane.HandshakeFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, p := range []*dane.Policy{policy, unusable} {
				v := p.Judge(test.session, now)
				if v.Accepted || v.Reason != test.reason || v.ResultType != dane.ValidationFailure {
					t.Errorf("with %v records the verdict is %s, %q", p.Outcome, v, v.ResultType)
				}
				e, ok := errors.AsType[*dane.Error](v.Err())
				if !ok || !e.Temporary() || e.ResultType() != "validation-failure" || e.ReasonCode() != test.reason.Code() || !errors.Is(e, test.session.Err) && test.session.Err != nil {
					t.Errorf("error is %#v", e)
				}
			}
			if v := find(t, nil).Judge(test.session, now); !v.Accepted || v.Encrypted {
				t.Errorf("without records the verdict is %s; that is not for DANE to refuse", v)
			}
		})
	}
}

func TestMandatory(t *testing.T) {
	host := issue(t, nil, "m")
	mandatory := func(s *dane.Source) { s.Mandatory = true }
	for name, records := range map[string][]string{
		"none": nil, "none usable": {"0 0 1 " + strings.Repeat("00", 32)},
	} {
		t.Run("TLS-35 "+name, func(t *testing.T) {
			policy := find(t, records, mandatory)
			e, ok := errors.AsType[*dane.Error](policy.Err())
			if !ok || !e.Temporary() || e.ResultType() != string(dane.DANERequired) {
				t.Errorf("error is %v, want dane-required", policy.Err())
			}
			if v := policy.Judge(dane.Session{Offered: true, Chain: sent(host)}, now); v.Accepted || v.ResultType != dane.DANERequired {
				t.Errorf("verdict is %s", v)
			}
			if !strings.Contains(e.Error(), "mandatory") {
				t.Errorf("the error is %q and does not say why", e)
			}
		})
	}
	t.Run("TLS-35 records that match", func(t *testing.T) {
		policy := find(t, []string{tlsa(3, 1, 1, host)}, mandatory)
		if v := policy.Judge(dane.Session{Offered: true, Chain: sent(host)}, now); policy.Err() != nil || !v.Authenticated {
			t.Errorf("verdict is %s, %v", v, policy.Err())
		}
	})
}

func TestUsability(t *testing.T) {
	host, authority := issue(t, nil, "m"), issue(t, nil, "CA", isCA)
	good := tlsa(3, 1, 1, host)
	digest := strings.Repeat("00", 32)
	for record, want := range map[string]dane.Fate{
		"3 1 1 " + digest:             dane.Counts,
		"0 0 1 " + digest:             dane.PKIXUsage,
		"1 1 1 " + digest:             dane.PKIXUsage,
		"4 1 1 " + digest:             dane.UnknownUsage,
		"255 1 1 " + digest:           dane.UnknownUsage,
		"3 2 1 " + digest:             dane.UnknownSelector,
		"2 255 1 " + digest:           dane.UnknownSelector,
		"3 1 3 " + digest:             dane.UnknownMatching,
		"3 1 9 " + digest:             dane.UnknownMatching,
		"3 1 1 " + digest[2:]:         dane.BadLength,
		"3 1 1 " + digest + "00":      dane.BadLength,
		"2 0 2 " + digest:             dane.BadLength,
		"3 0 0 " + digest:             dane.BadData,
		"3 0 0 30":                    dane.BadData,
		"2 1 0 3000":                  dane.BadData,
		tlsa(3, 0, 0, host) + "00":    dane.BadData,
		tlsa(2, 1, 0, host) + "00":    dane.BadData,
		tlsa(3, 0, 0, host):           dane.Counts,
		tlsa(3, 1, 0, host):           dane.Counts,
		tlsa(2, 0, 0, authority):      dane.Counts,
		tlsa(2, 1, 0, authority):      dane.Counts,
		tlsa(2, 1, 2, authority):      dane.Counts,
		"3 0 0 3006300030000301" + "": dane.BadData,
	} {
		t.Run("TLS-36 "+record[:min(len(record), 20)], func(t *testing.T) {
			policy := find(t, []string{record})
			if policy.Records[0].Fate != want {
				t.Fatalf("the record %s is %v, want %v", record, policy.Records[0].Fate, want)
			}
			outcome := dane.Usable
			if want.Unusable() {
				outcome = dane.Unusable
			}
			if policy.Outcome != outcome {
				t.Errorf("the set is %v, want %v", policy.Outcome, outcome)
			}
			if !want.Unusable() {
				return
			}
			mixed := find(t, []string{record, good})
			if v := mixed.Judge(dane.Session{Offered: true, Chain: sent(host)}, now); !v.Authenticated {
				t.Errorf("with a good record beside it the verdict is %s", v)
			}
			if v := mixed.Judge(dane.Session{Offered: true, Chain: sent(authority)}, now); v.Accepted {
				t.Errorf("a good record beside it does not rule: %s", v)
			}
		})
	}
}

func TestDigestAgility(t *testing.T) {
	host, other := issue(t, nil, "m"), issue(t, nil, "other")
	shown := dane.Session{Offered: true, Chain: sent(host)}
	for _, test := range []struct {
		name    string
		records []string
		digests []uint8
		want    bool
	}{
		{"TLS-40 the stronger digest does not match", []string{tlsa(3, 1, 1, host), tlsa(3, 1, 2, other)}, nil, false},
		{"TLS-40 the stronger digest matches", []string{tlsa(3, 1, 1, other), tlsa(3, 1, 2, host)}, nil, true},
		{"TLS-40 the other order", []string{tlsa(3, 1, 1, host), tlsa(3, 1, 2, other)}, []uint8{dane.SHA256, dane.SHA512}, true},
		{"TLS-40 one digest alone is known", []string{tlsa(3, 1, 1, host), tlsa(3, 1, 2, other)}, []uint8{dane.SHA256}, true},
		{"TLS-40 the whole key counts beside any digest", []string{tlsa(3, 1, 0, host), tlsa(3, 1, 2, other)}, nil, true},
		{"TLS-40 another selector is another matter", []string{tlsa(3, 0, 1, host), tlsa(3, 1, 2, other)}, nil, true},
		{"TLS-40 another usage is another matter", []string{tlsa(3, 1, 1, host), tlsa(2, 1, 2, other)}, nil, true},
		{"TLS-40 an unusable digest is not stronger", []string{tlsa(3, 1, 1, host), "3 1 2 0000"}, nil, true},
		{"TLS-40 a rollover with both digests", []string{tlsa(3, 1, 1, other), tlsa(3, 1, 2, other), tlsa(3, 1, 1, host), tlsa(3, 1, 2, host)}, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy := find(t, test.records, func(s *dane.Source) { s.Digests = test.digests })
			if v := policy.Judge(shown, now); v.Authenticated != test.want {
				t.Errorf("verdict is %s, want authenticated %v", v, test.want)
			}
		})
	}
}

func TestEndEntity(t *testing.T) {
	for _, test := range []struct {
		name string
		cert *identity
	}{
		{"expired, self-signed, of another name", issue(t, nil, "other.test", names("other.test"), expired)},
		{"not valid yet", issue(t, nil, "m", notYet)},
		{"without names", issue(t, nil, "")},
		{"for clients", issue(t, nil, "m", usage(x509.ExtKeyUsageClientAuth))},
		{"an authority", issue(t, nil, "m", isCA)},
		{"by an unknown authority that is not sent", issue(t, issue(t, nil, "CA", isCA), "m")},
	} {
		for selector := range 2 {
			for matching := range 3 {
				t.Run(fmt.Sprintf("TLS-37 %s, 3 %d %d", test.name, selector, matching), func(t *testing.T) {
					policy := find(t, []string{tlsa(3, selector, matching, test.cert)})
					if v := policy.Judge(dane.Session{Offered: true, Chain: sent(test.cert)}, now); !v.Authenticated || v.Matched.Depth != 0 {
						t.Errorf("verdict is %s, want it authenticated", v)
					}
				})
			}
		}
	}
	t.Run("TLS-37 the right name and another key", func(t *testing.T) {
		right, other := issue(t, nil, "example.com", names("example.com")), issue(t, nil, "example.com", names("example.com"))
		if v := find(t, []string{tlsa(3, 1, 1, right)}).Judge(dane.Session{Offered: true, Chain: sent(other)}, now); v.Accepted {
			t.Errorf("verdict is %s", v)
		}
	})
	t.Run("TLS-37 the record is about a certificate that is not the host's own", func(t *testing.T) {
		ca := issue(t, nil, "CA", isCA)
		leaf := issue(t, ca, "example.com", names("example.com"))
		if v := find(t, []string{tlsa(3, 1, 1, ca)}).Judge(dane.Session{Offered: true, Chain: sent(leaf, ca)}, now); v.Accepted {
			t.Errorf("verdict is %s", v)
		}
	})
	t.Run("TLS-37 a renewed certificate with the same key", func(t *testing.T) {
		old := issue(t, nil, "m")
		renewed := issueFor(t, old.key, nil, "m")
		if v := find(t, []string{tlsa(3, 1, 1, old)}).Judge(dane.Session{Offered: true, Chain: sent(renewed)}, now); !v.Authenticated {
			t.Errorf("verdict is %s", v)
		}
		if v := find(t, []string{tlsa(3, 0, 1, old)}).Judge(dane.Session{Offered: true, Chain: sent(renewed)}, now); v.Accepted {
			t.Errorf("by the whole certificate the verdict is %s", v)
		}
	})
}

func TestKeyTellsPoliciesApart(t *testing.T) {
	a, b := issue(t, nil, "a"), issue(t, nil, "b")
	key := func(records ...string) string { return find(t, records).Key() }
	if key(tlsa(3, 1, 1, a), tlsa(3, 1, 1, b)) != key(tlsa(3, 1, 1, b), tlsa(3, 1, 1, a)) {
		t.Error("SMTP-43 the order of records matters")
	}
	keys := map[string]bool{}
	for _, records := range [][]string{{tlsa(3, 1, 1, a)}, {tlsa(3, 1, 1, b)}, {tlsa(2, 1, 1, a)}, {tlsa(3, 1, 1, a), tlsa(3, 1, 1, b)}, {"1 1 1 00"}} {
		keys[key(records...)] = true
	}
	if len(keys) != 5 {
		t.Errorf("SMTP-43 five policies have %d keys", len(keys))
	}
	if k := key(); k != "" {
		t.Errorf("without records the key is %q", k)
	}
}

func TestVerdictAsText(t *testing.T) {
	ca := issue(t, nil, "CA", isCA)
	leaf := issue(t, ca, "evil\x1b[2Jname", names("other.test", "\u0007.test"), func(c *x509.Certificate) { c.NotAfter = now.Add(time.Hour) })
	policy := find(t, []string{tlsa(2, 1, 1, ca), "1 1 1 " + strings.Repeat("00", 32)})
	v := policy.Judge(dane.Session{Offered: true, Chain: sent(leaf, ca)}, now)
	text := v.String()
	for _, want := range []string{
		"example.com port 25 for example.com", "asked TLSA of _25._tcp.example.com: records, secure", "vouches for other names",
		"usage means nothing in SMTP", "names for usage 2: example.com", "other.test", "until 2026-03-01", "refused: the certificate is for other names",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if strings.ContainsAny(text, "\x1b\x07") {
		t.Errorf("what a certificate says reaches the terminal:\n%q", text)
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var decoded struct {
		Policy struct {
			Outcome string
			Records []struct{ Record, Fate string }
			Names   []string
		}
		Reason     string
		ResultType string `json:"result_type"`
		Chain      []struct {
			Names    []string
			NotAfter time.Time `json:"not_after"`
		}
	}
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	if decoded.Policy.Outcome != "usable" || decoded.Reason != "certificate-name" || decoded.ResultType != "certificate-host-mismatch" ||
		len(decoded.Chain) != 2 || decoded.Policy.Records[1].Record != "1 1 1 "+strings.Repeat("00", 32) {
		t.Errorf("JSON is %s", encoded)
	}
}

func TestWordsAreDistinct(t *testing.T) {
	words := map[string]string{}
	note := func(kind string, n int, word string) {
		if other, is := words[kind+word]; is || word == "" && n > 0 {
			t.Errorf("%s %d is called %q, as is %s", kind, n, word, other)
		}
		words[kind+word] = fmt.Sprint(n)
	}
	for r := dane.NoReason; r <= dane.ChainInvalid; r++ {
		note("reason ", int(r), r.String())
		note("code ", int(r), r.Code())
	}
	for f := dane.Counts; f <= dane.NotTried; f++ {
		note("fate ", int(f), f.String())
	}
	for o := dane.Failed; o <= dane.Usable; o++ {
		note("outcome ", int(o), o.String())
	}
	for what, text := range map[string]string{
		"reason 200": dane.Reason(200).String(), "dane.Reason(200)": dane.Reason(200).Code(), "dane.Fate(200)": dane.Fate(200).String(), "dane.Outcome(200)": dane.Outcome(200).String(),
	} {
		if text != what {
			t.Errorf("what has no name is called %q, want %q", text, what)
		}
	}
}
