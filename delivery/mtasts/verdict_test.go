package mtasts_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
)

func TestJudge(t *testing.T) {
	w := newWorld(t)
	chain := func(by *x509.Certificate, signer *tls.Certificate, changes ...func(*x509.Certificate)) mtasts.Session {
		_, cert := w.certificate(by, signer, changes...)
		return mtasts.Session{Offered: true, Chain: []*x509.Certificate{cert}}
	}
	middle, middleCert := w.certificate(w.caOf, &w.ca, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign })
	behind := chain(middleCert, &middle, forName("mx.e.test"))
	gap := behind
	behind.Chain = append(behind.Chain, middleCert)
	broken := errors.New("reset")
	over := func(c *x509.Certificate) {
		c.DNSNames, c.NotAfter = []string{"mx.e.test"}, time.Now().Add(-time.Minute)
	}
	for _, test := range []struct {
		name, host string
		session    mtasts.Session
		result     mtasts.ResultType
		code       string
	}{
		{"the right certificate", "mx.e.test", chain(w.caOf, &w.ca, forName("mx.e.test")), "", ""},
		{"a wildcard", "mx.e.test", chain(w.caOf, &w.ca, forName("*.e.test")), "", ""},
		{"behind another authority, which is sent", "mx.e.test", behind, "", ""},
		{"behind another authority, which is not", "mx.e.test", gap, mtasts.NotTrusted, "certificate-not-trusted"},
		{"a host that the policy does not name", "other.test", chain(w.caOf, &w.ca, forName("other.test")), mtasts.ValidationFailure, "mx-mismatch"},
		{"the domain itself, which the policy does not name", "e.test", chain(w.caOf, &w.ca, forName("e.test")), mtasts.ValidationFailure, "mx-mismatch"},
		{"no STARTTLS", "mx.e.test", mtasts.Session{}, mtasts.StartTLSNotSupported, "starttls-not-offered"},
		{"a handshake that fails", "mx.e.test", mtasts.Session{Offered: true, Err: broken}, mtasts.ValidationFailure, "handshake-failed"},
		{"a handshake that fails after the right certificate", "mx.e.test", mtasts.Session{Offered: true, Err: broken, Chain: gap.Chain}, mtasts.ValidationFailure, "handshake-failed"},
		{"no certificate", "mx.e.test", mtasts.Session{Offered: true}, mtasts.ValidationFailure, "handshake-failed"},
		{"a certificate that cannot be parsed", "mx.e.test", mtasts.Session{Offered: true, Err: broken, Unparsable: true}, mtasts.ValidationFailure, "certificate-unparsable"},
		{"another name", "mx.e.test", chain(w.caOf, &w.ca, forName("e.test")), mtasts.HostMismatch, "certificate-name"},
		{"a common name alone", "mx.e.test", chain(w.caOf, &w.ca, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "mx.e.test"} }), mtasts.HostMismatch, "certificate-name"},
		{"expired", "mx.e.test", chain(w.caOf, &w.ca, over), mtasts.CertificateExpired, "certificate-expired"},
		{"self-signed", "mx.e.test", chain(nil, nil, forName("mx.e.test")), mtasts.NotTrusted, "certificate-not-trusted"},
		{"for clients", "mx.e.test", chain(w.caOf, &w.ca, forName("mx.e.test"), func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), mtasts.NotTrusted, "certificate-not-trusted"},
	} {
		for _, mode := range []mtasts.Mode{mtasts.Enforce, mtasts.Testing, mtasts.None} {
			t.Run("TLS-19, TLS-21 "+test.name+", mode "+mode.String(), func(t *testing.T) {
				found := mtasts.Found{Domain: "e.test", ID: "7", Policy: &mtasts.Policy{Mode: mode, MX: []string{"mx.e.test"}}}
				v := found.Judge(test.host, test.session, w.roots, time.Now())
				result, code := test.result, test.code
				if mode == mtasts.None {
					result, code = "", ""
				}
				if v.ResultType != result || v.ReasonCode != code {
					t.Errorf("TLS-44 it is %q, %q; want %q, %q", v.ResultType, v.ReasonCode, result, code)
				}
				refused := mode == mtasts.Enforce && result != ""
				if v.Accepted == refused || (v.Err() != nil) != refused {
					t.Errorf("accepted: %v, error %v", v.Accepted, v.Err())
				}
				if v.Authenticated != (mode != mtasts.None && result == "") || v.Matched != (mode != mtasts.None && code != "mx-mismatch") {
					t.Errorf("authenticated: %v, matched: %v", v.Authenticated, v.Matched)
				}
				if byName := found.JudgeName(test.host); byName.Accepted != (!refused || code != "mx-mismatch") || byName.Authenticated {
					t.Errorf("by the name alone it is %+v", byName)
				}
				e, is := errors.AsType[*mtasts.HostError](v.Err())
				if is != refused {
					t.Fatalf("error is %v", v.Err())
				}
				if is && (!e.Temporary() || e.ResultType() != string(result) || e.ReasonCode() != code || !strings.Contains(e.Error(), "policy 7 of e.test") ||
					!strings.Contains(e.Error(), test.host) || test.session.Err != nil && !errors.Is(e, broken)) {
					t.Errorf("error is %v, %s, %s", e, e.ResultType(), e.ReasonCode())
				}
				if is && strings.Contains(e.Error(), "does not name") != (code == "mx-mismatch") || is && test.session.Err != nil && !strings.Contains(e.Error(), "reset") {
					t.Errorf("the error is %q", e)
				}
				if text, err := json.Marshal(v); err != nil || !strings.Contains(string(text), "\"host\":\""+test.host) {
					t.Errorf("in JSON it is %s, %v", text, err)
				}
			})
		}
	}
	t.Run("TLS-18 without a policy", func(t *testing.T) {
		var none mtasts.Found
		if v := none.Judge("mx.e.test", mtasts.Session{}, w.roots, time.Now()); !v.Accepted || v.ResultType != "" {
			t.Errorf("verdict is %+v", v)
		}
	})
	t.Run("TLS-16 an implicit MX", func(t *testing.T) {
		found := mtasts.Found{Domain: "e.test", Policy: &mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"e.test"}}}
		if v := found.Judge("e.test", chain(w.caOf, &w.ca, forName("e.test")), w.roots, time.Now()); !v.Authenticated {
			t.Errorf("verdict is %+v", v)
		}
	})
}
