package delivery_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestPolicyOfVersionAndCertificate: a policy may want a least version of TLS and show a
// certificate, at any level, and mail under it shares no session with other mail.
func TestPolicyOfVersionAndCertificate(t *testing.T) {
	ca := authority(t)
	const zone = "$ORIGIN e.test.\n@ MX 10 mx1\nother MX 10 mx1\nmx1 A 192.0.2.1\n"
	ours, err := ca.Certificate("from.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		level   mx.TLSLevel
		policy  delivery.TLSPolicy
		most    uint16 // version that the host has
		outcome queue.Outcome
		status  string
		shown   int // with that of the authority
	}{
		{"TLS-5 a host with the version", mx.TLSEncrypt, delivery.TLSPolicy{MinVersion: tls.VersionTLS13}, tls.VersionTLS13, queue.Delivered, "", 0},
		{"TLS-5 one without it, encrypted", mx.TLSEncrypt, delivery.TLSPolicy{MinVersion: tls.VersionTLS13}, tls.VersionTLS12, queue.Deferred, "4.7.5", 0},
		{"TLS-5 one without it, verified", mx.TLSVerify, delivery.TLSPolicy{MinVersion: tls.VersionTLS13}, tls.VersionTLS12, queue.Deferred, "4.7.5", 0},
		{"TLS-8 a certificate, encrypted", mx.TLSEncrypt, delivery.TLSPolicy{Certificate: &ours}, tls.VersionTLS13, queue.Delivered, "", 2},
		{"TLS-8 a certificate, verified", mx.TLSVerify, delivery.TLSPolicy{Certificate: &ours}, tls.VersionTLS12, queue.Delivered, "", 2},
		{"TLS-8 a certificate, if TLS is there", mx.TLSMay, delivery.TLSPolicy{Certificate: &ours}, tls.VersionTLS13, queue.Delivered, "", 2},
		{"TLS-8 none", mx.TLSEncrypt, delivery.TLSPolicy{}, tls.VersionTLS13, queue.Delivered, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := ca.ServerConfig("mx1.e.test")
			if err != nil {
				t.Fatal(err)
			}
			shown := -1
			config.ClientAuth, config.MaxVersion = tls.RequestClientCert, c.most
			config.VerifyConnection = func(state tls.ConnectionState) error {
				shown = len(state.PeerCertificates)
				return nil
			}
			host := &smtptest.Host{Name: "mx1.e.test", Extensions: append(full(), "STARTTLS"), TLS: config}
			bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
				r.sender.TLS, r.sender.TLSConfig = c.level, ca.ClientConfig()
				r.sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
					if route.Domain != "e.test" {
						return delivery.TLSPolicy{}, nil
					}
					c.policy.Key = "ours"
					return c.policy, nil
				})
				want(t, &r.send(t, message("u@e.test")).Recipients[0], c.outcome, "mx1.e.test", c.status)
				if c.outcome != queue.Delivered {
					if mails(host) != 0 {
						t.Error("it had MAIL without the TLS that is wanted")
					}
					return
				}
				if shown != c.shown {
					t.Errorf("%d certificates were shown, want %d", shown, c.shown)
				}
				before := len(host.Connections())
				want(t, &r.send(t, message("u@other.e.test")).Recipients[0], queue.Delivered, "mx1.e.test", "")
				apart := c.policy.MinVersion != 0 || c.policy.Certificate != nil || c.level == mx.TLSVerify
				if got := len(host.Connections()) > before; got != apart {
					t.Errorf("SMTP-43 mail without the policy had a session of its own: %t, want %t", got, apart)
				}
				if apart && shown != 0 {
					t.Errorf("TLS-8 %d certificates were shown on behalf of other mail", shown)
				}
			})
		})
	}
}

// TestOneKeyAndSeveralCertificates: what a policy says of its key does not have mail shown
// with the certificate of another, neither by a kept session nor by one that is resumed.
func TestOneKeyAndSeveralCertificates(t *testing.T) {
	ca := authority(t)
	for _, kept := range []bool{true, false} {
		for _, level := range []mx.TLSLevel{mx.TLSMay, mx.TLSEncrypt, mx.TLSVerify} {
			t.Run(fmt.Sprintf("SMTP-43 TLS-8 kept %t, %v", kept, level), func(t *testing.T) {
				config, err := ca.ServerConfig("mx1.e.test")
				if err != nil {
					t.Fatal(err)
				}
				shown := ""
				config.ClientAuth = tls.RequestClientCert
				config.VerifyConnection = func(state tls.ConnectionState) error {
					if shown = ""; len(state.PeerCertificates) > 0 {
						shown = state.PeerCertificates[0].DNSNames[0]
					}
					return nil
				}
				host := &smtptest.Host{Name: "mx1.e.test", Extensions: append(full(), "STARTTLS"), TLS: config}
				zone := "mx1.e.test. A 192.0.2.1\na.test. MX 10 mx1.e.test.\nb.test. MX 10 mx1.e.test.\nnone.test. MX 10 mx1.e.test.\n"
				bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
					certificates := make(map[string]*tls.Certificate)
					for _, name := range []string{"a.test", "b.test"} {
						c, err := ca.Certificate(name)
						if err != nil {
							t.Fatal(err)
						}
						certificates[name] = &c
					}
					if !kept {
						r.sender.MaxIdle = -1
					}
					r.sender.TLSConfig = ca.ClientConfig()
					r.sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
						return delivery.TLSPolicy{Level: level, Key: "one", Certificate: certificates[route.Domain]}, nil
					})
					owner := make(map[int]string) // of each connection
					for round := range 3 {
						for _, domain := range []string{"a.test", "b.test", "none.test"} {
							before := len(host.Connections())
							want(t, &r.send(t, message("u@"+domain)).Recipients[0], queue.Delivered, "mx1.e.test", "")
							made := host.Connections()[before:]
							if kept && round > 0 {
								if len(made) != 0 {
									t.Errorf("round %d, mail for %s has a new connection", round, domain)
								}
								continue
							}
							if len(made) != 1 || made[0].TLS.DidResume != (round > 0) || strings.TrimPrefix(domain, "none.test") != shown {
								t.Errorf("round %d, mail for %s: %d connections, shown %q", round, domain, len(made), shown)
							}
							owner[before] = domain
						}
					}
					if kept && len(owner) != 3 {
						t.Errorf("%d connections, want one for each certificate", len(owner))
					}
				})
			})
		}
	}
}
