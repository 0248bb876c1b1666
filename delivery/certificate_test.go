package delivery_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestOwnChecks is what the checks of a Sender's TLSConfig refuse: it gets no
// mail at any level, and least of all in clear.
func TestOwnChecks(t *testing.T) {
	ca := authority(t)
	const one = "$ORIGIN e.test.\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.1\nmx2 A 192.0.2.2\n"
	refused := errors.New("not the key we know")
	isFirst := func(c *x509.Certificate) error {
		if c.VerifyHostname("mx1.e.test") == nil {
			return refused
		}
		return nil
	}
	checks := map[string]func(*tls.Config){
		"VerifyConnection": func(c *tls.Config) {
			c.VerifyConnection = func(s tls.ConnectionState) error { return isFirst(s.PeerCertificates[0]) }
		},
		"VerifyPeerCertificate": func(c *tls.Config) {
			c.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
				cert, err := x509.ParseCertificate(raw[0])
				if err != nil {
					return err
				}
				return isFirst(cert)
			}
		},
	}
	levels := map[string]mx.TLSLevel{"may": mx.TLSMay, "encrypt": mx.TLSEncrypt, "verify": mx.TLSVerify}
	for check, set := range checks {
		for name, level := range levels {
			t.Run(check+" at "+name, func(t *testing.T) {
				host := func(name string) *smtptest.Host {
					return &smtptest.Host{Name: name, Extensions: append(full(), "STARTTLS"), Authority: ca}
				}
				first, second := host("mx1.e.test"), host("mx2.e.test")
				bubble(t, one, servers(first, second), func(t *testing.T, r *rig) {
					r.sender.TLS, r.sender.TLSConfig = level, ca.ClientConfig()
					set(r.sender.TLSConfig)
					rr := &r.send(t, message("u@e.test")).Recipients[0]
					want(t, rr, queue.Delivered, "mx2.e.test", "")
					if mails(first) != 0 || len(first.Connections()) != 1 {
						t.Errorf("the first host had %d connections and %d MAIL, want 1 and none",
							len(first.Connections()), mails(first))
					}
					a := rr.Attempts[0]
					if a.Next != delivery.NextAddress || a.Err.Stage != delivery.StageStartTLS || !errors.Is(a.Err, refused) {
						t.Errorf("%v, then %v; want the check's error, then the next address", a.Err, a.Next)
					}
				})
			})
		}
	}
	t.Run("a policy's check and the application's must both pass", func(t *testing.T) {
		host := &smtptest.Host{Name: "mx1.e.test", Extensions: append(full(), "STARTTLS"), Authority: ca}
		bubble(t, "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\n", servers(host), func(t *testing.T, r *rig) {
			r.sender.TLSConfig = ca.ClientConfig()
			checks["VerifyConnection"](r.sender.TLSConfig)
			r.sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
				return delivery.TLSPolicy{Level: mx.TLSVerify, Verify: func(tls.ConnectionState) error { return nil }}, nil
			})
			want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Deferred, "mx1.e.test", "4.7.5")
		})
	})
}
