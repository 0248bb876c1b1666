//go:build linux

package peers_test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// nextHop is a mail server that gets every mail of the table.
type nextHop struct {
	name   string
	server func(peers.Host) *peers.Server
	offers string // in reply to EHLO in clear: the extensions that make a difference
	login  uint16 // the port that takes logins; 0: the one for all
	always bool   // nobody sends without a login
	strict bool   // hangs up at the third command that it refuses
	user   string // who logs in, where it is not the usual name
	marks  string // what a trace field has of a message whose sender logged in
}

func nextHops() []nextHop {
	return []nextHop{
		{name: "Postfix", server: peers.PostfixHost, offers: "8BITMIME CHUNKING DSN PIPELINING SIZE SMTPUTF8 STARTTLS", login: 587, marks: "Authenticated sender"},
		{name: "Exim", server: peers.EximHost, offers: "8BITMIME CHUNKING PIPELINING SIZE SMTPUTF8 STARTTLS", login: 587, marks: "esmtpsa"},
		{name: "Courier", server: peers.Courier, offers: "8BITMIME AUTH DSN PIPELINING SIZE SMTPUTF8 STARTTLS", marks: "AUTH"},
		{name: "Dovecot", server: peers.DovecotSubmission, offers: "8BITMIME AUTH CHUNKING PIPELINING SIZE STARTTLS", login: 25, always: true, marks: "Received"},
		{name: "OpenSMTPD", server: peers.OpenSMTPDHost, offers: "8BITMIME DSN SIZE"},
		{name: "sendmail", server: peers.Sendmail, offers: "8BITMIME AUTH DSN PIPELINING SIZE STARTTLS", marks: "ESMTPSA"},
		{name: "Haraka", server: peers.Haraka, offers: "8BITMIME AUTH PIPELINING SIZE SMTPUTF8 STARTTLS", marks: "ESMTPSA"},
		{name: "smtp-server", server: peers.NodemailerServer, offers: "8BITMIME AUTH PIPELINING SIZE SMTPUTF8 STARTTLS", marks: peers.SubmissionUser},
		{name: "aiosmtpd", server: peers.Aiosmtpd, offers: "8BITMIME AUTH SIZE SMTPUTF8 STARTTLS", marks: peers.SubmissionUser},
		{name: "go-smtp", server: goSMTP, offers: "8BITMIME AUTH BINARYMIME CHUNKING DSN PIPELINING SIZE SMTPUTF8 STARTTLS", marks: peers.SubmissionUser, strict: true},
		{name: "chasquid", server: peers.Chasquid, offers: "8BITMIME PIPELINING SIZE SMTPUTF8 STARTTLS", login: 587, user: peers.SubmissionUser + "@e.test", marks: "ESMTPSA", strict: true},
		{name: "qpsmtpd", server: peers.Qpsmtpd, offers: "8BITMIME AUTH PIPELINING SIZE STARTTLS", user: peers.SubmissionUser + "@e.test", marks: "ESMTPSA"},
	}
}

func goSMTP(h peers.Host) *peers.Server { return peers.GoSMTP(h, os.Getenv(builtPath)) }

// TestNextHops sends the same mails to every server: in clear, by STARTTLS and with a
// login, each on one session.
func TestNextHops(t *testing.T) {
	w := &world{}
	w.newRoot(t)
	dns := &mxtest.Server{Listen: "127.0.0.1:53"} // of whom servers ask the names of clients
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	for i, n := range nextHops() {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			h := peers.Host{IP: fmt.Sprintf("127.0.1.%d", i+1), Name: strings.ToLower(n.name) + ".e.test"}
			h.Cert, h.Key = w.pem(t, h.Name)
			p := &hopTest{nextHop: n, host: h, server: n.server(h), world: &world{root: w.root, rootKey: w.rootKey, roots: w.roots}}
			p.server.Start(t)
			p.run(t)
		})
	}
}

// hopTest is a server under test.
type hopTest struct {
	nextHop
	host   peers.Host
	server *peers.Server
	world  *world
}

func (p *hopTest) run(t *testing.T) {
	p.extensions(t)
	user := cmp.Or(p.user, peers.SubmissionUser)
	login := &smarthost.Login{User: user, Password: peers.SubmissionPassword}
	for _, way := range []struct {
		name  string
		level mx.TLSLevel
		login *smarthost.Login
	}{{"in clear", mx.TLSNone, nil}, {"STARTTLS", mx.TLSVerify, nil}, {"login", mx.TLSVerify, login}} {
		if way.login == nil && p.always || way.level != mx.TLSNone && !p.has("STARTTLS") || way.login != nil && p.marks == "" {
			continue
		}
		t.Run(way.name, func(t *testing.T) {
			s := p.sender(t, way.level, way.login)
			for _, c := range mails() {
				if !t.Run(c.name, func(t *testing.T) { p.send(t, s, c, way.level, way.login != nil) }) {
					t.FailNow() // the others would fail likewise, each after a long wait
				}
			}
			if n, want := p.world.dials.Swap(0), map[bool]int32{false: 1, true: 2}[p.strict]; n != want {
				t.Errorf("%d connections for all the mails, want %d", n, want)
			}
		})
	}
	if p.marks != "" {
		t.Run("a wrong password", func(t *testing.T) {
			s := p.sender(t, mx.TLSVerify, &smarthost.Login{User: user, Password: "not-the-word"})
			_, err := s.Send(t.Context(), message(text, "u@e.test"))
			if e, ok := errors.AsType[*delivery.Error](err); !ok || !e.LoginRefused() {
				t.Errorf("%v, want the login refused", err)
			}
		})
	}
}

func (p *hopTest) has(extension string) bool {
	return slices.Contains(strings.Fields(p.offers), extension)
}

func (p *hopTest) port(login bool) uint16 {
	if login && p.login != 0 {
		return p.login
	}
	_, port, _ := net.SplitHostPort(p.server.Listen)
	return netip.MustParseAddrPort("127.0.0.1:" + port).Port()
}

func (p *hopTest) sender(t *testing.T, level mx.TLSLevel, login *smarthost.Login) *delivery.Sender {
	s := p.world.newSender(t)
	h := mx.Host{Name: p.host.Name, Target: p.host.Name, Addrs: []netip.Addr{netip.MustParseAddr(p.host.IP)}, Port: p.port(login != nil), TLS: level}
	if login != nil {
		h.Login = login
	}
	s.Router = through{h}
	return s
}

// extensions compares what the server offers with what the table says.
func (p *hopTest) extensions(t *testing.T) {
	conn, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(p.host.IP), p.port(p.always)).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	var offers []string
	for replies := 0; replies < 2; {
		line, err := r.ReadString('\n')
		if err != nil || len(line) < 4 {
			t.Fatalf("EHLO: %q, %v", line, err)
		}
		if replies == 1 {
			offers = append(offers, strings.Fields(line[4:])...)
		}
		if line[3] == ' ' {
			if replies++; replies == 1 {
				fmt.Fprint(conn, "EHLO from.test\r\n")
			}
		}
	}
	var got []string
	for _, e := range []string{"8BITMIME", "AUTH", "BINARYMIME", "CHUNKING", "DSN", "PIPELINING", "SIZE", "SMTPUTF8", "STARTTLS"} {
		if slices.Contains(offers, e) {
			got = append(got, e)
		}
	}
	if s := strings.Join(got, " "); s != p.offers {
		t.Errorf("offers %s, want %s", s, p.offers)
	}
}

// send sends a mail of the table, and reads it in every mailbox it was for.
func (p *hopTest) send(t *testing.T, s *delivery.Sender, c mail, level mx.TLSLevel, login bool) {
	word := token(t)
	text := c.text(word)
	m := message(text, c.to...)
	m.From = c.from
	report, err := s.Send(t.Context(), m)
	if c.utf8 && !p.has("SMTPUTF8") {
		if rr := &report.Recipients[0]; rr.Outcome != queue.Failed || !strings.HasPrefix(rr.Reply.Enhanced, "5.6.") {
			t.Errorf("%v, %v, want it failed for want of SMTPUTF8", rr.Outcome, err)
		}
		return
	}
	for i := range report.Recipients {
		rr := &report.Recipients[i]
		switch {
		case rr.Address == stranger:
			if rr.Outcome != queue.Failed || rr.Err.Stage != delivery.StageRcpt {
				t.Errorf("%s: %v, %v, want it refused", rr.Address, rr.Outcome, rr.Err)
			}
		case rr.Outcome != queue.Delivered || rr.TLS.Level != level:
			t.Errorf("%s: %v with TLS %v, %v", rr.Address, rr.Outcome, rr.TLS, rr.Err)
		default:
			local, _, _ := strings.Cut(rr.Address, "@")
			p.arrived(t, local, word, text, login)
		}
	}
}

// arrived waits for a message in a mailbox, and compares it.
func (p *hopTest) arrived(t *testing.T, local, word, text string, login bool) {
	t.Helper()
	var got []string
	peers.Eventually(t, "the mail to "+local, func() bool {
		got = slices.DeleteFunc(p.server.Mailbox(local), func(m string) bool { return !strings.Contains(m, "<"+word+"@") })
		return len(got) > 0
	})
	if len(got) > 1 {
		t.Errorf("%s: it arrived %d times", local, len(got))
	}
	m := got[0]
	if !strings.Contains(m, "\r\n") {
		m = strings.ReplaceAll(m, "\n", "\r\n") // as mailboxes have it
	}
	trace, ok := strings.CutSuffix(m, text)
	if !ok {
		t.Errorf("%s: arrived otherwise than it was sent: %s", local, difference(m, text))
		return
	}
	if login && !strings.Contains(trace, p.marks) {
		t.Errorf("no trace of the login in %q", trace)
	}
}
