package delivery_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// rsaCertificate is a certificate of mx1.e.test with an RSA key, which is its own root.
func rsaCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx1.e.test"}, NotBefore: began.AddDate(-1, 0, 0), NotAfter: began.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// onlyHostInTLS is a Router to one host, whose connections may begin with TLS.
type onlyHostInTLS struct {
	onlyHost
	implicit bool
}

func (o onlyHostInTLS) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	route, err := o.onlyHost.Route(ctx, from, domain)
	route.Hosts[0].ImplicitTLS, route.Hosts[0].Port = o.implicit, 25
	return route, err
}

const onlyRSA = "key exchange by RSA only"

// exchangeByRSA makes a host's TLS one that has no other key exchange.
func exchangeByRSA(c *tls.Config) {
	c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA}
}

// TestHostsWithoutModernKeyExchanges: a host whose TLS knows only what was usual years ago
// gets mail under TLS, at every level unless it has key exchange by RSA only, and in clear
// only where TLS may be left out and does not work at all. What it lacks is remembered for
// an hour.
func TestHostsWithoutModernKeyExchanges(t *testing.T) {
	certificate, roots := rsaCertificate(t)
	long := func(h *tls.ClientHelloInfo) bool { return slices.Contains(h.SupportedCurves, tls.X25519MLKEM768) }
	unread := func(then func(*tls.ClientHelloInfo) error) func(*tls.Config) {
		return func(c *tls.Config) {
			c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if !long(h) {
					return nil, nil
				}
				return nil, then(h)
			}
		}
	}
	old := errors.New("too long")
	for name, change := range map[string]func(*tls.Config){
		onlyRSA:                            exchangeByRSA,
		"an alert at a long ClientHello":   unread(func(*tls.ClientHelloInfo) error { return old }),
		"the end at a long ClientHello":    unread(func(h *tls.ClientHelloInfo) error { return errors.Join(old, h.Conn.Close()) }),
		"silence after a long ClientHello": unread(func(h *tls.ClientHelloInfo) error { pass(time.Hour); return old }),
	} {
		for _, level := range []mx.TLSLevel{mx.TLSMay, mx.TLSEncrypt, mx.TLSVerify} {
			for _, implicit := range []bool{false, true} {
				if implicit && level == mx.TLSMay || level == mx.TLSVerify && name == onlyRSA {
					continue // there is no such host; and see TestKeyExchangeByRSAProvesNothing
				}
				where := "STARTTLS"
				if implicit {
					where = "TLS from the start"
				}
				t.Run(name+", "+level.String()+", "+where, func(t *testing.T) {
					host := &smtptest.Host{Name: "mx1.e.test", TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}, ImplicitTLS: implicit, Allow: []smtptest.Rule{smtptest.RuleNoQuit}}
					if !implicit {
						host.Extensions = []string{"STARTTLS"}
					}
					change(host.TLS)
					bubble(t, zone, map[string]smtptest.Server{"192.0.2.1": host}, func(t *testing.T, r *rig) {
						r.sender.TLSConfig = &tls.Config{RootCAs: roots}
						r.sender.MaxIdle = -1
						r.sender.Router = onlyHostInTLS{onlyHost{level: level}, implicit}
						for n, connections := range []int{2, 3, 6} { // once more after an hour, when a ticket is suspected first
							rr := &r.send(t, message("u@e.test")).Recipients[0]
							if rr.Outcome != queue.Delivered || rr.TLS.Level < mx.TLSEncrypt {
								t.Fatalf("message %d: %v, %v, %v", n, rr.Outcome, rr.TLS, rr.Err)
							}
							if got := rr.Attempts[len(rr.Attempts)-1].Without; got != "modern key exchange" {
								t.Errorf("message %d: without %q", n, got)
							}
							if got := len(r.dialled()); got != connections {
								t.Errorf("message %d: %d connections so far, want %d", n, got, connections)
							}
							if n == 1 {
								pass(time.Hour)
							}
						}
					})
				})
			}
		}
	}
}

// TestKeyExchangeByRSAProvesNothing: where the host must prove who it is, key exchange by RSA
// is not offered, because an attacker who can have the host decrypt could answer in its
// place. It is if TLSConfig says so.
func TestKeyExchangeByRSAProvesNothing(t *testing.T) {
	byRSA := func(suite uint16) bool {
		return slices.ContainsFunc(tls.InsecureCipherSuites(), func(s *tls.CipherSuite) bool {
			return s.ID == suite && strings.HasPrefix(s.Name, "TLS_RSA_")
		})
	}
	for name, c := range map[string]struct {
		level  mx.TLSLevel
		suites []uint16
		curves []tls.CurveID
		want   queue.Outcome
		hellos []bool // with key exchange by RSA
	}{
		"it must":                               {mx.TLSVerify, nil, nil, queue.Deferred, []bool{false, false}},
		"it must, and nothing else is left out": {mx.TLSVerify, nil, []tls.CurveID{tls.CurveP256}, queue.Deferred, []bool{false}},
		"it must, and the operator offers that": {mx.TLSVerify, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}, nil, queue.Delivered, []bool{true}},
		"it need not":                           {mx.TLSEncrypt, nil, nil, queue.Delivered, []bool{false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, roots := rsaCertificate(t)
			var hellos []bool
			host := &smtptest.Host{Name: "mx1.e.test", Extensions: []string{"STARTTLS"}, Allow: []smtptest.Rule{smtptest.RuleNoQuit}, TLS: &tls.Config{
				Certificates: []tls.Certificate{certificate},
				GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
					hellos = append(hellos, slices.ContainsFunc(h.CipherSuites, byRSA))
					return nil, nil
				},
			}}
			exchangeByRSA(host.TLS)
			bubble(t, zone, map[string]smtptest.Server{"192.0.2.1": host}, func(t *testing.T, r *rig) {
				r.sender.TLSConfig = &tls.Config{RootCAs: roots, CipherSuites: c.suites, CurvePreferences: c.curves}
				r.sender.Router = onlyHost{level: c.level}
				if rr := &r.send(t, message("u@e.test")).Recipients[0]; rr.Outcome != c.want {
					t.Errorf("%v, %v, %v; want %v", rr.Outcome, rr.TLS, rr.Err, c.want)
				}
				if !slices.Equal(hellos, c.hellos) {
					t.Errorf("key exchange by RSA was offered: %v, want %v", hellos, c.hellos)
				}
			})
		})
	}
}

// TestSecondHandshakeThatIsNotReached: a host whose TLS fails lets in one connection at a
// time, and the one that would show what it lacks is not among them. Mail gets there in the
// attempts that follow, under TLS if the host has any that works.
func TestSecondHandshakeThatIsNotReached(t *testing.T) {
	const pause = 10 * time.Minute
	for name, c := range map[string]struct {
		works bool // its TLS does without modern key exchanges
		level mx.TLSLevel
		cue   smtptest.Cue // to a second connection; none refuses the connection itself
		want  []queue.Outcome
		tls   mx.TLSLevel
	}{
		"refused connections":                      {true, mx.TLSEncrypt, smtptest.Cue{}, []queue.Outcome{queue.Deferred, queue.Delivered, queue.Delivered}, mx.TLSEncrypt},
		"refused greetings":                        {true, mx.TLSEncrypt, smtptest.Cue{At: smtptest.Banner, Reply: "421 4.7.0 not so often", Then: smtptest.Close}, []queue.Outcome{queue.Deferred, queue.Delivered, queue.Delivered}, mx.TLSEncrypt},
		"STARTTLS refused":                         {true, mx.TLSEncrypt, smtptest.Cue{At: smtptest.StartTLS, Reply: "454 4.7.0 not so often"}, []queue.Outcome{queue.Deferred, queue.Delivered, queue.Delivered}, mx.TLSEncrypt},
		"refused connections, TLS may be left out": {true, mx.TLSMay, smtptest.Cue{}, []queue.Outcome{queue.Deferred, queue.Delivered, queue.Delivered}, mx.TLSEncrypt},
		"refused connections, no TLS works":        {false, mx.TLSMay, smtptest.Cue{}, []queue.Outcome{queue.Deferred, queue.Deferred, queue.Delivered}, mx.TLSNone},
		"refused greetings, no TLS works":          {false, mx.TLSMay, smtptest.Cue{At: smtptest.Banner, Reply: "421 4.7.0 not so often", Then: smtptest.Close}, []queue.Outcome{queue.Deferred, queue.Deferred, queue.Delivered}, mx.TLSNone},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, _ := rsaCertificate(t)
			host := &smtptest.Host{
				Name: "mx1.e.test", Extensions: []string{"STARTTLS"}, Allow: []smtptest.Rule{smtptest.RuleNoQuit},
				TLS: &tls.Config{Certificates: []tls.Certificate{certificate}},
			}
			host.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if c.works && !slices.Contains(h.SupportedCurves, tls.X25519MLKEM768) {
					return nil, nil
				}
				return nil, errors.New("too long")
			}
			if c.cue.Reply != "" {
				c.cue.Conn = 2
				host.Script = append(host.Script, c.cue)
				if c.cue.Conn = 4; !c.works {
					host.Script = append(host.Script, c.cue)
				}
			}
			bubble(t, zone, map[string]smtptest.Server{"192.0.2.1": host}, func(t *testing.T, r *rig) {
				r.sender.MaxIdle = -1
				r.sender.Router = onlyHost{level: c.level}
				var last time.Time
				r.sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if c.cue.Reply == "" && time.Since(last) < pause/2 {
						return nil, syscall.ECONNREFUSED
					}
					last = time.Now()
					return r.net.DialContext(ctx, network, address)
				}
				for n, want := range c.want {
					rr := &r.send(t, message("u@e.test")).Recipients[0]
					if rr.Outcome != want || want == queue.Delivered && rr.TLS.Level != c.tls {
						t.Errorf("attempt %d: %v, %v, %v; want %v", n+1, rr.Outcome, rr.TLS, rr.Err, want)
					}
					pass(pause)
				}
			})
		})
	}
}
