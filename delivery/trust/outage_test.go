package trust_test

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// TestPoliciesThroughOutages: an agent has mail that a policy of one day keeps back, or
// would, while the policy host or all the domain's hosts are down.
func TestPoliciesThroughOutages(t *testing.T) {
	set := func(w *world, host string) {
		w.web.mu.Lock()
		defer w.web.mu.Unlock()
		w.web.policies["e.test"] = "version: STSv1\nmode: enforce\nmax_age: 86400\nmx: " + host + "\n"
	}
	cut := func(w *world) {
		if err := w.net.Cut("mx1.e.test", "203.0.113.1"); err != nil {
			w.t.Fatal(err)
		}
	}
	heal := func(w *world, where ...string) {
		if err := w.net.Heal(where...); err != nil {
			w.t.Fatal(err)
		}
	}
	type change struct {
		hour int
		do   func(w *world)
	}
	for _, c := range []struct {
		name    string
		host    string // that the policy names
		changes []change
		hour    int // when the mail is delivered, or can be; 0: not within two days
		within  int // hours after that
		tls     string
		result  tlsrpt.Result // of the decision
	}{
		{"TLS-17, TLS-18 the policy host is down until the policy has expired", "mx9.e.test",
			[]change{{1, func(w *world) { w.web.setDown(true) }}}, 24, 1, "encrypted", tlsrpt.STSFetchError},
		{"TLS-17 the policy host is down for most of its time", "mx9.e.test",
			[]change{{1, func(w *world) { w.web.setDown(true) }}, {20, func(w *world) { w.web.setDown(false) }}}, 0, 0, "", 0},
		{"TLS-17 the policy host is back before that, with another policy", "mx9.e.test",
			[]change{{1, func(w *world) { w.web.setDown(true) }}, {20, func(w *world) { w.web.setDown(false); set(w, "mx1.e.test") }}}, 20, 7, "mta-sts", tlsrpt.Success},
		{"TLS-17, TLS-18 all is down, and the mail host is back, though not the policy host", "mx9.e.test",
			[]change{{1, cut}, {30, func(w *world) { heal(w, "mx1.e.test") }}}, 30, 1, "encrypted", tlsrpt.STSFetchError},
		{"TLS-17 all is down, and all is back after the policy has expired", "mx9.e.test",
			[]change{{1, cut}, {30, func(w *world) { heal(w, "mx1.e.test", "203.0.113.1") }}}, 0, 0, "", 0},
		{"TLS-17 all is down, and all is back with a policy that is kept to", "mx1.e.test",
			[]change{{0, cut}, {30, func(w *world) { heal(w, "mx1.e.test", "203.0.113.1") }}}, 30, 1, "mta-sts", tlsrpt.Success},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.host("mx1.e.test", w.certificate("mx1.e.test"))
				set(w, c.host)
				w.start(oneMX, sts("e.test", "1"))
				o, stop := w.run(delivery.Settings{Schedule: delivery.Delays{30 * time.Minute}, Expire: 72 * time.Hour, Warn: -1, Jitter: -1})
				defer stop()
				w.source.MTASTS.Find(t.Context(), "e.test")
				start, changes := time.Now(), c.changes
				if changes[0].hour == 0 {
					changes[0].do(w)
					changes = changes[1:]
				}
				o.submit("u@e.test")
				for _, change := range changes {
					pass(time.Until(start.Add(time.Duration(change.hour)*time.Hour + time.Minute)))
					change.do(w)
				}
				pass(time.Until(start.Add(48 * time.Hour)))
				delivered := o.of(delivery.Delivered)
				if c.hour == 0 {
					if len(delivered) != 0 {
						t.Errorf("it is delivered after %v: %v", delivered[0].Time.Sub(start), delivered[0].Decision)
					}
					return
				}
				if len(delivered) != 1 {
					t.Fatalf("it is not delivered: %v", o.of(delivery.Deferred)[0].Decision)
				}
				e := delivered[0]
				after := e.Time.Sub(start)
				if first := time.Duration(c.hour) * time.Hour; after < first || after > first+time.Duration(c.within)*time.Hour {
					t.Errorf("it is delivered after %v, want it within %d hours after %v", after, c.within, first)
				}
				if e.TLS.String() != c.tls || e.Decision.Result != c.result {
					t.Errorf("TLS is %v, %v; want %s, %v", e.TLS, e.Decision, c.tls, c.result)
				}
			})
		})
	}
}
