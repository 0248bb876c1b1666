package trust_test

import (
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/queue"
)

// changing is a certificate that a host may change while it works.
type changing struct {
	mu sync.Mutex
	c  tls.Certificate
}

func (c *changing) set(to tls.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c = to
}

func (c *changing) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &c.c, nil
}

// TestRollovers is what a sender sees while keys, records and policies change, an hour at a
// time.
func TestRollovers(t *testing.T) {
	const ttl = "3600 "
	record := func(c tls.Certificate) string { return "_25._tcp.mx1 " + ttl + tlsa(c) }
	for _, c := range []struct {
		name  string
		steps func(w *world, host *changing, first, second tls.Certificate) []func()
		want  string // a character for each hour after each step: d is DANE, - is kept
	}{
		{"TLS-41 current and next, and the key changes when both are known", func(w *world, host *changing, first, second tls.Certificate) []func() {
			return []func(){
				func() { w.zone(oneMX, record(first), record(second)) },
				func() { host.set(second) },
				func() { w.zone(oneMX, record(second)) },
			}
		}, "dddd"},
		{"the key changes before its record is there", func(w *world, host *changing, _, second tls.Certificate) []func() {
			return []func(){
				func() { host.set(second) },
				func() { w.zone(oneMX, record(second)) },
			}
		}, "d-d"},
		{"the record changes before the key does", func(w *world, host *changing, _, second tls.Certificate) []func() {
			return []func(){
				func() { w.zone(oneMX, record(second)) },
				func() { host.set(second) },
			}
		}, "d-d"},
		{"the next record is of an authority", func(w *world, host *changing, _, second tls.Certificate) []func() {
			return []func(){
				func() { w.zone(oneMX, "_25._tcp.mx1 "+ttl+w.taTLSA()) },
				func() { host.set(second) },
			}
		}, "ddd"},
		{"the zone is unsigned for a while", func(w *world, host *changing, _, second tls.Certificate) []func() {
			return []func(){
				func() { w.net.DNS().SetSigned("e.test", false); host.set(second) },
				func() { w.net.DNS().SetSigned("e.test", true); w.zone(oneMX, record(second)) },
			}
		}, "ded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				first, second := w.certificate("mx1.e.test"), w.certificate("mx1.e.test")
				host := &changing{c: first}
				h := w.host("mx1.e.test", first)
				h.TLS = &tls.Config{GetCertificate: host.get, SessionTicketsDisabled: true}
				w.start(oneMX, record(first))
				got := ""
				look := func() {
					r := w.send("u@e.test").Recipients[0]
					if r.Outcome == queue.Deferred {
						got += "-"
					} else {
						got += r.TLS.String()[:1]
					}
					pass(time.Hour)
				}
				look()
				for _, step := range c.steps(w, host, first, second) {
					step()
					look()
				}
				if got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
	t.Run("TLS-37 a certificate that is renewed a day late: DANE of a key does not mind, and MTA-STS does", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			ends := time.Now().Add(48 * time.Hour)
			first := w.certificateUntil(ends, "mx1.e.test")
			host := &changing{c: first}
			h := w.host("mx1.e.test", first)
			h.TLS = &tls.Config{GetCertificate: host.get}
			w.web.set("f.test", "enforce", "mx1.e.test")
			w.start(oneMX, "_25._tcp.mx1 "+tlsa(first), "f.test. MX 10 mx1.e.test.", sts("f.test", "1"))
			w.net.DNS().SetSigned("f.test", false) // so that DANE has no say there
			for day, want := range []string{"mta-sts", "mta-sts", "none", "mta-sts"} {
				if day == 3 {
					host.set(w.certificate("mx1.e.test"))
					w.zone(oneMX, "f.test. MX 10 mx1.e.test.", sts("f.test", "1"))
				}
				if day < 3 {
					check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
				}
				r := w.send("u@f.test").Recipients[0]
				if r.TLS.String() != want || r.Outcome == queue.Deferred && r.Decision.Result != tlsrpt.CertificateExpired {
					t.Errorf("day %d: %v, %v", day, r.TLS, r.Decision)
				}
				pass(24*time.Hour + time.Minute)
			}
		})
	})
	t.Run("TLS-17 a policy changes with a new id, and without", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.web.set("e.test", "enforce", "mx9.e.test")
			w.start(oneMX, sts("e.test", "1"))
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			w.web.set("e.test", "enforce", "mx1.e.test")
			pass(10 * time.Minute)
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			w.zone(oneMX, sts("e.test", "2"))
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "mta-sts", "")
		})
	})
}
