package trust_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue"
)

// resumed says of each connection to a host whether TLS was resumed: r, or f for a whole
// handshake; - is in clear, x TLS that did not come about.
func resumed(h *smtptest.Host) string {
	text := ""
	for _, c := range h.Connections() {
		switch {
		case c.TLS == nil:
			text += "-"
		case c.TLS.DidResume:
			text += "r"
		default:
			text += "f"
		}
	}
	return text
}

// apart has each message sent over a connection of its own.
func (w *world) apart() { w.sender.MaxIdle = -1 }

// TestResumedTLS: tickets spare a handshake, and no check.
func TestResumedTLS(t *testing.T) {
	t.Run("TLS-27 by the records of now", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate("mx1.e.test")
			h := w.host("mx1.e.test", cert)
			w.start(oneMX, "_25._tcp.mx1 1 "+tlsa(cert))
			w.apart()
			for range 3 {
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
				pass(time.Minute)
			}
			w.zone(oneMX, "_25._tcp.mx1 1 "+otherTLSA)
			r := check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			if r.Decision.Reason != "tlsa-no-match" {
				t.Errorf("%v", r.Decision)
			}
			w.zone(oneMX, "_25._tcp.mx1 1 "+tlsa(cert))
			r = check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			if e, ok := r.Decision.Evidence.(*trust.Evidence); !ok || !e.TLS.Resumed || len(e.TLS.Chain) == 0 {
				t.Errorf("the decision does not say that TLS was resumed: %v", r.Decision)
			}
			contains(t, r.Decision.String(), "resumed: the certificates are those of before")
			if got := resumed(h); got != "frrfr" && got != "frr-r" {
				t.Errorf("%s", got)
			}
		})
	})
	t.Run("TLS-19 by the policy of now", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.start(oneMX, sts("e.test", "1"))
			w.apart()
			for range 2 {
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "mta-sts", "")
			}
			w.web.set("e.test", "enforce", "mx9.e.test")
			w.zone(oneMX, sts("e.test", "2"))
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			if got := resumed(h); got != "fr" {
				t.Errorf("%s", got)
			}
		})
	})
	t.Run("TLS-19 a certificate that has expired since", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			host := &changing{c: w.certificateUntil(time.Now().Add(2*time.Hour), "mx1.e.test")}
			h := w.host("mx1.e.test", host.c)
			h.TLS = &tls.Config{GetCertificate: host.get}
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.start(oneMX, sts("e.test", "1"))
			w.apart()
			for range 2 {
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "mta-sts", "")
				pass(time.Hour)
			}
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			host.set(w.certificate("mx1.e.test"))
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "mta-sts", "")
		})
	})
	t.Run("the host's certificate is looked at anew once a day", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			first, second := w.certificate("mx1.e.test"), w.certificate("mx1.e.test")
			host := &changing{c: first}
			h := w.host("mx1.e.test", first)
			h.TLS = &tls.Config{GetCertificate: host.get}
			w.start(oneMX, "_25._tcp.mx1 3600 "+tlsa(first))
			w.apart()
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			host.set(second)
			for range 11 { // the key of the ticket is still the host's
				pass(2 * time.Hour)
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			}
			pass(2 * time.Hour)
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
		})
	})
	t.Run("the application's checks are made on resumed sessions too", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.start(oneMX)
			w.apart()
			var checked []bool
			revoked := false
			no := errors.New("revoked")
			w.sender.TLSConfig.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
				if checked = append(checked, len(raw) == 2); revoked {
					return no
				}
				return nil
			}
			for range 2 {
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "encrypted", "")
			}
			revoked = true
			if r := w.send("u@e.test").Recipients[0]; r.Outcome != queue.Deferred || !errors.Is(r.Err, no) || mails(h) != 2 {
				t.Errorf("%v, %v", r.Outcome, r.Err)
			}
			for _, all := range checked {
				if !all {
					t.Error("it was called without the certificates")
				}
			}
			if len(checked) != 4 { // once more, for the certificates of now
				t.Errorf("it was called %d times", len(checked))
			}
		})
	})
	t.Run("not where the application wants none", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.start(oneMX)
			w.apart()
			w.sender.TLSConfig.SessionTicketsDisabled = true
			for range 2 {
				w.send("u@e.test")
			}
			if got := resumed(h); got != "ff" {
				t.Errorf("%s", got)
			}
		})
	})
	t.Run("not for an explanation, which shows what the host has now", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.start(oneMX)
			w.apart()
			w.send("u@e.test")
			e, err := w.sender.ExplainConnect(t.Context(), "", "e.test")
			if err != nil || e.Policies[0].Probe.Err != nil {
				t.Fatal(err)
			}
			if got := resumed(h); got != "ff" {
				t.Errorf("%s", got)
			}
		})
	})
}

// TestTicketsOfPolicies: TLS that was made as one policy asks is never resumed for mail under
// another.
func TestTicketsOfPolicies(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(fmt.Sprintf("SMTP-43 of domains that share a host, %s", tls.VersionName(version)), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate("mx.host.test")
				h := w.host("mx.host.test", cert)
				h.TLS.MaxVersion = version
				w.web.set("a.test", "enforce", "mx.host.test")
				w.net.Signed["a.test"], w.net.Signed["d.test"], w.net.Signed["v.test"] = false, false, false // so that DANE has no say
				w.start("a.test. MX 10 mx.host.test.\nd.test. MX 10 mx.host.test.\ne.test. MX 10 mx.host.test.\nv.test. MX 10 mx.host.test.\nf.test. MX 10 mx.host.test.\nmx.host.test. A 192.0.2.1",
					"_25._tcp.mx.host.test. "+tlsa(cert), sts("a.test", "1"))
				ours := w.certificate("from.test")
				w.source.Rules = []trust.Rule{
					{Match: delivery.Match{Domain: "v.test"}, Level: trust.Verify},
					{Match: delivery.Match{Domain: "f.test"}, Level: trust.Encrypt, Certificate: &ours},
				}
				w.apart()
				for round := range 2 {
					for _, c := range []struct{ to, tls string }{
						{"u@d.test", "encrypted"}, {"u@a.test", "mta-sts"}, {"u@e.test", "dane"}, {"u@v.test", "verified"}, {"u@f.test", "encrypted"},
					} {
						before := len(h.Connections())
						check(t, w.send(c.to), queue.Delivered, "mx.host.test", c.tls, "")
						want := "fr"[round : round+1]
						if got := resumed(h)[before:]; got != want {
							t.Errorf("mail for %s, round %d: %s, want %s", c.to, round, got, want)
						}
					}
				}
			})
		})
	}
	t.Run("SMTP-43 of two records of one host", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate("mx1.e.test")
			h := w.host("mx1.e.test", cert)
			w.start(oneMX, "_25._tcp.mx1 1 "+tlsa(cert))
			w.apart()
			w.send("u@e.test")
			w.zone(oneMX, "_25._tcp.mx1 1 "+tlsa(cert), "_25._tcp.mx1 1 "+otherTLSA)
			pass(time.Minute)
			w.send("u@e.test")
			if got := resumed(h); got != "ff" {
				t.Errorf("%s", got)
			}
		})
	})
	t.Run("SMTP-43 an application's own cache, which goes by names, is not used", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.start(oneMX)
			w.apart()
			own := &countingCache{}
			w.sender.TLSConfig.ClientSessionCache = own
			for range 2 {
				w.send("u@e.test")
			}
			if got := resumed(h); got != "fr" || own.calls != 0 {
				t.Errorf("%s, and %d calls", got, own.calls)
			}
		})
	})
}

type countingCache struct{ calls int }

func (c *countingCache) Get(string) (*tls.ClientSessionState, bool) { c.calls++; return nil, false }
func (c *countingCache) Put(string, *tls.ClientSessionState)        { c.calls++ }

// TestHostsThatCannotResume: TLS that breaks when it is resumed is made anew at once. It keeps
// no mail, is not taken for TLS that does not work, and is reported to nobody.
func TestHostsThatCannotResume(t *testing.T) {
	for _, c := range []struct {
		name string
		zone func(cert tls.Certificate) string
		tls  string
	}{
		{"TLS-4 where TLS is used if it works", func(tls.Certificate) string { return "" }, "encrypted"},
		{"TLS-27 where it must", func(cert tls.Certificate) string { return "_25._tcp.mx1 " + tlsa(cert) }, "dane"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate("mx1.e.test")
				h := w.host("mx1.e.test", cert)
				w.start(oneMX, c.zone(cert))
				w.apart()
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", c.tls, "")
				w.told()
				hellos := 0
				h.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					const preSharedKey = 41
					for _, x := range hello.Extensions {
						if x == preSharedKey {
							hellos++
							return nil, errors.New("a session is offered")
						}
					}
					return nil, nil
				}
				for range 3 {
					check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", c.tls, "")
				}
				if hellos != 1 {
					t.Errorf("a session was offered %d times, want once in an hour", hellos)
				}
				told := w.told()
				for _, d := range told {
					if d.Result != 0 || !d.Accepted {
						t.Errorf("told of %v", d)
					}
				}
				if len(told) != 3 {
					t.Errorf("told of %d connections, want one for each message", len(told))
				}
				pass(61 * time.Minute)
				check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", c.tls, "")
				if hellos != 2 {
					t.Errorf("after an hour, a session was offered %d times in all", hellos)
				}
			})
		})
	}
}
