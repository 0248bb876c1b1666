package smtpd

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/examples/internal/login"
)

// users are one who can log in: user, with the password pencil (RFC 7677 section 3).
func users(t *testing.T) func() *login.Users {
	t.Helper()
	file := filepath.Join(t.TempDir(), "logins")
	const text = "user SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU= *\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := login.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return func() *login.Users { return u }
}

func certificate(t *testing.T) *tls.Config {
	t.Helper()
	authority, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	config, err := authority.ServerConfig("relay.example.net")
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// submission is a server for users with a client of it.
func submission(t *testing.T, s *Server) (*rig, *client) {
	t.Helper()
	s.TLS, s.Logins = certificate(t), users(t)
	r := start(t, s)
	return r, r.dial(t)
}

// loggedIn is a client of a server for users, by which one has logged in.
func loggedIn(t *testing.T, s *Server) *client {
	t.Helper()
	_, c := submission(t, s)
	c.inTLS(t, anyCertificate)
	c.say("AUTH PLAIN " + b64("\x00user\x00pencil") + "\r\n")
	c.want("235")
	return c
}

// inTLS has a client begin TLS, and read the reply to EHLO.
func (c *client) inTLS(t *testing.T, authority *tls.Config) (greeting string) {
	t.Helper()
	c.want("220")
	c.say("EHLO c.example\r\n")
	c.want("250")
	c.say("STARTTLS\r\n")
	c.want("220")
	conn := tls.Client(c.Conn, authority)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Conn = conn
	c.r.Reset(conn)
	c.say("EHLO c.example\r\n")
	return c.reply()
}

var anyCertificate = &tls.Config{InsecureSkipVerify: true}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestLoginsAreUnderTLSAlone(t *testing.T) {
	_, c := submission(t, &Server{})
	c.want("220")
	c.say("EHLO c.example\r\n")
	if got := c.reply(); strings.Contains(got, "AUTH") {
		t.Errorf("in clear it offers %q", got)
	}
	c.say("AUTH PLAIN " + b64("\x00user\x00pencil") + "\r\n")
	c.want("538 5.7.11")
	_, c = submission(t, &Server{})
	if got := c.inTLS(t, anyCertificate); !strings.Contains(got, "|250-AUTH SCRAM-SHA-256 PLAIN LOGIN|") && !strings.HasSuffix(got, "|250 AUTH SCRAM-SHA-256 PLAIN LOGIN") {
		t.Errorf("under TLS it offers %q", got)
	}
	t.Run("a server without users", func(t *testing.T) {
		r := start(t, &Server{TLS: certificate(t)})
		c := r.dial(t)
		if got := c.inTLS(t, anyCertificate); strings.Contains(got, "AUTH") {
			t.Errorf("it offers %q", got)
		}
		c.say("AUTH PLAIN\r\n")
		c.want("500 5.5.2")
	})
}

func TestPlainLogin(t *testing.T) {
	t.Parallel()
	for name, say := range map[string][]string{
		"with its response":  {"AUTH PLAIN " + b64("\x00user\x00pencil")},
		"without":            {"AUTH PLAIN", b64("\x00user\x00pencil")},
		"in lower case":      {"auth plain " + b64("user\x00user\x00pencil")},
		"after a wrong one":  {"AUTH PLAIN " + b64("\x00user\x00pen"), "AUTH PLAIN " + b64("\x00user\x00pencil")},
		"after a broken one": {"AUTH PLAIN ****", "AUTH PLAIN", "*", "AUTH NTLM", "AUTH", "AUTH PLAIN " + b64("\x00user\x00pencil")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, c := submission(t, &Server{})
			c.inTLS(t, anyCertificate)
			var last string
			for _, s := range say {
				c.say(s + "\r\n")
				last = c.reply()
			}
			if last != "235 2.7.0 welcome" {
				t.Fatalf("the reply is %q", last)
			}
			c.say("AUTH PLAIN " + b64("\x00user\x00pencil") + "\r\n")
			c.want("503")
			c.say("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
			c.want("250", "250", "354")
			c.say("Subject: x\r\n\r\n.\r\n")
			c.want("250")
			got := r.all()[0]
			if got.User != "user" || got.Trusted || !strings.Contains(got.content, " with ESMTPSA id ") || got.Message(nil).Submitter != "user" {
				t.Errorf("user %q, trusted %t, content %q", got.User, got.Trusted, got.content)
			}
			c.say("MAIL FROM:<\u00e4@example.org> SMTPUTF8\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
			c.want("250", "250", "354")
			c.say("Subject: x\r\n\r\n.\r\n")
			c.want("250")
			if got := r.all()[1].content; !strings.Contains(got, " with UTF8SMTPSA id ") {
				t.Errorf("content %q", got)
			}
		})
	}
}

// TestLoginByLOGIN: clients that know no other mechanism log in, with the user's name in
// the command or as an answer.
func TestLoginByLOGIN(t *testing.T) {
	t.Parallel()
	const askUser, askPassword = "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6" // Username: and Password:, which some clients look for
	for name, c := range map[string][][2]string{
		"asked for both":              {{"AUTH LOGIN", askUser}, {b64("user"), askPassword}, {b64("pencil"), "235 2.7.0"}},
		"the name in the command":     {{"AUTH login " + b64("user"), askPassword}, {b64("pencil"), "235 2.7.0"}},
		"a blank behind LOGIN":        {{"AUTH LOGIN ", askUser}, {b64("user"), askPassword}, {b64("pencil"), "235 2.7.0"}},
		"a blank behind the name":     {{"AUTH LOGIN " + b64("user") + " ", askPassword}, {b64("pencil"), "235 2.7.0"}},
		"a wrong password":            {{"AUTH LOGIN", askUser}, {b64("user"), askPassword}, {b64("pen"), "535 5.7.8"}},
		"nobody":                      {{"AUTH LOGIN", askUser}, {b64("nobody"), askPassword}, {b64("pencil"), "535 5.7.8"}},
		"no name":                     {{"AUTH LOGIN =", "501 5.5.2"}, {"AUTH LOGIN", askUser}, {"", "501 5.5.2"}},
		"no password":                 {{"AUTH LOGIN", askUser}, {b64("user"), askPassword}, {"", "501 5.5.2"}},
		"a name with an octet of 0":   {{"AUTH LOGIN", askUser}, {b64("\x00user"), askPassword}, {b64("pencil"), "535 5.7.8"}},
		"ended instead of the name":   {{"AUTH LOGIN", askUser}, {"*", "501 5.7.0"}, {"AUTH PLAIN " + b64("\x00user\x00pencil"), "235 2.7.0"}},
		"ended before the password":   {{"AUTH LOGIN " + b64("user"), askPassword}, {"*", "501 5.7.0"}},
		"an answer that is no base64": {{"AUTH LOGIN", askUser}, {"user", askPassword}, {"pencil!", "501 5.5.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, client := submission(t, &Server{})
			client.inTLS(t, anyCertificate)
			last := ""
			for _, turn := range c {
				client.say(turn[0] + "\r\n")
				if last = client.reply(); !strings.HasPrefix(last, turn[1]) {
					t.Fatalf("%q: %q, want %q", turn[0], last, turn[1])
				}
			}
			client.say("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
			client.want("250", "250", "354")
			client.say("Subject: x\r\n\r\n.\r\n")
			client.want("250")
			if got := r.all()[0].User; (got == "user") != strings.HasPrefix(last, "235") {
				t.Errorf("after %q, the user is %q", last, got)
			}
		})
	}
}

// scramLogin logs in by SCRAM-SHA-256 and returns the last reply.
func (c *client) scramLogin(t *testing.T, user, password string, initial bool) string {
	t.Helper()
	s, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	talk := s.NewConversation()
	first, _ := talk.Step("")
	if initial {
		c.say("AUTH SCRAM-SHA-256 " + b64(first) + "\r\n")
	} else {
		c.say("AUTH SCRAM-SHA-256\r\n")
		c.want("334 ")
		c.say(b64(first) + "\r\n")
	}
	for {
		reply := c.reply()
		challenge, more := strings.CutPrefix(reply, "334 ")
		if !more {
			if talk.Valid() != (reply[0] == '2') {
				t.Errorf("%q, and the server has proved itself: %t", reply, talk.Valid())
			}
			return reply
		}
		text, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := talk.Step(string(text))
		if err != nil {
			t.Fatal(err)
		}
		c.say(b64(answer) + "\r\n")
	}
}

func TestScramLogin(t *testing.T) {
	t.Parallel()
	for _, initial := range []bool{true, false} {
		t.Run(map[bool]string{true: "with the first message", false: "without"}[initial], func(t *testing.T) {
			t.Parallel()
			_, c := submission(t, &Server{})
			c.inTLS(t, anyCertificate)
			if got := c.scramLogin(t, "user", "pen", initial); !strings.HasPrefix(got, "535 5.7.8") {
				t.Errorf("a wrong password: %q", got)
			}
			if got := c.scramLogin(t, "nobody", "pencil", initial); !strings.HasPrefix(got, "535 5.7.8") {
				t.Errorf("nobody: %q", got)
			}
			if got := c.scramLogin(t, "user", "pencil", initial); !strings.HasPrefix(got, "235 ") {
				t.Errorf("user: %q", got)
			}
		})
	}
}

// TestSubmitter: next hops are told who submitted a message, if that is certain.
func TestSubmitter(t *testing.T) {
	r, c := submission(t, &Server{})
	c.inTLS(t, anyCertificate)
	send := func(parameter string) string {
		t.Helper()
		c.say("MAIL FROM:<a@example.org>" + parameter + "\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
		c.want("250", "250", "354")
		c.say("Subject: x\r\n\r\n.\r\n")
		c.want("250")
		all := r.all()
		return all[len(all)-1].Message(nil).Submitter
	}
	if got := send(" AUTH=user"); got != "" {
		t.Errorf("of a client that has not logged in: %q", got)
	}
	c.say("AUTH PLAIN " + b64("\x00user\x00pencil") + "\r\n")
	c.want("235")
	for name, s := range map[string][2]string{
		"none": {"", "user"}, "EXT-21 AUTH=<> is passed on": {" AUTH=<>", ""}, "himself": {" AUTH=user", "user"},
		"himself in xtext": {" AUTH=+75ser", "user"}, "EXT-21 another is not believed": {" AUTH=root", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := send(s[0]); got != s[1] {
				t.Errorf("the submitter is %q, want %q", got, s[1])
			}
		})
	}
	c.say("MAIL FROM:<a@example.org> AUTH=\r\nMAIL FROM:<a@example.org> AUTH=+\r\nMAIL FROM:<a@example.org> AUTH=a=b\r\n")
	c.want("501", "501", "501")
}

func TestThirdLoginThatFailsEndsTheSession(t *testing.T) {
	t.Parallel()
	_, c := submission(t, &Server{})
	c.inTLS(t, anyCertificate)
	began := time.Now()
	for range 3 {
		c.say("AUTH PLAIN " + b64("\x00user\x00pen") + "\r\n")
		c.want("535 5.7.8")
	}
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("three of them took %v, want 3 s", took)
	}
	c.want("")
}

func TestLoginWhereNoneIsDue(t *testing.T) {
	_, c := submission(t, &Server{})
	c.inTLS(t, anyCertificate)
	c.say("MAIL FROM:<a@example.org>\r\nAUTH PLAIN " + b64("\x00user\x00pencil") + "\r\n")
	c.want("250", "503 5.5.1 not in a transaction")
	c.say("HELO c.example\r\nAUTH PLAIN " + b64("\x00user\x00pencil") + "\r\n")
	c.want("250", "503 5.5.1 EHLO first")
	t.Run("a response too long", func(t *testing.T) {
		_, c := submission(t, &Server{})
		c.inTLS(t, anyCertificate)
		c.say("AUTH PLAIN\r\n" + strings.Repeat("A", maxResponse) + "\r\n")
		c.want("334", "500 5.5.2 line too long", "")
	})
	t.Run("a long one", func(t *testing.T) {
		_, c := submission(t, &Server{})
		c.inTLS(t, anyCertificate)
		c.say("AUTH PLAIN\r\n" + strings.Repeat("A", maxResponse-4) + "\r\n")
		c.want("334", "501 5.5.2")
	})
	t.Run("a response that ends early", func(t *testing.T) {
		_, c := submission(t, &Server{})
		c.inTLS(t, anyCertificate)
		c.say("AUTH PLAIN =\r\n")
		c.want("501 5.5.2")
	})
}

// TestResponses: what stands for no response does so in its place alone.
func TestResponses(t *testing.T) {
	for _, c := range []struct {
		line    string
		initial bool
		want    string
		err     error
	}{
		{"=", true, "", nil}, {"=", false, "", login.ErrMalformed},
		{"*", false, "", errNoResponse}, {"*", true, "", login.ErrMalformed},
		{"", false, "", nil}, {"QQ==", true, "A", nil}, {"QQ==", false, "A", nil},
		{"QQ", false, "", login.ErrMalformed}, {"QQ==QQ==", false, "", login.ErrMalformed}, {"QR==", true, "", login.ErrMalformed},
	} {
		got, err := decodeResponse([]byte(c.line), c.initial)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q, the initial one: %t: %q, %v; want %q, %v", c.line, c.initial, got, err, c.want, c.err)
		}
	}
}

// TestBrokenExchanges: an exchange that the client ends, or continues with nonsense, is no
// wrong password.
func TestBrokenExchanges(t *testing.T) {
	_, c := submission(t, &Server{})
	c.inTLS(t, anyCertificate)
	for range 2 {
		c.say("AUTH PLAIN\r\n*\r\n")
		c.want("334 ", "501 5.7.0")
		c.say("AUTH PLAIN\r\n=\r\n")
		c.want("334 ", "501 5.5.2")
		for line, want := range map[string]string{"*": "501 5.7.0", "=": "501 5.5.2", "?": "501 5.5.2"} {
			c.say("AUTH SCRAM-SHA-256 " + b64("n,,n=user,r=abc") + "\r\n" + line + "\r\n")
			c.want("334 ", want)
		}
	}
	c.say("AUTH\r\nAUTH CRAM-MD5\r\n")
	c.want("501 5.5.4", "504 5.5.4")
	c.say("AUTH PLAIN " + b64("\x00user\x00pencil") + "\r\n")
	c.want("235")
}

// TestPause: a client that is to wait has had all replies before, and does not wait if it is
// gone or the server stops.
func TestPause(t *testing.T) {
	for _, c := range []struct {
		name          string
		stopped, gone bool
		want          bool
	}{{"it waits", false, false, true}, {"the server stops", true, false, false}, {"the client is gone", false, true, false}} {
		client, server := net.Pipe()
		s := &session{server: &Server{}, wire: newWire(server)}
		s.say(250, "2.0.0", "ok")
		if c.stopped {
			s.wire.stop()
		}
		read := make(chan string, 1)
		if c.gone {
			_ = client.Close()
		} else {
			go func() {
				b := make([]byte, 100)
				n, _ := client.Read(b)
				read <- string(b[:n])
			}()
		}
		if got := s.pause(time.Millisecond); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
		if !c.gone {
			if got := <-read; got != "250 2.0.0 ok\r\n" {
				t.Errorf("%s: it has read %q", c.name, got)
			}
		}
		_, _ = client.Close(), server.Close()
	}
}

// TestAnswersToLogins is what a client is told of its login, and what ends the session.
func TestAnswersToLogins(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		over bool
	}{
		{login.ErrTooMany, "454 4.7.0", true}, {login.ErrRefused, "535 5.7.8", false}, {login.ErrMalformed, "501 5.5.2", false},
		{errNoResponse, "501 5.7.0", false}, {errStopping, "421 4.3.2", false},
	} {
		client, server := net.Pipe()
		s := &session{server: &Server{Name: "relay.example.net"}, wire: newWire(server)}
		if s.loggedIn(nil, c.err); !strings.HasPrefix(string(s.wire.out), c.want) || s.over != c.over || s.user != "" {
			t.Errorf("%v: %q, the session is over: %t", c.err, s.wire.out, s.over)
		}
		_, _ = client.Close(), server.Close()
	}
}

// TestUserBesideADeviceThatFails: one who was here before does not wait for the failures of
// others at the same address.
func TestUserBesideADeviceThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &Server{Logins: users(t)}
		login := func(text string) (code string, took time.Duration) {
			ours, its := net.Pipe()
			defer its.Close()
			defer ours.Close()
			go func() { _, _ = io.Copy(io.Discard, its) }()
			s := &session{server: server, client: netip.MustParseAddr("192.0.2.1"), secure: true, extended: true, wire: newWire(ours)}
			began := time.Now()
			s.auth("PLAIN " + b64(text))
			return string(s.wire.out[:min(3, len(s.wire.out))]), time.Since(began)
		}
		for _, c := range []struct {
			text, want string
			wait       time.Duration
		}{
			{"\x00user\x00pencil", "235", 0},
			{"\x00phone\x00pen", "535", 0}, {"\x00phone\x00pen", "535", time.Second}, {"\x00phone\x00pen", "535", 2 * time.Second},
			{"\x00user\x00pencil", "235", 0},
		} {
			if code, took := login(c.text); code != c.want || took != c.wait {
				t.Errorf("%q: %s after %v, want %s after %v", c.text, code, took, c.want, c.wait)
			}
		}
	})
}

// TestServerStopsDuringALogin: a client that waits for its turn is let go.
func TestServerStopsDuringALogin(t *testing.T) {
	t.Parallel()
	r, c := submission(t, &Server{})
	c.inTLS(t, anyCertificate)
	for range 2 {
		c.say("AUTH PLAIN " + b64("\x00user\x00pen") + "\r\n")
		c.want("535")
	}
	c.say("AUTH PLAIN " + b64("\x00user\x00pencil") + "\r\n")
	r.stop()
	began := time.Now()
	c.want("4")
	<-r.done
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the server stopped after %v", took)
	}
}

// deaf is a connection whose owner does not read until it is closed.
type deaf struct {
	net.Conn
	closed chan struct{}
}

func (d deaf) Read([]byte) (int, error) {
	<-d.closed
	return 0, net.ErrClosed
}

// TestHandshakeThatIsNotRead: a client that begins TLS and reads nothing of the answer is
// served no longer than one that is silent.
func TestHandshakeThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		closed := make(chan struct{})
		go func() { _ = tls.Client(deaf{client, closed}, anyCertificate).Handshake() }()
		s := &session{server: &Server{}, wire: newWire(tls.Server(server, certificate(t)))}
		began := time.Now()
		if s.handshake() || time.Since(began) != s.server.idle() {
			t.Errorf("it was served for %v", time.Since(began))
		}
		close(closed)
		_, _ = client.Close(), server.Close()
	})
}

func TestTLSFromTheStart(t *testing.T) {
	s := &Server{Logins: users(t)}
	config := certificate(t)
	r := startOn(t, s, func(l listener) listener { return tls.NewListener(l, config) })
	c := r.dial(t)
	conn := tls.Client(c.Conn, anyCertificate)
	c.Conn = conn
	c.r.Reset(conn)
	c.want("220")
	c.say("EHLO c.example\r\n")
	if got := c.reply(); !strings.Contains(got, "AUTH SCRAM-SHA-256 PLAIN LOGIN") || strings.Contains(got, "STARTTLS") {
		t.Errorf("it offers %q", got)
	}
	if got := c.scramLogin(t, "user", "pencil", true); !strings.HasPrefix(got, "235 ") {
		t.Errorf("user: %q", got)
	}
	t.Run("without", func(t *testing.T) {
		c := r.dial(t)
		c.write("EHLO c.example\r\n")
		if got := c.reply(); strings.HasPrefix(got, "2") {
			t.Errorf("in clear it says %q", got)
		}
	})
}
