package trust_test

import (
	"crypto/sha256"
	"crypto/tls"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestLeastVersionOfARule: a host without that version gets no mail, by whichever level, and
// none in clear.
func TestLeastVersionOfARule(t *testing.T) {
	match := delivery.Match{Domain: "e.test"}
	for _, c := range []struct {
		name  string
		rules []trust.Rule
		least uint16 // the versions of the host
		most  uint16
		clear bool // it has no STARTTLS
		want  queue.Outcome
		tls   string
	}{
		{"encrypt, and it has it", []trust.Rule{{Match: match, Level: trust.Encrypt, MinVersion: tls.VersionTLS13}}, tls.VersionTLS12, tls.VersionTLS13, false, queue.Delivered, "encrypted"},
		{"encrypt", []trust.Rule{{Match: match, Level: trust.Encrypt, MinVersion: tls.VersionTLS13}}, tls.VersionTLS12, tls.VersionTLS12, false, queue.Deferred, "none"},
		{"verify", []trust.Rule{{Match: match, Level: trust.Verify, MinVersion: tls.VersionTLS13}}, tls.VersionTLS12, tls.VersionTLS12, false, queue.Deferred, "none"},
		{"dane", []trust.Rule{{Match: match, Level: trust.DANE, MinVersion: tls.VersionTLS13}}, tls.VersionTLS12, tls.VersionTLS12, false, queue.Deferred, "none"},
		{"no level", []trust.Rule{{Match: match, MinVersion: tls.VersionTLS13}}, tls.VersionTLS12, tls.VersionTLS12, false, queue.Deferred, "none"},
		{"no level, and no TLS", []trust.Rule{{Match: match, MinVersion: tls.VersionTLS13}}, tls.VersionTLS12, tls.VersionTLS13, true, queue.Deferred, "none"},
		{"no level, and it has it", []trust.Rule{{Match: match, MinVersion: tls.VersionTLS13}}, tls.VersionTLS12, tls.VersionTLS13, false, queue.Delivered, "encrypted"},
		{"of a rule for the host, where that for the domain says may", []trust.Rule{
			{Match: match, Level: trust.May}, {Match: delivery.Match{MX: "mx1.e.test"}, MinVersion: tls.VersionTLS13},
		}, tls.VersionTLS12, tls.VersionTLS12, false, queue.Delivered, "encrypted"},
	} {
		for _, header := range []bool{false, true} {
			name := "TLS-7 " + c.name
			if header {
				name = "TLS-53 with TLS-Required: No, " + c.name
			}
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
					h.TLS.MinVersion, h.TLS.MaxVersion = c.least, c.most
					if c.clear {
						h.Extensions = []string{"PIPELINING"}
					}
					w.start(oneMX)
					w.source.Rules = c.rules
					m := message("u@e.test")
					if header {
						m = optional("u@e.test")
					}
					tls := c.tls
					if c.name == "verify" && c.want == queue.Delivered {
						tls = "verified"
					}
					check(t, w.sendMessage(m), c.want, "mx1.e.test", tls, "")
					if c.want == queue.Deferred && mails(h) != 0 {
						t.Error("it had MAIL")
					}
				})
			})
		}
	}
}

// TestUnparsableUnderRules: a certificate that cannot be parsed is a reason of its own where
// a rule wants TLS, and no reason to send in clear.
func TestUnparsableUnderRules(t *testing.T) {
	for _, c := range []struct {
		name string
		rule trust.Rule
		tlsa bool
		want queue.Outcome
	}{
		{"encrypt", trust.Rule{Level: trust.Encrypt}, false, queue.Deferred},
		{"verify", trust.Rule{Level: trust.Verify}, false, queue.Deferred},
		{"dane-only", trust.Rule{Level: trust.DANEOnly}, true, queue.Deferred},
		{"fingerprint", trust.Rule{Level: trust.Fingerprint, Fingerprints: make([][sha256.Size]byte, 1)}, false, queue.Deferred},
		{"a least version", trust.Rule{MinVersion: tls.VersionTLS12}, false, queue.Deferred},
		{"may", trust.Rule{Level: trust.May}, false, queue.Delivered},
		{"only watched", trust.Rule{Audit: true}, true, queue.Delivered},
	} {
		for _, which := range []string{"its own", "an issuer's"} {
			t.Run("TLS-27 "+c.name+", "+which, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					bad := unparsable(w)
					if which != "its own" {
						good := w.certificate("mx1.e.test")
						good.Certificate = append(good.Certificate[:1:1], bad.Certificate[0])
						bad = good
					}
					h := w.host("mx1.e.test", bad)
					lines := []string{oneMX}
					if c.tlsa {
						lines = append(lines, "_25._tcp.mx1 "+otherTLSA)
					}
					w.start(lines...)
					c.rule.Match = delivery.Match{Domain: "e.test"}
					w.source.Rules = []trust.Rule{c.rule}
					r := check(t, w.send("u@e.test"), c.want, "mx1.e.test", "none", "")
					d := r.Attempts[0].Decision
					if c.rule.Level != trust.May && (d == nil || d.Reason != "certificate-unparsable" || d.Result != tlsrpt.ValidationFailure || d.Fault != delivery.FaultHost) {
						t.Errorf("%v", d)
					}
					if c.want == queue.Deferred && mails(h) != 0 {
						t.Error("it had MAIL")
					}
				})
			})
		}
	}
}
