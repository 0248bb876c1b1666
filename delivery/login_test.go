package delivery_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// viaHosts is a Router that sends everything to the same hosts.
type viaHosts []mx.Host

func (v viaHosts) Route(_ context.Context, _, domain string) (mx.Route, error) {
	return mx.Route{Domain: domain, Via: mx.ViaSmartHost, Hosts: slices.Clone(v)}, nil
}

// submission is a smart host at 192.0.2.1 with a login.
func submission(login mx.Login) mx.Host {
	return mx.Host{Name: "mx1.e.test", Target: "real.test", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Port: 587, Login: login}
}

const password = "correct-horse-battery"

// user is a login with a password.
func user() *smarthost.Login { return &smarthost.Login{User: "user", Password: password} }

// submits is a host that offers AUTH inside TLS.
func submits(ca *smtptest.Authority, auth string, script ...smtptest.Cue) *smtptest.Host {
	return &smtptest.Host{
		Name: "mx1.e.test", Authority: ca, Extensions: []string{"STARTTLS", "PIPELINING"},
		ExtensionsTLS: []string{"PIPELINING", "AUTH " + auth}, Users: map[string]string{"user": password}, Script: script,
	}
}

// submissionServers are hosts at 192.0.2.1 and so on, at the ports of submission.
func submissionServers(hosts ...*smtptest.Host) map[string]smtptest.Server {
	m := make(map[string]smtptest.Server)
	for i, h := range hosts {
		port := "587"
		if h.ImplicitTLS {
			port = "465"
		}
		m[fmt.Sprintf("192.0.2.%d:%s", i+1, port)] = h
	}
	return m
}

// wantNoSecret looks for a secret in everything a Sender says to its owner.
func wantNoSecret(t *testing.T, report *delivery.Report, lines *transcript, secrets ...string) {
	t.Helper()
	shown := lines.String() + fmt.Sprintf("%v %+v %#v", report, report, report)
	for i := range report.Recipients {
		rr := &report.Recipients[i]
		shown += fmt.Sprintf("\n%v %+v %+v %+v", rr.Err, rr.Reply, rr, rr.Attempts)
		for _, a := range rr.Attempts {
			shown += fmt.Sprintf("\n%v %+v", a.Err, a)
		}
	}
	for _, s := range secrets {
		if strings.Contains(shown, s) {
			t.Errorf("%q is shown in\n%s", s, shown)
		}
	}
}

// TestMechanisms is a login by every mechanism there is, with the right secret and
// a wrong one.
func TestMechanisms(t *testing.T) {
	ca := authority(t)
	certificate, err := ca.Certificate("user")
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.Certificate("other")
	if err != nil {
		t.Fatal(err)
	}
	withCertificate := func(c tls.Certificate) *smarthost.Login {
		return &smarthost.Login{User: "user", Authorize: "user", Certificate: &c}
	}
	withToken := func(token string) *smarthost.Login {
		return &smarthost.Login{User: "user", Token: &tokens{list: []string{token}}}
	}
	for name, c := range map[string]struct{ right, wrong *smarthost.Login }{
		"PLAIN":              {user(), &smarthost.Login{User: "user", Password: "wrong-horse-battery"}},
		"LOGIN":              {user(), &smarthost.Login{User: "user", Password: "wrong-horse-battery"}},
		"CRAM-MD5":           {user(), &smarthost.Login{User: "user", Password: "wrong-horse-battery"}},
		"SCRAM-SHA-256":      {user(), &smarthost.Login{User: "user", Password: "wrong-horse-battery"}},
		"SCRAM-SHA-256-PLUS": {user(), &smarthost.Login{User: "user", Password: "wrong-horse-battery"}},
		"XOAUTH2":            {withToken(password), withToken("wrong-horse-battery")},
		"OAUTHBEARER":        {withToken(password), withToken("wrong-horse-battery")},
		"EXTERNAL":           {withCertificate(certificate), withCertificate(other)},
	} {
		for _, implicit := range []bool{false, true} {
			for right, login := range map[bool]*smarthost.Login{true: c.right, false: c.wrong} {
				t.Run(fmt.Sprintf("EXT-18, TLS-11 %s, right %t, implicit TLS %t", name, right, implicit), func(t *testing.T) {
					host := submits(ca, name)
					host.ImplicitTLS = implicit
					bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
						hop := submission(login)
						hop.ImplicitTLS = implicit
						if implicit {
							hop.Port = 0
						}
						lines := r.via(ca, hop)
						report := r.send(t, message("u@e.test"))
						checkLogin(t, r, report, host, right)
						if port := r.net.Dials()[0].Addr.Port(); implicit && port != 465 {
							t.Errorf("dialled port %d, want 465", port)
						}
						wantNoSecret(t, report, lines, password, "wrong-horse-battery")
					})
				})
			}
		}
	}
}

// via makes the rig's sender use hosts whose certificates ca has signed, and
// returns where the lines of its dialogues go.
func (r *rig) via(ca *smtptest.Authority, hosts ...mx.Host) *transcript {
	lines := &transcript{}
	r.sender.Router, r.sender.TLSConfig = viaHosts(hosts), ca.ClientConfig()
	r.sender.Trace = &delivery.Trace{Line: func(_ string, _ netip.AddrPort, l delivery.Line) { lines.add(l.Text) }}
	return lines
}

// transcript is what a trace was shown.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *transcript) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(line + "\n")
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// checkLogin checks what became of one message through a host with AUTH.
func checkLogin(t *testing.T, r *rig, report *delivery.Report, host *smtptest.Host, right bool) {
	t.Helper()
	rr := &report.Recipients[0]
	if right {
		want(t, rr, queue.Delivered, "mx1.e.test", "")
		if m := host.Messages(); len(m) != 1 || m[0].User != "user" || !m[0].TLS {
			t.Errorf("messages %+v, want one of user over TLS", m)
		}
		if rr.TLS.Level != mx.TLSVerify {
			t.Errorf("TLS %v, want verified", rr.TLS)
		}
		return
	}
	want(t, rr, queue.Deferred, "mx1.e.test", "")
	if rr.Err == nil || rr.Err.Stage != delivery.StageAuth || !rr.Err.LoginRefused() || !rr.Err.Temporary() {
		t.Errorf("error %v, want a login that is refused", rr.Err)
	}
}

// tokens is a TokenSource: each call gives the next of the list, the last again
// and again.
type tokens struct {
	list    []string
	refused []string
	err     error
}

func (s *tokens) Token(_ context.Context, refused string) (string, error) {
	s.refused = append(s.refused, refused)
	if s.err != nil {
		return "", s.err
	}
	return s.list[min(len(s.refused), len(s.list))-1], nil
}
