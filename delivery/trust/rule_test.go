package trust_test

import (
	"crypto/sha256"
	"crypto/tls"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestRulesWin: what the operator says of some hosts counts before what their domains say.
func TestRulesWin(t *testing.T) {
	right, wrong := []string{"mx1.e.test"}, []string{"mx9.e.test"}
	for _, c := range []struct {
		name     string
		rule     trust.Rule
		clear    bool // the host has no STARTTLS
		cert     []string
		tlsa     string // "" none, "right" of the host, else as it is
		policy   bool   // enforced, of other names
		outcome  queue.Outcome
		tls      string
		asked    bool // DANE was
		reported tlsrpt.Result
	}{
		{"none, where TLSA records match", trust.Rule{Level: trust.None}, false, right, "right", false, queue.Delivered, "none", false, 0},
		{"may, where TLSA records do not match", trust.Rule{Level: trust.May}, false, right, otherTLSA, false, queue.Delivered, "encrypted", false, 0},
		{"may, where there is no TLS and a policy wants it", trust.Rule{Level: trust.May}, true, right, "", true, queue.Delivered, "none", false, 0},
		{"encrypt, where a policy does not name the host", trust.Rule{Level: trust.Encrypt}, false, wrong, "", true, queue.Delivered, "encrypted", false, 0},
		{"encrypt, without TLS", trust.Rule{Level: trust.Encrypt}, true, right, "", false, queue.Deferred, "none", false, tlsrpt.StartTLSNotSupported},
		{"verify, with a certificate of that name", trust.Rule{Level: trust.Verify}, false, right, "", false, queue.Delivered, "verified", true, 0},
		{"verify, with a certificate for others", trust.Rule{Level: trust.Verify}, false, wrong, "", false, queue.Deferred, "none", true, 0},
		{"verify, which DANE satisfies", trust.Rule{Level: trust.Verify}, false, wrong, "right", false, queue.Delivered, "dane", true, 0},
		{"verify, which does not replace DANE that fails", trust.Rule{Level: trust.Verify}, false, right, otherTLSA, false, queue.Deferred, "none", true, tlsrpt.NotTrusted},
		{"verify, where no TLSA record can be used", trust.Rule{Level: trust.Verify}, false, right, unusable, false, queue.Delivered, "verified", true, tlsrpt.TLSAInvalid},
		{"verify, where a policy does not name the host", trust.Rule{Level: trust.Verify}, false, right, "", true, queue.Deferred, "none", true, tlsrpt.ValidationFailure},
		{"dane, as without a rule", trust.Rule{Level: trust.DANE}, false, wrong, "", false, queue.Delivered, "encrypted", true, 0},
		{"TLS-35 dane-only, with records", trust.Rule{Level: trust.DANEOnly}, false, wrong, "right", false, queue.Delivered, "dane", true, 0},
		{"TLS-35 dane-only, without", trust.Rule{Level: trust.DANEOnly}, false, right, "", false, queue.Deferred, "none", true, tlsrpt.DANERequired},
		{"TLS-35 dane-only, with unusable ones", trust.Rule{Level: trust.DANEOnly}, false, right, unusable, false, queue.Deferred, "none", true, tlsrpt.DANERequired},
		{"fingerprint, the right one", trust.Rule{Level: trust.Fingerprint}, false, wrong, otherTLSA, true, queue.Delivered, "verified", false, 0},
		{"fingerprint, another", trust.Rule{Level: trust.Fingerprint, Fingerprints: [][sha256.Size]byte{{}}}, false, right, "right", false, queue.Deferred, "none", false, tlsrpt.NotTrusted},
		{"fingerprint, without TLS", trust.Rule{Level: trust.Fingerprint, Fingerprints: [][sha256.Size]byte{{}}}, true, right, "", false, queue.Deferred, "none", false, tlsrpt.StartTLSNotSupported},
		{"TLS-41 policies that are only watched, where TLSA records do not match", trust.Rule{Audit: true}, false, right, otherTLSA, false, queue.Delivered, "encrypted", true, tlsrpt.NotTrusted},
		{"TLS-41 policies that are only watched, where one does not name the host", trust.Rule{Audit: true}, false, right, "", true, queue.Delivered, "encrypted", true, tlsrpt.ValidationFailure},
		{"TLS-41 policies that are only watched, without TLS", trust.Rule{Audit: true}, true, right, otherTLSA, false, queue.Delivered, "none", true, tlsrpt.StartTLSNotSupported},
		{"a least version that the host has", trust.Rule{Level: trust.Encrypt, MinVersion: tls.VersionTLS13}, false, right, "", false, queue.Delivered, "encrypted", false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate(c.cert...)
				h := w.host("mx1.e.test", cert)
				if c.clear {
					h.Extensions = []string{"PIPELINING"}
				}
				lines := []string{oneMX}
				if c.tlsa == "right" {
					c.tlsa = tlsa(cert)
				}
				if c.tlsa != "" {
					lines = append(lines, "_25._tcp.mx1 "+c.tlsa)
				}
				if c.policy {
					w.web.set("e.test", "enforce", "mx9.e.test")
					lines = append(lines, sts("e.test", "1"))
				}
				w.start(lines...)
				if c.rule.Level == trust.Fingerprint && c.rule.Fingerprints == nil {
					c.rule.Fingerprints = [][sha256.Size]byte{sha256.Sum256(cert.Certificate[0])}
				}
				c.rule.Match = delivery.Match{Domain: "e.test"}
				w.source.Rules = []trust.Rule{c.rule}
				w.sender.TLS = mx.TLSDefault
				r := check(t, w.send("u@e.test"), c.outcome, "mx1.e.test", c.tls, "")
				if c.outcome == queue.Deferred && mails(h) != 0 {
					t.Error("it had MAIL")
				}
				if got := w.asked("_25._tcp.mx1.e.test"); got != c.asked {
					t.Errorf("DANE was asked: %t", got)
				}
				if d := r.Decision; c.rule.Level != trust.None && (d == nil || d.Result != c.reported) {
					t.Errorf("%v, want %v", d, c.reported)
				}
			})
		})
	}
}

// TestRulesMerge: each field is that of the most specific rule that sets it, a site before
// a domain before an MX host, and the longer of two.
func TestRulesMerge(t *testing.T) {
	source := &trust.Source{NoDANE: true, NoMTASTS: true}
	err := source.SetRules([]trust.Rule{
		{Match: delivery.Match{MX: ".Example.net"}, Level: trust.Fingerprint, Fingerprints: make([][sha256.Size]byte, 1)},
		{Match: delivery.Match{MX: "mx.example.net"}, MinVersion: tls.VersionTLS13},
		{Match: delivery.Match{Domain: ".example.com"}, Level: trust.May},
		{Match: delivery.Match{Domain: ".sub.example.com"}, Level: trust.None},
		{Match: delivery.Match{Site: "a.example.org,b.example.org;"}, Level: trust.Encrypt},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		domain string
		hosts  []string
		level  mx.TLSLevel
		min    uint16
		exact  bool
	}{
		{"other.example", []string{"mx.other.example"}, mx.TLSDefault, 0, false},
		{"other.example", []string{"mx2.example.net"}, mx.TLSVerify, 0, true},
		{"other.example", []string{"mx.example.net"}, mx.TLSVerify, tls.VersionTLS13, true},
		{"example.com", []string{"mx.example.net"}, mx.TLSVerify, tls.VersionTLS13, true},
		{"a.example.com", []string{"mx.example.net"}, mx.TLSMay, 0, true},
		{"a.sub.example.com", []string{"mx.other.example"}, mx.TLSNone, 0, true},
		{"a.example.com", []string{"b.example.org", "a.example.org"}, mx.TLSEncrypt, 0, true},
		{"a.example.com", []string{"a.example.org"}, mx.TLSMay, 0, true},
	} {
		route := &mx.Route{Domain: c.domain}
		for _, h := range c.hosts {
			route.Hosts = append(route.Hosts, mx.Host{Name: h})
		}
		p, err := source.TLSPolicy(t.Context(), route, &route.Hosts[0])
		if err != nil || p.Level != c.level || p.MinVersion != c.min || p.Exact != c.exact {
			t.Errorf("%s by %v: %v, at least %x, exact: %t (%v); want %v, %x", c.domain, c.hosts, p.Level, p.MinVersion, p.Exact, err, c.level, c.min)
		}
	}
	for _, c := range []struct {
		rule trust.Rule
		want string
	}{
		{trust.Rule{Level: trust.May}, "Match: "},
		{trust.Rule{Match: delivery.Match{Domain: "e.test"}}, "sets nothing"},
		{trust.Rule{Match: delivery.Match{Domain: "e.test"}, Level: 99}, "Level: "},
		{trust.Rule{Match: delivery.Match{Domain: "e.test"}, Level: trust.Fingerprint}, "Fingerprints: "},
		{trust.Rule{Match: delivery.Match{Domain: "e.test"}, Level: trust.May, MinVersion: tls.VersionTLS13}, "MinVersion: "},
	} {
		if err := source.SetRules([]trust.Rule{c.rule}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.rule, err, c.want)
		}
		bad := &trust.Source{NoDANE: true, NoMTASTS: true, Rules: []trust.Rule{c.rule}}
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "trust.Source.Rules[0]: "+c.want) && c.want != "sets nothing" {
			t.Errorf("%v", err)
		}
	}
}

// TestSourceThatMakesNoSense keeps mail, and says why.
func TestSourceThatMakesNoSense(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
		w.start(oneMX)
		w.sender.Policy = &trust.Source{}
		r := check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
		if d := r.Decision; d == nil || d.Reason != "misconfigured" || d.Fault != delivery.FaultOurs || !strings.Contains(r.Err.Error(), "trust.Source.Resolver") {
			t.Errorf("%v", r.Err)
		}
		if len(h.Connections()) != 0 {
			t.Error("it was connected to")
		}
	})
}

// TestCertificateOfARule is shown to the hosts of the rule alone.
func TestCertificateOfARule(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var shown []int
		h := w.host("mx.host.test", w.certificate("mx.host.test"))
		h.TLS.ClientAuth = tls.RequestClientCert
		h.TLS.VerifyConnection = func(s tls.ConnectionState) error {
			shown = append(shown, len(s.PeerCertificates))
			return nil
		}
		w.start("a.test. MX 10 mx.host.test.\nb.test. MX 10 mx.host.test.\nmx.host.test. A 192.0.2.1")
		ours := w.certificate("from.test")
		w.source.Rules = []trust.Rule{{Match: delivery.Match{Domain: "a.test"}, Certificate: &ours}}
		w.send("u@a.test")
		w.send("u@b.test")
		w.send("v@a.test", "v@b.test")
		if len(shown) != 2 || shown[0] != 2 || shown[1] != 0 {
			t.Errorf("TLS-8 certificates shown: %d, want two for a.test and none for b.test", shown)
		}
	})
}
