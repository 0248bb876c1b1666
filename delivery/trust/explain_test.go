package trust_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
)

// TestExplain is what a receiver sees of its own set-up, without mail.
func TestExplain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		c := w.certificate("mx1.e.test")
		h := w.host("mx1.e.test", c)
		w.host("mx2.e.test", w.certificate("mx2.e.test"))
		clear := w.host("mx3.e.test", w.certificate("mx3.e.test"))
		clear.Extensions = nil
		w.web.set("e.test", "enforce", "mx2.e.test", "mx3.e.test")
		w.start(twoMX, "@ MX 30 mx3\nmx3 A 192.0.2.3\n@ MX 40 mx4\nmx4 A 192.0.2.4", "_25._tcp.mx1 "+tlsa(c), "_25._tcp.mx1 "+otherTLSA, sts("e.test", "1"))
		e, err := w.sender.Explain(t.Context(), "a@from.test", "e.test")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, e.String(), "mx1.e.test 192.0.2.1; TLS required, certificate for mx1.e.test (dane)", "mx2.e.test 192.0.2.2; TLS required, certificate for mx2.e.test (mta-sts)",
			"mx4.e.test 192.0.2.4; no mail for now: MTA-STS policy 1 of e.test: it does not name the host mx4.e.test", "record 3 1 1 0000", "mode enforce, id 1")
		if len(h.Connections()) != 0 {
			t.Error("a host was connected to")
		}
		if e, err = w.sender.ExplainConnect(t.Context(), "a@from.test", "e.test"); err != nil {
			t.Fatal(err)
		}
		contains(t, e.String(), "192.0.2.1:25: mail would go there, TLS dane", ": matches at depth 0", ": matches no certificate", "until 2099-12-31",
			"192.0.2.2:25: mail would go there, TLS mta-sts", "the host is as it says",
			"192.0.2.3:25: no mail for now: starttls: MTA-STS policy 1 of e.test: mx3.e.test: starttls-not-offered (the operator of the receiving host can correct this) [4.7.4]")
		if p := e.Policies[0].Probe; p == nil || p.TLS.String() != "dane" || p.State == nil || !p.Decision.Authenticated || p.Err != nil {
			t.Errorf("%+v", p)
		}
		if told := w.told(); len(told) != 0 {
			t.Errorf("TLS-43 it counts for reports: %v", told)
		}
		if n := mails(h); n != 0 || len(h.Connections()) != 1 {
			t.Errorf("%d MAIL over %d connections", n, len(h.Connections()))
		}
	})
	t.Run("without policies, and TLS that does not work", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			h := w.host("mx1.e.test", unparsable(w))
			w.start(twoMX)
			w.sender.Policy, w.sender.TLS = nil, mx.TLSMay
			e, _ := w.sender.ExplainConnect(t.Context(), "", "e.test")
			contains(t, e.String(), "192.0.2.1:25: mail would go there, TLS none", "192.0.2.2:25: no mail for now: connect: ")
			if n := len(h.Connections()); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	})
}

// contains holds a text to its parts.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
}
