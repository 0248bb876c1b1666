//go:build linux

package peers_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// submissionHost is a smart host with a login.
func submissionHost(name, ip string, port uint16, login *smarthost.Login) mx.Host {
	h := mx.Host{Name: name, Target: name, Addrs: []netip.Addr{netip.MustParseAddr(ip)}, Port: port, Login: login, ImplicitTLS: port == 465}
	if port == 2587 {
		h.TLS = mx.TLSNone
	}
	return h
}

// through is a Router that sends everything to the same hosts.
type through []mx.Host

func (hosts through) Route(_ context.Context, _, domain string) (mx.Route, error) {
	return mx.Route{Domain: domain, Via: mx.ViaSmartHost, Hosts: hosts}, nil
}

// jwt is a token as an identity provider would sign it.
func jwt(t *testing.T, secret string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{
		"sub": peers.SubmissionUser, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Add(-time.Minute).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + part(mac.Sum(nil))
}

// aToken is a TokenSource with one token.
type aToken string

func (a aToken) Token(context.Context, string) (string, error) { return string(a), nil }

// loginBy is a login by one mechanism, right or wrong.
func loginBy(t *testing.T, w *world, mechanism string, right bool) *smarthost.Login {
	l := &smarthost.Login{User: peers.SubmissionUser, Password: peers.SubmissionPassword, Mechanism: mechanism}
	if !right {
		l.Password = "not-the-word-to-submit-with"
	}
	switch mechanism {
	case "XOAUTH2", "OAUTHBEARER":
		l.Token, l.Password = aToken(jwt(t, l.Password)), ""
	case "EXTERNAL":
		name := peers.SubmissionUser
		if !right {
			name = "somebody-else"
		}
		cert, key := w.pem(t, name)
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		l.Password, l.Authorize, l.Certificate = "", peers.SubmissionUser, &pair
	}
	return l
}

// submit sends one message and checks what became of it.
func submit(t *testing.T, w *world, server *peers.Server, host mx.Host, right bool) {
	t.Helper()
	s := w.newSender(t)
	s.Router, s.Timeouts.Auth = through{host}, patience
	word := fmt.Sprintf("word-%d", time.Now().UnixNano())
	report, err := s.Send(t.Context(), message(text+word+"\r\n", "u@e.test"))
	rr := &report.Recipients[0]
	if !right {
		if rr.Outcome != queue.Deferred || rr.Err.Stage != delivery.StageAuth || !rr.Err.LoginRefused() {
			t.Errorf("%v, %v, want the login refused", rr.Outcome, err)
		}
		return
	}
	if err != nil {
		t.Errorf("not delivered: %v", err)
		return
	}
	if want := map[bool]mx.TLSLevel{true: mx.TLSNone, false: mx.TLSVerify}[host.Port == 2587]; rr.TLS.Level != want {
		t.Errorf("TLS %v, want %v", rr.TLS.Level, want)
	}
	arrived(t, server, "/var/vmail", word)
}

// TestSubmission logs in to Postfix and to Exim, by every mechanism they offer, with
// the right secret and a wrong one, by STARTTLS, by implicit TLS and in clear.
func TestSubmission(t *testing.T) {
	w := &world{}
	w.newRoot(t)
	const name, ip = "submission.e.test", "127.0.0.6"
	cert, key := w.pem(t, name)
	for _, c := range []struct {
		name       string
		server     *peers.Server
		mechanisms string
	}{
		{"Postfix with Dovecot", peers.PostfixSubmission(ip, name, cert, key, peers.Dovecot, dovecotMechanisms), dovecotMechanisms},
		{"Postfix with Cyrus SASL", peers.PostfixSubmission(ip, name, cert, key, peers.Cyrus, cyrusMechanisms), cyrusMechanisms},
		{"Exim", peers.EximSubmission(ip, name, cert, key, string(w.rootPEM()), "PLAIN"), "PLAIN"},
		{"Exim", peers.EximSubmission(ip, name, cert, key, string(w.rootPEM()), "LOGIN"), "LOGIN"},
		{"Exim", peers.EximSubmission(ip, name, cert, key, string(w.rootPEM()), "CRAM-MD5"), "CRAM-MD5"},
		{"Exim", peers.EximSubmission(ip, name, cert, key, string(w.rootPEM()), "EXTERNAL"), "EXTERNAL"},
	} {
		t.Run(c.name+" "+c.mechanisms, func(t *testing.T) {
			c.server.Start(t)
			for mechanism := range strings.FieldsSeq(c.mechanisms) {
				for _, port := range []uint16{587, 465, 2587} {
					if port == 2587 && mechanism == "EXTERNAL" {
						continue // there is no certificate without TLS
					}
					for _, right := range []bool{true, false} {
						if port == 465 && !right {
							continue // as on 587, and each costs half a second
						}
						t.Run(fmt.Sprintf("EXT-18, EXT-20, TLS-11 %s, port %d, right %t", mechanism, port, right), func(t *testing.T) {
							submit(t, w, c.server, submissionHost(name, ip, port, loginBy(t, w, mechanism, right)), right)
						})
					}
				}
			}
			c.server.Stop()
		})
	}
}

const (
	dovecotMechanisms = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER"
	cyrusMechanisms   = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256"
)
