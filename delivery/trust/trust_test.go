package trust_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

const (
	oneMX = "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1"
	twoMX = oneMX + "\n@ MX 20 mx2\nmx2 A 192.0.2.2"
)

// check holds a recipient to its outcome.
func check(t *testing.T, report *delivery.Report, outcome queue.Outcome, host, tls, status string) *delivery.RecipientReport {
	t.Helper()
	r := &report.Recipients[0]
	if r.Outcome != outcome || r.Host != host || r.TLS.String() != tls || status != "" && r.Reply.Enhanced != status {
		t.Errorf("%v by %s, TLS %v, %s (%v); want %v by %s, TLS %s, %s", r.Outcome, r.Host, r.TLS, r.Reply.Enhanced, r.Err, outcome, host, tls, status)
	}
	if d := r.Decision; d != nil && r.Outcome == queue.Delivered && !d.Accepted {
		t.Errorf("mail was sent against the decision: %v", d)
	}
	return r
}

func TestDANEDecidesWhereItApplies(t *testing.T) {
	t.Run("TLS-27 records that match authenticate the host", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			c := w.certificate("whatever.test")
			h := w.host("mx1.e.test", c)
			w.start(oneMX, "_25._tcp.mx1 "+tlsa(c))
			r := check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			if d := r.Decision; d == nil || !d.Authenticated || d.Source != "dane" || d.Result != tlsrpt.Success || d.Fault != delivery.NoFault {
				t.Errorf("%v", d)
			}
			if name := h.Connections()[0].TLS.ServerName; name != "mx1.e.test" {
				t.Errorf("TLS-8 the name in the handshake is %q", name)
			}
		})
	})
	t.Run("TLS-27 records that do not match keep the mail", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.start(oneMX, "_25._tcp.mx1 "+otherTLSA)
			r := check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			if d := r.Decision; d == nil || d.Accepted || d.Result != tlsrpt.NotTrusted || d.Reason != "tlsa-no-match" || d.Fault != delivery.FaultHost {
				t.Errorf("%v", d)
			}
			if mails(h) != 0 {
				t.Error("it had MAIL")
			}
			if pe, ok := errors.AsType[*delivery.PolicyError](error(r.Err)); !ok || pe.ResultType() != "certificate-not-trusted" || !pe.Temporary() {
				t.Errorf("%v is no PolicyError that says why", r.Err)
			}
			if _, ok := errors.AsType[*dane.Error](error(r.Err)); !ok {
				t.Errorf("%v is not DANE's", r.Err)
			}
		})
	})
	t.Run("TLS-25 a policy that is kept to does not lift what DANE refuses", func(t *testing.T) {
		for _, mode := range []string{"enforce", "testing", "none"} {
			bubble(t, func(t *testing.T, w *world) {
				h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
				w.web.set("e.test", mode, "mx1.e.test")
				w.start(oneMX, "_25._tcp.mx1 "+otherTLSA, sts("e.test", "1"))
				check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
				if mails(h) != 0 {
					t.Errorf("mode %s: it had MAIL", mode)
				}
			})
		}
	})
	t.Run("TLS-29 a question about records that fails keeps the mail, and nobody else is asked", func(t *testing.T) {
		for _, fault := range []mxtest.Fault{mxtest.ServFail, mxtest.Timeout} {
			bubble(t, func(t *testing.T, w *world) {
				h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
				w.net.Rules = append(w.net.Rules, mxtest.Rule{Name: "_25._tcp.mx1.e.test", Type: mx.TypeTLSA, Fault: fault})
				w.web.set("e.test", "none")
				w.start(oneMX, sts("e.test", "1"))
				r := check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
				if d := r.Decision; d == nil || d.Result != tlsrpt.DNSSECInvalid || d.Fault != delivery.FaultDNS || d.Source != "dane" {
					t.Errorf("%v", d)
				}
				if len(h.Connections()) != 0 || w.asked("_mta-sts") || w.web.fetched() != 0 {
					t.Errorf("%d connections, MTA-STS asked: %t", len(h.Connections()), w.asked("_mta-sts"))
				}
			})
		}
	})
	t.Run("TLS-29 it keeps mail from that host alone", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			first := w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.host("mx2.e.test", w.certificate("mx2.e.test"))
			w.net.Rules = append(w.net.Rules, mxtest.Rule{Name: "_25._tcp.mx1.e.test", Type: mx.TypeTLSA, Fault: mxtest.ServFail})
			w.start(twoMX)
			r := check(t, w.send("u@e.test"), queue.Delivered, "mx2.e.test", "encrypted", "")
			if d := r.Attempts[0].Decision; d == nil || d.Host != "mx1.e.test" || d.Accepted {
				t.Errorf("the attempt at mx1: %v", d)
			}
			if len(first.Connections()) != 0 {
				t.Error("mx1 was connected to")
			}
		})
	})
	t.Run("TLS-33 the port that is used is asked about", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			c := w.certificate("mx1.e.test")
			w.host("mx1.e.test:2525", c)
			w.start(oneMX, "_2525._tcp.mx1 "+tlsa(c), "_25._tcp.mx1 "+otherTLSA)
			w.sender.Port = 2525
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
		})
	})
	t.Run("TLS-28 hosts that insecure MX records name", func(t *testing.T) {
		for _, c := range []struct {
			name       string
			anyway     bool
			record     func(tls.Certificate) string
			outcome    queue.Outcome
			protection string
		}{
			{"are not asked about", false, func(tls.Certificate) string { return otherTLSA }, queue.Delivered, "encrypted"},
			{"are, if told so, and do not count as the domain's", true, tlsa, queue.Delivered, "encrypted"},
			{"are, if told so, and must match", true, func(tls.Certificate) string { return otherTLSA }, queue.Deferred, "none"},
		} {
			t.Run(c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					cert := w.certificate("mx.host.test")
					w.host("mx.host.test", cert)
					w.net.Signed["e.test"] = false
					w.start("e.test. MX 10 mx.host.test.", "mx.host.test. A 192.0.2.1", "_25._tcp.mx.host.test. "+c.record(cert))
					w.source.DANE = &dane.Source{Resolver: w.net, InsecureMX: c.anyway}
					r := check(t, w.send("u@e.test"), c.outcome, "mx.host.test", c.protection, "")
					if r.Decision.Authenticated {
						t.Errorf("TLS-41 it counts as authenticated: %v", r.Decision)
					}
				})
			})
		}
	})
}

func TestMTASTSDecidesWhereDANEDoesNot(t *testing.T) {
	for _, c := range []struct {
		name    string
		records string // at _25._tcp.mx1
		mode    string
		names   []string // of the policy
		cert    []string
		outcome queue.Outcome
		tls     string
		result  tlsrpt.Result
		reason  string
	}{
		{"TLS-19 a host as the policy says", "", "enforce", []string{"mx1.e.test"}, []string{"mx1.e.test"}, queue.Delivered, "mta-sts", 0, ""},
		{"TLS-19 one that it does not name", "", "enforce", []string{"mx9.e.test"}, []string{"mx1.e.test"}, queue.Deferred, "none", tlsrpt.ValidationFailure, "mx-mismatch"},
		{"TLS-19 one with a certificate for others", "", "enforce", []string{"mx1.e.test"}, []string{"mx9.e.test"}, queue.Deferred, "none", tlsrpt.HostMismatch, "certificate-name"},
		{"TLS-21 testing, a host that is not as it says", "", "testing", []string{"mx9.e.test"}, []string{"mx1.e.test"}, queue.Delivered, "encrypted", tlsrpt.ValidationFailure, "mx-mismatch"},
		{"TLS-21 testing, a certificate for others", "", "testing", []string{"mx1.e.test"}, []string{"mx9.e.test"}, queue.Delivered, "encrypted", tlsrpt.HostMismatch, "certificate-name"},
		{"TLS-21 testing, all well", "", "testing", []string{"mx1.e.test"}, []string{"mx1.e.test"}, queue.Delivered, "encrypted", 0, ""},
		{"TLS-21 none", "", "none", nil, []string{"mx9.e.test"}, queue.Delivered, "encrypted", 0, ""},
		{"TLS-27 unusable records, and a policy that is kept to", unusable, "enforce", []string{"mx1.e.test"}, []string{"mx1.e.test"}, queue.Delivered, "mta-sts", tlsrpt.TLSAInvalid, "tlsa-unusable"},
		{"TLS-27 unusable records, and a policy that is not", unusable, "enforce", []string{"mx1.e.test"}, []string{"mx9.e.test"}, queue.Deferred, "none", tlsrpt.HostMismatch, "certificate-name"},
		{"TLS-27 unusable records, and a policy that is tested", unusable, "testing", []string{"mx1.e.test"}, []string{"mx9.e.test"}, queue.Delivered, "encrypted", tlsrpt.TLSAInvalid, "tlsa-unusable"},
		{"TLS-18 a policy that cannot be fetched", "", "", nil, []string{"mx9.e.test"}, queue.Delivered, "encrypted", tlsrpt.STSFetchError, "http-status-404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				h := w.host("mx1.e.test", w.certificate(c.cert...))
				if c.mode != "" {
					w.web.set("e.test", c.mode, c.names...)
				}
				lines := []string{oneMX, sts("e.test", "1")}
				if c.records != "" {
					lines = append(lines, "_25._tcp.mx1 "+c.records)
				}
				w.start(lines...)
				r := check(t, w.send("u@e.test"), c.outcome, "mx1.e.test", c.tls, "")
				d := r.Decision
				if d == nil || d.Result != c.result || d.Reason != c.reason || d.Accepted != (c.outcome == queue.Delivered) {
					t.Fatalf("%v", d)
				}
				if c.outcome == queue.Deferred && mails(h) != 0 {
					t.Error("it had MAIL")
				}
				if told := w.told(); len(told) != 1 || told[0] != d {
					t.Errorf("the trace was told %d times: %v", len(told), told)
				}
			})
		})
	}
	t.Run("TLS-19 the next host has the mail", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.host("mx2.e.test", w.certificate("mx2.e.test"))
			w.web.set("e.test", "enforce", "mx2.e.test")
			w.start(twoMX, sts("e.test", "1"))
			check(t, w.send("u@e.test"), queue.Delivered, "mx2.e.test", "mta-sts", "")
		})
	})
	t.Run("TLS-25 one host by DANE, the other by MTA-STS", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			own := w.certificate("own.test")
			first := w.host("mx1.e.test", own)
			w.host("mx2.e.test", w.certificate("mx2.e.test"))
			w.web.set("e.test", "enforce", "mx2.e.test")
			w.start(twoMX, "_25._tcp.mx1 "+tlsa(own), sts("e.test", "1"))
			r := check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			if r.Decision.Reason != "mx-mismatch" {
				t.Errorf("that the policy does not name mx1 is not reported: %v", r.Decision)
			}
			if held := r.Decision.Held; len(held) != 2 || held[0].Policy.Type != tlsrpt.TLSA || len(held[0].Failures) != 0 ||
				held[1].Policy.Type != tlsrpt.STS || len(held[1].Failures) != 1 {
				t.Errorf("TLS-43 held to %+v", r.Decision.Held)
			}
			first.Script = nil
			w.zone(twoMX, "_25._tcp.mx1 "+otherTLSA, sts("e.test", "1"))
			w.sender.Close()
			check(t, w.send("u@e.test"), queue.Delivered, "mx2.e.test", "mta-sts", "")
		})
	})
	t.Run("TLS-24 a smart host is held to its own domain's policy", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("smart.test", w.certificate("smart.test"))
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.start("smart.test. A 192.0.2.1", sts("e.test", "1"))
			w.sender.Router = smartHost{mx.Host{Name: "smart.test", Target: "smart.test", Secure: mx.Secure, NameSecure: mx.Secure}}
			check(t, w.send("u@e.test"), queue.Delivered, "smart.test", "encrypted", "")
			if w.asked("_mta-sts.e.test") || !w.asked("_mta-sts.smart.test") {
				t.Error("the wrong domain was asked")
			}
		})
	})
}

func TestNoTLSAndBrokenTLS(t *testing.T) {
	for _, c := range []struct {
		name    string
		level   mx.TLSLevel
		zone    []string
		outcome queue.Outcome
		status  string
		reason  string
	}{
		{"a level that may", mx.TLSMay, nil, queue.Delivered, "", ""},
		{"a level that must", mx.TLSEncrypt, nil, queue.Deferred, "", ""},
		{"DANE", mx.TLSMay, []string{"_25._tcp.mx1 " + otherTLSA}, queue.Deferred, "", "dane"},
		{"unusable TLSA records", mx.TLSMay, []string{"_25._tcp.mx1 " + unusable}, queue.Deferred, "", "dane"},
		{"a policy", mx.TLSMay, []string{sts("e.test", "1")}, queue.Deferred, "", "mta-sts"},
	} {
		t.Run("TLS-4 no STARTTLS, "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
				h.Extensions = []string{"PIPELINING"}
				w.web.set("e.test", "enforce", "mx1.e.test")
				w.start(append([]string{oneMX}, c.zone...)...)
				w.sender.TLS = c.level
				r := check(t, w.send("u@e.test"), c.outcome, "mx1.e.test", "none", "")
				if r.Decision == nil || r.Decision.Result != tlsrpt.StartTLSNotSupported || r.Decision.Source != c.reason {
					t.Errorf("%v", r.Decision)
				}
				if c.outcome == queue.Deferred && (mails(h) != 0 || r.Reply.Enhanced != "4.7.4") {
					t.Errorf("%d MAIL, status %s", mails(h), r.Reply.Enhanced)
				}
			})
		})
		t.Run("TLS-27 a certificate that cannot be parsed, "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				h := w.host("mx1.e.test", unparsable(w))
				w.web.set("e.test", "enforce", "mx1.e.test")
				w.start(append([]string{oneMX}, c.zone...)...)
				w.sender.TLS = c.level
				r := check(t, w.send("u@e.test"), c.outcome, "mx1.e.test", "none", "")
				d := r.Attempts[0].Decision
				if d == nil || d.Reason != "certificate-unparsable" || d.Result != tlsrpt.ValidationFailure || d.Source != c.reason || d.Fault != delivery.FaultHost {
					t.Errorf("%v", d)
				}
				if c.outcome == queue.Deferred && mails(h) != 0 {
					t.Error("it had MAIL")
				}
				// In clear it is as any broken TLS, and told of once.
				if told := w.told(); len(told) != 1 {
					t.Errorf("told %d times: %v", len(told), told)
				}
			})
		})
	}
}

// TestPoliciesOfDomainsThatShareHosts: what one domain asks for has no part in what is
// decided for another, whoever has opened the session, and whatever goes together.
func TestPoliciesOfDomainsThatShareHosts(t *testing.T) {
	const shared = "a.test. MX 10 mx.host.test.\nb.test. MX 10 mx.host.test.\nc.test. MX 10 mx.host.test.\nd.test. MX 10 mx.host.test.\nmx.host.test. A 192.0.2.1"
	outcome := func(report *delivery.Report) string {
		var said []string
		for _, r := range report.Recipients {
			text := r.Address + " " + r.Outcome.String() + " " + r.TLS.String()
			if d := r.Decision; d != nil && !strings.HasSuffix(r.Address, "@"+d.Domain) {
				text += " by the decision for " + d.Domain
			}
			said = append(said, text)
		}
		return strings.Join(said, ", ")
	}
	// a enforces and is kept to, b enforces other names, c tests other names, d has none.
	begin := func(w *world) {
		w.host("mx.host.test", w.certificate("mx.host.test"))
		w.web.set("a.test", "enforce", "mx.host.test")
		w.web.set("b.test", "enforce", "mx.other.test")
		w.web.set("c.test", "testing", "mx.other.test")
		w.start(shared, sts("a.test", "1"), sts("b.test", "1"), sts("c.test", "1"))
	}
	want := map[string]string{
		"u@a.test": "u@a.test delivered mta-sts", "u@b.test": "u@b.test deferred none",
		"u@c.test": "u@c.test delivered encrypted", "u@d.test": "u@d.test delivered encrypted",
	}
	orders := [][]string{
		{"u@a.test", "u@b.test", "u@c.test", "u@d.test"}, {"u@d.test", "u@c.test", "u@b.test", "u@a.test"},
		{"u@c.test", "u@a.test", "u@d.test", "u@b.test"},
	}
	for i, order := range append(orders, orders...) {
		kept := "kept sessions, "
		if i >= len(orders) {
			kept = "TLS that is resumed, "
		}
		t.Run("SMTP-43 one after another, "+kept+strings.Join(order, " "), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				begin(w)
				if i >= len(orders) {
					w.apart()
				}
				for range 3 {
					for _, to := range order {
						if got := outcome(w.send(to)); got != want[to] {
							t.Errorf("got %s, want %s", got, want[to])
						}
					}
				}
			})
		})
		t.Run("QUE-12 in one message, "+kept+strings.Join(order, " "), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				begin(w)
				if i >= len(orders) {
					w.apart()
				}
				var all []string
				for _, to := range order {
					all = append(all, want[to])
				}
				for range 3 {
					if got := outcome(w.send(order...)); got != strings.Join(all, ", ") {
						t.Errorf("got  %s\nwant %s", got, strings.Join(all, ", "))
					}
				}
			})
		})
	}
	t.Run("SMTP-43 DANE of one domain's name for the host, and of another's", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			c := w.certificate("any.test")
			h := w.host("mx.host.test", c)
			w.net.Signed["b.test"] = false // its MX records may be anybody's
			w.start(shared, "_25._tcp.mx.host.test. "+tlsa(c))
			for _, to := range []string{"u@a.test", "u@b.test", "u@c.test"} {
				tls := "dane"
				if to == "u@b.test" {
					tls = "encrypted"
				}
				if got := outcome(w.send(to)); got != to+" delivered "+tls {
					t.Error(got)
				}
			}
			if n := len(h.Connections()); n != 2 {
				t.Errorf("%d connections, want one for a.test and c.test, which ask the same", n)
			}
		})
	})
}

func TestRecordsAreReadAgain(t *testing.T) {
	t.Run("TLS-41 a session is not used past the TTL of the records", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			c := w.certificate("mx1.e.test")
			h := w.host("mx1.e.test", c)
			w.start(oneMX, "_25._tcp.mx1 10 "+tlsa(c))
			for range 3 {
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
				pass(4 * time.Second)
			}
			if n := len(h.Connections()); n != 1 {
				t.Errorf("%d connections within the TTL", n)
			}
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			if n := len(h.Connections()); n != 2 {
				t.Errorf("%d connections after it", n)
			}
			w.zone(oneMX, "_25._tcp.mx1 10 "+otherTLSA)
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
		})
	})
}

func TestMessagesThatAskForMoreOrLess(t *testing.T) {
	send := func(w *world, tls queue.TLSRequirement) *delivery.Report {
		m := message("u@e.test")
		m.TLS = tls
		return w.sendMessage(m)
	}
	t.Run("TLS-50 a policy vouches for the host of a message with REQUIRETLS", func(t *testing.T) {
		for mode, outcome := range map[string]queue.Outcome{"enforce": queue.Delivered, "testing": queue.Failed} {
			bubble(t, func(t *testing.T, w *world) {
				w.net.Signed["."] = false
				w.host("mx1.e.test", w.certificate("mx1.e.test"))
				w.web.set("e.test", mode, "mx1.e.test")
				w.start(oneMX, sts("e.test", "1"))
				if r := send(w, queue.TLSRequired).Recipients[0]; r.Outcome != outcome {
					t.Errorf("%s: %v, %v", mode, r.Outcome, r.Err)
				}
			})
		}
	})
	t.Run("TLS-53 no policy keeps a message whose sender would rather have it delivered", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx9.e.test"))
			w.web.set("e.test", "enforce", "mx9.e.test")
			w.start(oneMX, "_25._tcp.mx1 "+otherTLSA, sts("e.test", "1"))
			check(t, send(w, queue.TLSOptional), queue.Delivered, "mx1.e.test", "encrypted", "")
			if told := w.told(); len(told) != 0 {
				t.Errorf("TLS-48 it is told of: %v", told)
			}
		})
	})
}

func TestSessionOfAMessageWithoutPolicies(t *testing.T) {
	for _, c := range []struct {
		name    string
		lines   []string
		clear   bool
		outcome queue.Outcome
		tls     string
		conns   int
	}{
		{"it serves another if no policy asks for more", nil, false, queue.Delivered, "encrypted", 1},
		{"in clear, too", nil, true, queue.Delivered, "none", 1},
		{"not where a policy does", []string{sts("e.test", "1")}, false, queue.Delivered, "mta-sts", 2},
		{"nor in clear where there must be TLS", []string{"_25._tcp.mx1 " + unusable}, true, queue.Deferred, "none", 2},
	} {
		t.Run("TLS-53 "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
				if c.clear {
					h.Extensions = []string{"PIPELINING"}
				}
				w.web.set("e.test", "enforce", "mx1.e.test")
				w.start(append([]string{oneMX}, c.lines...)...)
				first := message("u@e.test")
				first.TLS = queue.TLSOptional
				w.sendMessage(first)
				r := check(t, w.send("u@e.test"), c.outcome, "mx1.e.test", c.tls, "")
				if d := r.Decision; d == nil || d.Encrypted != (c.tls != "none") {
					t.Errorf("%v", d)
				}
				if n := len(h.Connections()); n != c.conns {
					t.Errorf("%d connections, want %d", n, c.conns)
				}
			})
		})
	}
}

func TestDecisionsExplainThemselves(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		c := w.certificate("mx1.e.test")
		w.host("mx1.e.test", c)
		w.web.set("e.test", "testing", "mx9.e.test")
		w.start(oneMX, "_25._tcp.mx1 "+tlsa(c), "_25._tcp.mx1 "+unusable, sts("e.test", "7"))
		d := w.send("u@e.test").Recipients[0].Decision
		text := d.String()
		for _, part := range []string{
			"mx1.e.test for e.test: authenticated by DANE", "[validation-failure, mx-mismatch, at fault: domain]", "route mx, secure",
			"asked TLSA of _25._tcp.mx1.e.test: records, secure", ": matches at depth 0", ": usage means nothing in SMTP",
			"MTA-STS of e.test: fetched, in DNS: id 7", "mode testing, id 7", "hosts mx9.e.test", "it does not name the host",
			"TLS 1.3", "certificate 0", "mx1.e.test",
		} {
			if !strings.Contains(text, part) {
				t.Errorf("it does not say %q", part)
			}
		}
		octets, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Accepted, Authenticated bool
			Result                  string
			Fault                   string
			Held                    []struct{ Policy struct{ Type string } }
			Evidence                struct {
				MX   string
				DANE struct {
					Records []struct{ Record, Fate string }
					Chain   []struct{ Names []string }
				}
				MTASTS struct {
					Found struct{ ID, Origin string }
				} `json:"mta_sts"`
			}
		}
		if err := json.Unmarshal(octets, &back); err != nil {
			t.Fatal(err)
		}
		if e := back.Evidence; !back.Accepted || !back.Authenticated || back.Result != "validation-failure" || back.Fault != "domain" ||
			e.MX != "secure" || len(e.DANE.Records) != 2 || len(e.DANE.Chain) != 2 || e.MTASTS.Found.ID != "7" || e.MTASTS.Found.Origin != "fetched" ||
			len(back.Held) != 2 || back.Held[0].Policy.Type != "tlsa" {
			t.Errorf("%s", octets)
		}
		if t.Failed() {
			t.Log(text)
		}
	})
}

func TestDecisionsCountForReports(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host("mx1.e.test", w.certificate("mx9.e.test"))
		w.web.set("e.test", "enforce", "mx1.e.test")
		w.start(oneMX, sts("e.test", "1"))
		var counts counter
		w.sender.Trace = &delivery.Trace{Decided: func(d *delivery.Decision) { d.Count(&counts) }}
		w.send("u@e.test")
		w.zone(oneMX)
		pass(7 * 24 * time.Hour)
		w.send("u@e.test")
		w.send("u@e.test") // on the same session
		want := []string{
			"e.test sts e.test certificate-host-mismatch certificate-name mx1.e.test 192.0.2.1", "e.test no-policy-found e.test",
		}
		if !slices.Equal(counts, want) {
			t.Errorf("TLS-43, TLS-44 counted %q, want %q", counts, want)
		}
	})
}

// counter notes what is counted.
type counter []string

func (c *counter) Add(domain string, p *tlsrpt.Policy, failures ...tlsrpt.Failure) {
	text := domain + " " + p.Type.String() + " " + p.Domain
	for _, f := range failures {
		text += " " + f.Result.String() + " " + f.Reason + " " + f.Host + " " + f.ReceivingIP.String()
	}
	*c = append(*c, text)
}

// unparsable is a certificate that crypto/x509 cannot parse.
func unparsable(w *world) tls.Certificate {
	c := w.certificate("mx1.e.test")
	der := slices.Clone(c.Certificate[0])
	at := bytes.Index(der, []byte{0xa0, 3, 2, 1, 2}) // the version
	der[at+4] = 9
	c.Certificate = [][]byte{der}
	return c
}
