package trust_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// optional is a message whose header says TLS-Required: No.
func optional(to ...string) *queue.Message {
	m := message(to...)
	m.Content = queue.String("From: a@from.test\r\nTLS-Required: No\r\n\r\nbody\r\n")
	return m
}

// TestOperatorsRulesHoldForAllMail: the header field TLS-Required: No, which anybody can
// write, sets aside what the recipient's domain asks for, and nothing that the operator of
// the sender does.
func TestOperatorsRulesHoldForAllMail(t *testing.T) {
	right, wrong := "mx1.e.test", "mx9.e.test"
	for _, c := range []struct {
		name    string
		rule    trust.Rule
		clear   bool // the host has no STARTTLS
		cert    string
		tlsa    string // "" none, "right" of the host, else as it is
		outcome queue.Outcome
		tls     string
	}{
		{"no rule", trust.Rule{}, false, wrong, otherTLSA, queue.Delivered, "encrypted"},
		{"no rule, and no TLS", trust.Rule{}, true, wrong, otherTLSA, queue.Delivered, "none"},
		{"none", trust.Rule{Level: trust.None}, false, right, "right", queue.Delivered, "none"},
		{"may", trust.Rule{Level: trust.May}, false, wrong, "", queue.Delivered, "encrypted"},
		{"encrypt, with TLS", trust.Rule{Level: trust.Encrypt}, false, wrong, otherTLSA, queue.Delivered, "encrypted"},
		{"encrypt, without", trust.Rule{Level: trust.Encrypt}, true, right, "", queue.Deferred, "none"},
		{"verify, another name", trust.Rule{Level: trust.Verify}, false, wrong, "", queue.Deferred, "none"},
		{"verify, the right name, which the policy does not name", trust.Rule{Level: trust.Verify}, false, right, "", queue.Delivered, "verified"},
		{"verify, by DANE", trust.Rule{Level: trust.Verify}, false, wrong, "right", queue.Delivered, "dane"},
		{"verify, which does not replace DANE that fails", trust.Rule{Level: trust.Verify}, false, right, otherTLSA, queue.Deferred, "none"},
		{"dane leaves it to the domain", trust.Rule{Level: trust.DANE}, false, wrong, otherTLSA, queue.Delivered, "encrypted"},
		{"dane-only, without records", trust.Rule{Level: trust.DANEOnly}, false, right, "", queue.Deferred, "none"},
		{"dane-only, with records", trust.Rule{Level: trust.DANEOnly}, false, wrong, "right", queue.Delivered, "dane"},
		{"fingerprint, another", trust.Rule{Level: trust.Fingerprint, Fingerprints: make([][32]byte, 1)}, false, right, "right", queue.Deferred, "none"},
		{"a least version", trust.Rule{MinVersion: tls.VersionTLS13, Level: trust.Encrypt}, false, right, "", queue.Delivered, "encrypted"},
	} {
		t.Run("TLS-53 "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate(c.cert)
				h := w.host("mx1.e.test", cert)
				if c.clear {
					h.Extensions = []string{"PIPELINING"}
				}
				if c.tlsa == "right" {
					c.tlsa = tlsa(cert)
				}
				lines := []string{oneMX, sts("e.test", "1")}
				if c.tlsa != "" {
					lines = append(lines, "_25._tcp.mx1.e.test. "+c.tlsa)
				}
				w.web.set("e.test", "enforce", "mx9.e.test")
				w.start(lines...)
				if c.rule.Level != trust.Unset {
					c.rule.Match = delivery.Match{Domain: "e.test"}
					w.source.Rules = []trust.Rule{c.rule}
				}
				check(t, w.sendMessage(optional("u@e.test")), c.outcome, "mx1.e.test", c.tls, "")
				if c.outcome == queue.Deferred && mails(h) != 0 {
					t.Error("it had MAIL")
				}
				for _, d := range w.told() {
					if len(d.Held) > 0 {
						t.Errorf("TLS-48 a report would count it: %v", d)
					}
				}
				if w.asked("_mta-sts") {
					t.Error("MTA-STS was asked about")
				}
			})
		})
	}
	t.Run("TLS-53 the level for all mail", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate(wrong))
			w.start(oneMX)
			w.source.Default = trust.Verify
			check(t, w.sendMessage(optional("u@e.test")), queue.Deferred, "mx1.e.test", "none", "")
		})
	})
	t.Run("TLS-53 mail for which policies count is judged by them in the same session", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate(wrong)
			h := w.host("mx1.e.test", cert)
			w.web.set("e.test", "enforce", wrong)
			w.start(oneMX, "_25._tcp.mx1 "+tlsa(cert), sts("e.test", "1"))
			w.source.Rules = []trust.Rule{{Match: delivery.Match{Domain: "e.test"}, Level: trust.Verify}}
			check(t, w.sendMessage(optional("u@e.test")), queue.Delivered, "mx1.e.test", "dane", "")
			r := check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			if len(r.Decision.Held) != 2 || len(h.Connections()) != 1 {
				t.Errorf("held to %v, over %d connections", r.Decision.Held, len(h.Connections()))
			}
		})
	})
}

// required is a message with REQUIRETLS.
func required(to ...string) *queue.Message {
	m := message(to...)
	m.TLS = queue.TLSRequired
	return m
}

// TestRequireTLSWaits: a message with REQUIRETLS fails if nobody vouches for its host, and
// waits if that is not known.
func TestRequireTLSWaits(t *testing.T) {
	t.Run("TLS-51 whether a policy vouches for the host cannot be found out for now", func(t *testing.T) {
		for name, set := range map[string]func(w *world){
			"DNS": func(w *world) {
				w.net.Rules = append(w.net.Rules, mxtest.Rule{Name: "_mta-sts.e.test", Type: mx.TypeTXT, Fault: mxtest.ServFail})
			},
			"the policy host":                       func(w *world) { w.web.setDown(true) },
			"a policy that is not valid, which can": func(w *world) { w.web.policies["e.test"] = "mode: enforce\n" },
		} {
			bubble(t, func(t *testing.T, w *world) {
				w.net.Signed["."] = false
				h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
				w.web.set("e.test", "enforce", "mx1.e.test")
				set(w)
				w.start(oneMX, sts("e.test", "1"))
				want, status := queue.Deferred, "4.7.5"
				if strings.HasSuffix(name, "which can") {
					want, status = queue.Failed, "5.7.10"
				}
				if r := w.sendMessage(required("u@e.test")).Recipients[0]; r.Outcome != want || r.Reply.Enhanced != status || mails(h) != 0 {
					t.Errorf("%s: %v %s, %v; want %v", name, r.Outcome, r.Reply.Enhanced, r.Err, want)
				}
			})
		}
	})
}
