package trust_test

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestWhatWasProvedBefore: a host that was authenticated and is not any more is told of,
// unless who may has said that it need not be.
func TestWhatWasProvedBefore(t *testing.T) {
	for _, c := range []struct {
		name    string
		dane    bool // by DANE, else by MTA-STS
		change  func(w *world, records string)
		ratchet trust.Ratchet
		outcome queue.Outcome
		told    int
	}{
		{"its records are withdrawn", true, func(w *world, _ string) { w.zone(oneMX) }, trust.Tell, queue.Delivered, 0},
		{"its records are withdrawn, and the operator is strict", true, func(w *world, _ string) { w.zone(oneMX) }, trust.Refuse, queue.Delivered, 0},
		{"none of its records can be used", true, func(w *world, _ string) { w.zone(oneMX, "_25._tcp.mx1 "+unusable) }, trust.Tell, queue.Delivered, 0},
		{"its MX records are not vouched for", true, func(w *world, _ string) { w.net.DNS().SetSigned("e.test", false) }, trust.Tell, queue.Delivered, 1},
		{"its records are not vouched for", true, func(w *world, _ string) { w.net.DNS().SetSigned("_25._tcp.mx1.e.test", false) }, trust.Tell, queue.Delivered, 1},
		{"its records are not vouched for, and the operator is strict", true, func(w *world, _ string) { w.net.DNS().SetSigned("_25._tcp.mx1.e.test", false) }, trust.Refuse, queue.Deferred, 1},
		{"its records are not vouched for, and nobody cares", true, func(w *world, _ string) { w.net.DNS().SetSigned("_25._tcp.mx1.e.test", false) }, trust.Forget, queue.Delivered, 0},
		{"that there are no records is not vouched for", true, func(w *world, _ string) {
			w.net.DNS().SetSigned("_25._tcp.mx1.e.test", false)
			w.zone(oneMX)
		}, trust.Tell, queue.Delivered, 1},
		{"its policy is of mode none", false, func(w *world, _ string) {
			w.web.set("e.test", "none")
			w.zone(oneMX, sts("e.test", "2"))
		}, trust.Tell, queue.Delivered, 0},
		{"its policy is being tested", false, func(w *world, _ string) {
			w.web.set("e.test", "testing", "mx1.e.test")
			w.zone(oneMX, sts("e.test", "2"))
		}, trust.Refuse, queue.Delivered, 0},
		{"its policy has expired", false, func(w *world, _ string) {
			w.zone(oneMX)
			pass(8 * 24 * time.Hour)
		}, trust.Tell, queue.Delivered, 1},
		{"its policy has expired, and the operator is strict", false, func(w *world, _ string) {
			w.zone(oneMX)
			pass(8 * 24 * time.Hour)
		}, trust.Refuse, queue.Deferred, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate("mx1.e.test")
				h := w.host("mx1.e.test", cert)
				proof, by := sts("e.test", "1"), "mta-sts"
				if c.dane {
					proof, by = "_25._tcp.mx1 "+tlsa(cert), "dane"
				} else {
					w.net.Signed["."] = false
				}
				w.web.set("e.test", "enforce", "mx1.e.test")
				w.start(oneMX, proof)
				w.source.Ratchet = c.ratchet
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", by, "")
				pass(time.Minute)
				c.change(w, proof)
				before := mails(h)
				for range 2 {
					tls := "encrypted"
					if c.outcome == queue.Deferred {
						tls = "none"
					}
					r := check(t, w.send("u@e.test"), c.outcome, "mx1.e.test", tls, "")
					if c.told == 0 && r.Decision.Fault != 0 && c.name != "none of its records can be used" {
						t.Errorf("%v", r.Decision)
					}
					pass(time.Minute)
				}
				if c.outcome == queue.Deferred && mails(h) != before {
					t.Error("it had MAIL")
				}
				if len(w.notices) != c.told {
					t.Fatalf("%d notices, want %d: %v", len(w.notices), c.told, w.notices)
				}
				if c.told > 0 && (w.notices[0].Domain != "e.test" || w.notices[0].Host != "mx1.e.test" || w.notices[0].Reason != "no-longer-authenticated") {
					t.Errorf("%+v", w.notices[0])
				}
			})
		})
	}
}
