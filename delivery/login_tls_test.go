package delivery_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestSubmissionNames is the names in certificates of a smart host.
func TestSubmissionNames(t *testing.T) {
	ca, other := authority(t), authority(t)
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	valid := func() *x509.Certificate {
		return &x509.Certificate{NotBefore: began.AddDate(-1, 0, 0), NotAfter: began.AddDate(1, 0, 0)}
	}
	cn, uri, expired := valid(), valid(), valid()
	cn.Subject.CommonName = "mx1.e.test"
	uri.URIs = []*url.URL{{Scheme: "smtp", Host: "mx1.e.test"}}
	expired.NotAfter = began.AddDate(0, 0, -1)
	for name, c := range map[string]struct {
		ca       *smtptest.Authority
		template *x509.Certificate
		host     string
		names    []string
		ok       bool
	}{
		"TLS-9 the configured name":                 {ca, valid(), "mx1.e.test", []string{"mx1.e.test"}, true},
		"TLS-9 what it is an alias of":              {ca, valid(), "mx1.e.test", []string{"real.test"}, false},
		"TLS-9 CN only":                             {ca, cn, "mx1.e.test", nil, false},
		"TLS-9 URI only":                            {ca, uri, "mx1.e.test", nil, false},
		"TLS-10 the right name of the wrong CA":     {other, valid(), "mx1.e.test", []string{"mx1.e.test"}, false},
		"TLS-10 expired":                            {ca, expired, "mx1.e.test", []string{"mx1.e.test"}, false},
		"TLS-10 a wildcard is one label":            {ca, valid(), "mx1.e.test", []string{"*.e.test"}, true},
		"TLS-10 a wildcard is not two labels":       {ca, valid(), "a.mx1.e.test", []string{"*.e.test"}, false},
		"TLS-10 a wildcard is no label at all":      {ca, valid(), "e.test", []string{"*.e.test"}, false},
		"TLS-10 a wildcard is a whole label, *1":    {ca, valid(), "mx1.e.test", []string{"*1.e.test"}, false},
		"TLS-10 a wildcard is a whole label, m*":    {ca, valid(), "mx1.e.test", []string{"m*.e.test"}, false},
		"TLS-10 two wildcards":                      {ca, valid(), "mx1.e.test", []string{"*.*.test"}, false},
		"TLS-10 nothing but a wildcard":             {ca, valid(), "mx1.e.test", []string{"*"}, false},
		"TLS-10 case does not matter":               {ca, valid(), "mx1.e.test", []string{"MX1.E.Test"}, true},
		"TLS-10 A-labels are compared":              {ca, valid(), "xn--bcher-kva.test", []string{"xn--bcher-kva.test"}, true},
		"TLS-10 A-labels are compared by wildcard":  {ca, valid(), "mx1.xn--bcher-kva.test", []string{"*.xn--bcher-kva.test"}, true},
		"TLS-10 another A-label is somebody else's": {ca, valid(), "xn--bcher-kva.test", []string{"bucher.test"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, err := c.ca.CertificateFor(c.template, c.names...)
			if err != nil {
				t.Fatal(err)
			}
			host := submits(ca, "PLAIN")
			host.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
			bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
				hop := submission(user())
				hop.Name = c.host
				r.via(ca, hop)
				rr := &r.send(t, message("u@e.test")).Recipients[0]
				if got := rr.Outcome == queue.Delivered; got != c.ok {
					t.Errorf("%v, %v, want delivered: %t", rr.Outcome, rr.Err, c.ok)
				}
				if said := commandsBeginning(host, "AUTH"); len(said) > 0 != c.ok {
					t.Errorf("the host heard %q", said)
				}
			})
		})
	}
}

// TestClientCertificate is a host that asks for a certificate, and two logins.
func TestClientCertificate(t *testing.T) {
	ca := authority(t)
	ours, err := ca.Certificate("user")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		login *smarthost.Login
		shown int
	}{
		"none where the login has none": {user(), 0},
		"the login's own":               {&smarthost.Login{User: "user", Password: password, Certificate: &ours}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			host := submits(ca, "PLAIN")
			config, err := ca.ServerConfig("mx1.e.test")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			shown := -1
			config.ClientAuth = tls.RequestClientCert
			config.VerifyConnection = func(state tls.ConnectionState) error {
				names, shown = append(names, state.ServerName), len(state.PeerCertificates)
				return nil
			}
			host.TLS = config
			bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
				r.via(ca, submission(c.login))
				r.sender.TLSConfig.Certificates = []tls.Certificate{ours} // of the application, for nobody in particular
				want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, "mx1.e.test", "")
				if shown != c.shown || !slices.Equal(names, []string{"mx1.e.test"}) {
					t.Errorf("%d certificates shown to %q, want %d", shown, names, c.shown)
				}
			})
		})
	}
}

// TestLoginSessions: a session is kept for the login it was made with.
func TestLoginSessions(t *testing.T) {
	t.Run("SMTP-43, EXT-21 two logins share no session", testLoginSessions)
}

func testLoginSessions(t *testing.T) {
	ca := authority(t)
	host := submits(ca, "PLAIN")
	host.Users["other"] = password
	bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
		first, second := user(), &smarthost.Login{User: "other", Password: password}
		r.via(ca)
		hosts := viaHosts{submission(nil)}
		r.sender.Router = hosts // asked afresh for each message
		for _, login := range []mx.Login{first, first, second, first} {
			hosts[0].Login = login
			want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, "mx1.e.test", "")
		}
		var users []string
		for _, m := range host.Messages() {
			users = append(users, m.User)
		}
		if got := strings.Join(users, " "); got != "user user other user" {
			t.Errorf("messages of %s", got)
		}
		if n := len(commandsBeginning(host, "AUTH")); n != 2 {
			t.Errorf("logged in %d times, want once for each", n)
		}
		if said := commandsBeginning(host, "MAIL"); !strings.HasSuffix(said[0], " AUTH=<>") {
			t.Errorf("said %q", said[0])
		}
	})
}
