package trust_test

import (
	"slices"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestDecisionsOfKeptSessions: on a session from before, the decision is by what is asked
// now, and for the message's own domain.
func TestDecisionsOfKeptSessions(t *testing.T) {
	evidence := func(r *delivery.RecipientReport) *trust.Evidence {
		e, _ := r.Decision.Evidence.(*trust.Evidence)
		return e
	}
	t.Run("a rule that is new", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.start(oneMX)
			w.send("u@e.test")
			for _, level := range []trust.Level{trust.DANE, trust.May} {
				if err := w.source.SetRules([]trust.Rule{{Match: delivery.Match{Domain: "e.test"}, Level: level}}); err != nil {
					t.Fatal(err)
				}
				r := check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "encrypted", "")
				if e := evidence(r); !r.Attempts[0].Reused || e.Rule != level || e.Match != "domain e.test" {
					t.Errorf("%v: reused %t, %v", level, r.Attempts[0].Reused, r.Decision)
				}
			}
		})
	})
	t.Run("TLSA records of which none can be used, and others", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.start(oneMX, "_25._tcp.mx1 "+unusable)
			w.send("u@e.test")
			w.zone(oneMX, "_25._tcp.mx1 "+unusable, "_25._tcp.mx1 TLSA 9 9 9 00")
			r := check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "encrypted", "")
			if n := len(evidence(r).DANE.Policy.Records); !r.Attempts[0].Reused || n != 2 {
				t.Errorf("reused %t, %d records", r.Attempts[0].Reused, n)
			}
		})
	})
	t.Run("a policy with another id", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.start(oneMX, sts("e.test", "1"))
			w.send("u@e.test")
			w.zone(oneMX, sts("e.test", "2"))
			r := check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "mta-sts", "")
			if id := evidence(r).MTASTS.Found.ID; !r.Attempts[0].Reused || id != "2" {
				t.Errorf("reused %t, id %s", r.Attempts[0].Reused, id)
			}
		})
	})
	t.Run("QUE-12 mail for two domains that DANE has a say for goes in two transactions", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			c := w.certificate("any.test")
			h := w.host("mx.host.test", c)
			w.start("a.test. MX 10 mx.host.test.", "b.test. MX 10 mx.host.test.", "mx.host.test. A 192.0.2.1", "_25._tcp.mx.host.test. "+tlsa(c))
			for _, r := range w.send("u@a.test", "u@b.test").Recipients {
				if r.TLS.String() != "dane" || "u@"+r.Decision.Domain != r.Address {
					t.Errorf("%s: TLS %v, by the decision for %s", r.Address, r.TLS, r.Decision.Domain)
				}
			}
			var to []string
			for _, m := range h.Messages() {
				to = append(to, m.To()...)
				if len(m.To()) != 1 {
					t.Errorf("together: %q", m.To())
				}
			}
			if slices.Sort(to); !slices.Equal(to, []string{"u@a.test", "u@b.test"}) {
				t.Errorf("%q", to)
			}
		})
	})
	t.Run("the domain, where no policy has a say", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx.host.test", w.certificate("any.test"))
			w.start("a.test. MX 10 mx.host.test.", "b.test. MX 10 mx.host.test.", "mx.host.test. A 192.0.2.1")
			w.send("u@a.test")
			r := w.send("u@b.test").Recipients[0]
			if !r.Attempts[0].Reused || r.Decision.Domain != "b.test" {
				t.Errorf("reused %t, for %s", r.Attempts[0].Reused, r.Decision.Domain)
			}
		})
	})
}
