package trust_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// TestWhatIsReported: one delivery for each result type of RFC 8460 section 4.3, and what a
// report of TLS would have of it.
func TestWhatIsReported(t *testing.T) {
	expired := func(w *world) tls.Certificate {
		return w.certificateFor(&x509.Certificate{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, "mx1.e.test")
	}
	enforce := func(w *world) { w.web.set("e.test", "enforce", "mx1.e.test") }
	for _, c := range []struct {
		result string
		prove  func(w *world) tls.Certificate // of the host; nil is its own
		set    func(w *world)
		zone   string
		want   string // what is counted, a line for each policy and failure
	}{
		{"starttls-not-supported", nil, func(w *world) { enforce(w); w.net.Hosts["mx1.e.test"].Extensions = []string{"PIPELINING"} }, sts("e.test", "1"),
			"sts e.test 0/1\n starttls-not-supported starttls-not-offered"},
		{"starttls-not-supported", nil, func(w *world) { w.net.Hosts["mx1.e.test"].Extensions = []string{"PIPELINING"} }, "",
			"no-policy-found e.test 0/1\n starttls-not-supported starttls-not-offered"},
		{"certificate-host-mismatch", func(w *world) tls.Certificate { return w.certificate("other.test") }, enforce, sts("e.test", "1"),
			"sts e.test 0/1\n certificate-host-mismatch certificate-name"},
		{"certificate-expired", expired, enforce, sts("e.test", "1"), "sts e.test 0/1\n certificate-expired certificate-expired"},
		{"certificate-not-trusted", nil, nil, "_25._tcp.mx1 " + otherTLSA, "tlsa mx1.e.test 0/1\n certificate-not-trusted tlsa-no-match"},
		{"validation-failure", nil, func(w *world) { w.web.set("e.test", "enforce", "mx2.e.test") }, sts("e.test", "1"),
			"sts e.test 0/1\n validation-failure mx-mismatch"},
		{"tlsa-invalid", nil, nil, "_25._tcp.mx1 " + unusable, "tlsa mx1.e.test 0/1\n tlsa-invalid tlsa-unusable"},
		{"dnssec-invalid", nil, func(w *world) {
			w.net.Rules = append(w.net.Rules, mxtest.Rule{Name: "_25._tcp.mx1.e.test", Type: mx.TypeTLSA, Fault: mxtest.Bogus})
		}, "", "tlsa mx1.e.test 0/1\n dnssec-invalid dns-lookup-failed"},
		{"dane-required", nil, nil, "", "tlsa mx1.e.test 0/1\n dane-required tlsa-none"},
		{"sts-policy-fetch-error", nil, func(w *world) { w.web.setDown(true) }, sts("e.test", "1"), "sts e.test 0/1\n sts-policy-fetch-error http-status-404"},
		{"sts-policy-invalid", nil, func(w *world) { w.web.policies["e.test"] = "mode: enforce\n" }, sts("e.test", "1"), "sts e.test 0/1\n sts-policy-invalid "},
		{"sts-webpki-invalid", nil, func(w *world) {
			wrong := w.certificate("other.test")
			w.web.certs = map[string]*tls.Certificate{"mta-sts.e.test": &wrong}
		}, sts("e.test", "1"), "sts e.test 0/1\n sts-webpki-invalid certificate-host-mismatch"},
		{"nothing, of a policy that is kept to", nil, enforce, sts("e.test", "1"), "sts e.test 1/0"},
		{"nothing, without a policy", nil, nil, "", "no-policy-found e.test 1/0"},
	} {
		t.Run("TLS-44 "+c.result+" "+strings.SplitN(c.want, " ", 2)[0], func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				certificate := w.certificate("mx1.e.test")
				if c.prove != nil {
					certificate = c.prove(w)
				}
				w.host("mx1.e.test", certificate)
				if c.set != nil {
					c.set(w)
				}
				w.start(oneMX, c.zone)
				if c.result == "dane-required" {
					if err := w.source.SetRules([]trust.Rule{{Match: delivery.Match{Domain: "e.test"}, Level: trust.DANEOnly}}); err != nil {
						t.Fatal(err)
					}
				}
				w.send("u@e.test")
				if got := w.reported(); !strings.HasPrefix(got, c.want) || strings.Count(got, "\n") != strings.Count(c.want, "\n") {
					t.Errorf("reported is\n%s\nwant\n%s", got, c.want)
				}
			})
		})
	}
	t.Run("TLS-44 a host that does not answer is not reported", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.net.Hosts["mx1.e.test"] = &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Then: smtptest.Stall}}}
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.start(oneMX, sts("e.test", "1"))
			w.send("u@e.test")
			if got := w.reported(); got != "" {
				t.Errorf("reported is\n%s", got)
			}
		})
	})
	t.Run("TLS-45 who was spoken to: the host's name, what it calls itself, and both addresses", func(t *testing.T) {
		for _, c := range []struct {
			name string
			set  func(h *smtptest.Host)
			zone string
			helo string
		}{
			{"TLS that is refused", func(*smtptest.Host) {}, "_25._tcp.mx1 " + otherTLSA, "called.e.test"},
			{"no STARTTLS", func(h *smtptest.Host) { h.Extensions = nil }, "_25._tcp.mx1 " + otherTLSA, "called.e.test"},
			{"TLS that breaks, without a policy", func(h *smtptest.Host) {
				h.Script = append(h.Script, smtptest.Cue{At: smtptest.Handshake, Then: smtptest.Close})
			}, "", "called.e.test"},
			{"no connection", func(*smtptest.Host) {}, "_25._tcp.mx1 " + otherTLSA, ""},
		} {
			bubble(t, func(t *testing.T, w *world) {
				h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
				h.Script = []smtptest.Cue{{At: smtptest.Banner, Reply: "220 hello.e.test"}}
				h.Script = append(h.Script, smtptest.Cue{At: smtptest.Hello, Reply: "250-called.e.test\n250 STARTTLS"})
				if c.set(h); h.Extensions == nil {
					h.Script[1].Reply = "250 called.e.test"
				}
				if c.helo == "" {
					w.net.Rules = append(w.net.Rules, mxtest.Rule{Name: "_25._tcp.mx1.e.test", Type: mx.TypeTLSA, Fault: mxtest.ServFail})
				}
				w.start(oneMX, c.zone)
				w.send("u@e.test")
				var counts tlsrpt.Counts
				for _, d := range w.told() {
					d.Count(&counts)
				}
				n := 0
				for _, tally := range counts.Tallies(tlsrpt.DayOf(time.Now())) {
					for _, d := range tally.Details {
						n++
						if d.Host != "mx1.e.test" || d.Helo != c.helo || d.ReceivingIP.IsValid() != (c.helo != "") || d.SendingIP.IsValid() != (c.helo != "") {
							t.Errorf("%s: %+v", c.name, d)
						}
					}
				}
				if n != 1 {
					t.Errorf("%s: %d failures are counted", c.name, n)
				}
			})
		}
	})
}

// reported is what a report of TLS would have of all that was decided.
func (w *world) reported() string {
	var counts tlsrpt.Counts
	for _, d := range w.told() {
		d.Count(&counts)
	}
	var all []string
	for _, tally := range counts.Tallies(tlsrpt.DayOf(time.Now())) {
		all = append(all, fmt.Sprintf("%v %s %d/%d", tally.Policy.Type, tally.Policy.Domain, tally.Successes, tally.Failures))
		for _, d := range tally.Details {
			all = append(all, fmt.Sprintf(" %v %s", d.Result, d.Reason))
		}
	}
	return strings.Join(all, "\n")
}

// TestCountingADecisionAllocatesNothing: what a report of TLS has of a session that was as
// it should be costs an increment.
func TestCountingADecisionAllocatesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cert := w.certificate("mx1.e.test")
		w.host("mx1.e.test", cert)
		w.web.set("e.test", "enforce", "mx1.e.test")
		w.start(oneMX, "_25._tcp.mx1 "+tlsa(cert), sts("e.test", "1"))
		w.send("u@e.test")
		told := w.told()
		if len(told) != 1 || len(told[0].Held) != 2 {
			t.Fatalf("%v", told)
		}
		var counts tlsrpt.Counts
		told[0].Count(&counts)
		if n := testing.AllocsPerRun(100, func() { told[0].Count(&counts) }); n != 0 {
			t.Errorf("a success costs %v allocations", n)
		}
	})
}
