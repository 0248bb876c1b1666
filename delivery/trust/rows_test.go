package trust_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// taTLSA is the record "2 0 1" for the authority.
func (w *world) taTLSA() string {
	sum := sha256.Sum256(w.ca.Root().Raw)
	return "TLSA 2 0 1 " + hex.EncodeToString(sum[:])
}

// TestNamesOfHosts: which of a host's names is asked about, goes into the handshake and must
// be in its certificate.
func TestNamesOfHosts(t *testing.T) {
	const aliased = "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 CNAME real.h.test.\nreal.h.test. A 192.0.2.1"
	for _, c := range []struct {
		name    string
		zone    []string
		insecur string // what is not signed
		sts     []string
		cert    string // its name
		outcome queue.Outcome
		tls     string
		sni     string
	}{
		{"MX-8 a policy is matched with the name that the MX record has", []string{aliased}, "", []string{"mx1.e.test"}, "mx1.e.test", queue.Delivered, "mta-sts", "mx1.e.test"},
		{"MX-8 and not with what that is an alias of", []string{aliased}, "", []string{"real.h.test"}, "real.h.test", queue.Deferred, "none", ""},
		{"TLS-31 TLSA records are at the expanded name first", []string{aliased, "_25._tcp.real.h.test. RIGHT", "_25._tcp.mx1 " + otherTLSA}, "", nil, "any.test", queue.Delivered, "dane", "real.h.test"},
		{"TLS-31 and at the name itself if there are none", []string{aliased, "_25._tcp.mx1 RIGHT"}, "", nil, "any.test", queue.Delivered, "dane", "mx1.e.test"},
		{"TLS-32 a secure alias of an insecure host", []string{aliased, "_25._tcp.mx1 RIGHT", "_25._tcp.real.h.test. " + otherTLSA}, "h.test", nil, "any.test", queue.Delivered, "dane", "mx1.e.test"},
		{"TLS-30 an insecure host is not asked about", []string{oneMX, "_25._tcp.mx1 " + otherTLSA}, "mx1.e.test", nil, "any.test", queue.Delivered, "encrypted", "mx1.e.test"},
		{"TLS-39 usage 2 with the host's name", []string{oneMX, "_25._tcp.mx1 TA"}, "", nil, "mx1.e.test", queue.Delivered, "dane", "mx1.e.test"},
		{"TLS-39 usage 2 with the domain's name", []string{oneMX, "_25._tcp.mx1 TA"}, "", nil, "e.test", queue.Delivered, "dane", "mx1.e.test"},
		{"TLS-39 usage 2 with another name", []string{oneMX, "_25._tcp.mx1 TA"}, "", nil, "f.test", queue.Deferred, "none", ""},
		{"TLS-33 records that an alias leads to", []string{oneMX, "_25._tcp.mx1 CNAME dane.e.test.", "dane RIGHT"}, "", nil, "any.test", queue.Delivered, "dane", "mx1.e.test"},
		{"TLS-16 no MX record, and a policy that names the domain", []string{"$ORIGIN e.test.\n@ A 192.0.2.1"}, "", []string{"e.test"}, "e.test", queue.Delivered, "mta-sts", "e.test"},
		{"TLS-16 no MX record, and a policy that does not", []string{"$ORIGIN e.test.\n@ A 192.0.2.1"}, "", []string{"mx1.e.test"}, "e.test", queue.Deferred, "none", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate(c.cert)
				name := "mx1.e.test"
				switch {
				case strings.Contains(c.zone[0], "CNAME"):
					name = "real.h.test"
				case !strings.Contains(c.zone[0], "MX"):
					name = "e.test"
				}
				h := w.host(name, cert)
				lines := slices.Clone(c.zone)
				for i := range lines {
					lines[i] = strings.Replace(strings.Replace(lines[i], "RIGHT", tlsa(cert), 1), " TA", " "+w.taTLSA(), 1)
				}
				if c.sts != nil {
					w.web.set("e.test", "enforce", c.sts...)
					lines = append(lines, sts("e.test", "1"))
				}
				if c.insecur != "" {
					w.net.Signed[c.insecur] = false
				}
				w.net.DNS().Validates = true
				w.start(lines...)
				r := w.send("u@e.test").Recipients[0]
				if r.Outcome != c.outcome || r.TLS.String() != c.tls {
					t.Fatalf("%v, TLS %v: %v", r.Outcome, r.TLS, r.Decision)
				}
				if c.sni != "" && h.Connections()[0].TLS.ServerName != c.sni {
					t.Errorf("TLS-8 the name in the handshake is %q, want %q", h.Connections()[0].TLS.ServerName, c.sni)
				}
			})
		})
	}
	t.Run("MX-9 TLS-34 an MX record with an address is not asked about", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.start("$ORIGIN e.test.\n@ MX 10 192.0.2.1.\n")
			w.send("u@e.test")
			w.send("u@[192.0.2.1]")
			if w.asked("_25._tcp") {
				t.Error("TLSA records were asked for")
			}
		})
	})
	t.Run("MX-12 TLS-24 the policy of a parent is not asked for", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.m.e.test", w.certificate("mx9.e.test"))
			w.web.set("e.test", "enforce", "mx9.e.test")
			w.start("$ORIGIN m.e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1", sts("e.test", "1"))
			check(t, w.send("u@m.e.test"), queue.Delivered, "mx1.m.e.test", "encrypted", "")
			if w.asked("_mta-sts.e.test") || !w.asked("_mta-sts.m.e.test") {
				t.Error("another name was asked for")
			}
		})
	})
}

func TestHostsThatPoliciesRefuse(t *testing.T) {
	t.Run("MX-28 TLS-20 hosts that are no better than this one are not turned to", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.host("mx2.e.test", w.certificate("mx2.e.test"))
			worse := w.host("mx3.e.test", w.certificate("mx3.e.test"))
			w.web.set("e.test", "enforce", "mx3.e.test", "mx2.e.test")
			w.start(twoMX, "@ MX 30 mx3\nmx3 A 192.0.2.3", sts("e.test", "1"))
			w.sender.Self = []string{"mx2.e.test"}
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			if len(worse.Connections()) != 0 {
				t.Error("a worse host was connected to")
			}
		})
	})
	for name, zone := range map[string][]string{
		"DANE": {oneMX, "_25._tcp.mx1 RIGHT"}, "MTA-STS": {oneMX, sts("e.test", "1")},
	} {
		t.Run("TLS-7 an old version of TLS, "+name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate("mx1.e.test")
				h := w.host("mx1.e.test", cert)
				h.TLS.MinVersion, h.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
				w.web.set("e.test", "enforce", "mx1.e.test")
				lines := slices.Clone(zone)
				lines[1] = strings.Replace(lines[1], "RIGHT", tlsa(cert), 1)
				w.start(lines...)
				r := check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
				if d := r.Decision; d.Result != tlsrpt.ValidationFailure || d.Reason != "handshake-failed" || mails(h) != 0 {
					t.Errorf("%v, %d MAIL", d, mails(h))
				}
				if n := len(h.Connections()); n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		})
	}
	t.Run("TLS-37 an expired certificate with the right key", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificateFor(&x509.Certificate{NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(1991, 1, 1, 0, 0, 0, 0, time.UTC)}, "other.test")
			w.host("mx1.e.test", cert)
			w.start(oneMX, "_25._tcp.mx1 "+tlsa(cert))
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
		})
	})
	t.Run("TLS-19 an expired certificate", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificateFor(&x509.Certificate{NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(1991, 1, 1, 0, 0, 0, 0, time.UTC)}, "mx1.e.test"))
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.start(oneMX, sts("e.test", "1"))
			r := check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			if r.Decision.Result != tlsrpt.CertificateExpired {
				t.Errorf("%v", r.Decision)
			}
		})
	})
}

// TestPoliciesInTime: what is in force while records and policy hosts come and go, and
// through a restart.
func TestPoliciesInTime(t *testing.T) {
	t.Run("TLS-17 a policy outlives its record, its host and the program, and ends", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx9.e.test")) // which the policy refuses
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.start(oneMX, sts("e.test", "1"))
			store := &mtasts.Dir{Path: t.TempDir()}
			fetcher := w.source.MTASTS.Fetcher
			restart := func() {
				w.sender.Close()
				w.sender = &delivery.Sender{
					Hello: "from.test", Resolver: w.net, Dial: w.net.DialContext, TLSConfig: w.ca.ClientConfig(),
					Policy: &trust.Source{Resolver: w.net, Store: store, Fetcher: fetcher},
				}
			}
			restart()
			refused := func(what string) {
				t.Helper()
				if r := w.send("u@e.test").Recipients[0]; r.Outcome != queue.Deferred || r.Decision.Result != tlsrpt.HostMismatch {
					t.Errorf("%s: %v, %v", what, r.Outcome, r.Decision)
				}
			}
			refused("it is found")
			w.zone(oneMX)
			refused("its record has gone")
			if err := w.net.DNS().Set(mxtest.Rule{Name: "_mta-sts.e.test", Type: mx.TypeTXT, Fault: mxtest.ServFail}); err != nil {
				t.Fatal(err)
			}
			refused("TLS-12 its record cannot be asked for")
			if err := w.net.DNS().Set(mxtest.Rule{Name: "_mta-sts.e.test", Type: mx.TypeTXT}); err != nil {
				t.Fatal(err)
			}
			w.zone(oneMX, sts("e.test", "2"))
			w.web.setDown(true)
			refused("another id, and the policy host is down")
			pass(3 * 24 * time.Hour)
			restart()
			refused("three days later, in another process")
			pass(5 * 24 * time.Hour)
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "encrypted", "")
		})
	})
	t.Run("TLS-12 without a policy that is stored, a record that cannot be asked for keeps no mail", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx9.e.test"))
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.net.Rules = []mxtest.Rule{{Name: "_mta-sts.e.test", Type: mx.TypeTXT, Fault: mxtest.ServFail}}
			w.start(oneMX, sts("e.test", "1"))
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "encrypted", "")
		})
	})
}
