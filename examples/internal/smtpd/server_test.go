package smtpd

import (
	"context"
	"crypto/tls"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestPipelining: a group of commands is answered in the order of the commands, and in
// one write.
func TestPipelining(t *testing.T) {
	r := start(t, &Server{})
	c := r.dial(t)
	c.want("220")
	c.say(envelope + "RCPT TO:<nobody>\r\nDATA\r\n")
	b := make([]byte, 4096)
	n, err := c.r.Read(b)
	if got := string(b[:n]); err != nil || strings.Count(got, "\r\n") != 12 || !strings.HasSuffix(got, "dot\r\n") {
		t.Errorf("the first read has %q, %v, want all five replies", got, err)
	}
}

// TestLeft: a client that goes in the middle of content leaves nothing, and nobody is
// handed a part.
func TestLeft(t *testing.T) {
	for name, text := range map[string]string{
		"in DATA":             "DATA\r\nSubject: x\r\n",
		"in a large DATA":     "DATA\r\n" + strings.Repeat("12345678\r\n", 50_000),
		"at the dot":          "DATA\r\nx\r\n.",
		"in a chunk":          "BDAT 100 LAST\r\nSubject",
		"between chunks":      "BDAT 3\r\nx\r\n",
		"after a large chunk": "BDAT 500000\r\n" + strings.Repeat("12345678\r\n", 50_000),
		"after RSET":          "BDAT 3\r\nx\r\nRSET\r\nBDAT 0 LAST\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, &Server{})
			c := r.begin(t)
			c.say(text)
			c.Close()
			eventually(func() bool { open, _, _ := r.Stats(); return open == 0 })
			r.stop()
			<-r.done
			if n := len(r.all()); n != 0 {
				t.Errorf("%d messages", n)
			}
			if left, _ := os.ReadDir(r.TempDir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestStop: told to stop, the server lets a message arrive that has begun, and tells
// everybody else to come back later.
func TestStop(t *testing.T) {
	taking, release := make(chan struct{}), make(chan struct{})
	r := start(t, &Server{Data: func(ctx context.Context, tx *Transaction, c queue.Content) Reply {
		close(taking)
		<-release
		return Reply{250, "2.0.0", "taken"}
	}})
	idle, halfway, busy := r.begin(t), r.begin(t), r.begin(t)
	halfway.say("DATA\r\n")
	halfway.want("354")
	busy.say("DATA\r\n")
	busy.want("354")
	busy.say("x\r\n.\r\n")
	<-taking
	r.stop()
	idle.want("421 4.3.2", "")
	close(release)
	busy.want("250", "421 4.3.2", "")
	halfway.Close()
	<-r.done
	if _, err := tls.Dial("tcp", r.addr, nil); err == nil {
		t.Error("it still listens")
	}
}

// TestLimits holds the server to its limits of connections, mistakes and time.
func TestLimits(t *testing.T) {
	t.Run("connections", func(t *testing.T) {
		r := start(t, &Server{MaxConnections: 2})
		a, b := r.dial(t), r.dial(t)
		a.want("220")
		b.want("220")
		r.dial(t).want("421 4.7.0", "")
		a.say("QUIT\r\n")
		a.want("221", "")
		for c := r.dial(t); !strings.HasPrefix(c.reply(), "220"); c = r.dial(t) {
		}
		if _, _, refused := r.Stats(); refused == 0 {
			t.Error("no refusal is counted")
		}
	})
	t.Run("connections of one client", func(t *testing.T) {
		r := start(t, &Server{MaxPerClient: 1})
		r.dial(t).want("220")
		r.dial(t).want("421 4.7.0", "")
	})
	t.Run("mistakes", func(t *testing.T) {
		c := start(t, &Server{}).dial(t)
		c.want("220")
		c.say(strings.Repeat("X\r\n", maxMistakes+1))
		for range maxMistakes + 1 {
			c.want("500")
		}
		c.want("421 4.7.0", "")
	})
	t.Run("mistakes between refused messages", func(t *testing.T) {
		c := start(t, &Server{Data: func(context.Context, *Transaction, queue.Content) Reply { return Reply{550, "5.7.1", "no"} }}).dial(t)
		c.say("EHLO me\r\n" + strings.Repeat("X\r\n", maxMistakes) + "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nBDAT 0 LAST\r\nX\r\n")
		c.want("220", "250")
		for range maxMistakes {
			c.want("500")
		}
		c.want("250", "250", "550", "500", "421 4.7.0", "")
	})
	t.Run("sessions that are over", func(t *testing.T) {
		r := start(t, &Server{})
		c := r.dial(t)
		c.want("220")
		if open, _, _ := r.Stats(); open != 1 {
			t.Errorf("%d sessions are open, want 1", open)
		}
		c.say("QUIT\r\n")
		c.want("221", "")
		eventually(func() bool { open, _, _ := r.Stats(); return open == 0 })
	})
	t.Run("silence", func(t *testing.T) {
		c := start(t, &Server{Idle: time.Millisecond}).dial(t)
		c.want("220", "421 4.4.2", "")
	})
	t.Run("a line without end", func(t *testing.T) {
		c := start(t, &Server{}).dial(t)
		c.want("220")
		c.say(strings.Repeat("x", maxLine+1))
		c.want("500 5.5.2", "")
	})
	t.Run("a drip of content", func(t *testing.T) {
		began := time.Now()
		if tooSlow(began.Add(-9*time.Minute), 0) || !tooSlow(began.Add(-11*time.Minute), 0) ||
			tooSlow(began.Add(-11*time.Minute), 256*120) {
			t.Error("ten minutes of grace and a second for each 256 octets are wanted")
		}
	})
}

// TestStartTLS upgrades a session.
func TestStartTLS(t *testing.T) {
	authority, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	config, err := authority.ServerConfig("relay.example.net")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a message", func(t *testing.T) {
		r := start(t, &Server{TLS: config})
		c := r.dial(t)
		c.say("EHLO me\r\n")
		c.want("220", "250-relay.example.net|250-PIPELINING|250-SIZE 52428800|250-8BITMIME|250-SMTPUTF8|250-ENHANCEDSTATUSCODES|250-CHUNKING|250-DSN|250 STARTTLS")
		c.say("STARTTLS\r\n")
		c.want("220 2.0.0")
		trusting := authority.ClientConfig()
		trusting.ServerName = "relay.example.net"
		conn := tls.Client(c.Conn, trusting)
		c.Conn = conn
		c.r.Reset(conn)
		c.say("MAIL FROM:<>\r\n")
		c.want("503") // EHLO is forgotten
		c.say("EHLO me\r\n")
		if got := c.reply(); !strings.HasSuffix(got, "|250 REQUIRETLS") {
			t.Errorf("EHLO is answered %q", got)
		}
		c.say("STARTTLS\r\n")
		c.want("502 5.5.1")
		for _, both := range []string{"REQUIRETLS SMTPUTF8", "SMTPUTF8 REQUIRETLS"} {
			c.say("MAIL FROM:<a@example.org> " + both + "\r\nRCPT TO:<b@example.com>\r\nBDAT 0 LAST\r\n")
			c.want("250", "250", "250")
			m := r.all()[len(r.all())-1]
			if !m.UTF8 || !m.RequireTLS || !strings.Contains(m.content, " with UTF8SMTPS id ") {
				t.Errorf("%s: %+v", both, m)
			}
		}
		c.say("MAIL FROM:<a@example.org> REQUIRETLS\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
		c.want("250", "250", "354")
		c.say("x\r\n.\r\n")
		c.want("250")
		m := r.all()[2]
		if m.Message(nil).TLS != queue.TLSRequired || !strings.Contains(m.content, " with ESMTPS id ") {
			t.Errorf("%+v", m)
		}
	})
	t.Run("what comes in clear does not count", func(t *testing.T) {
		r := start(t, &Server{TLS: config})
		c := r.dial(t)
		c.say("EHLO me\r\n")
		c.want("220", "250")
		c.say("STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
		c.want("501 5.5.1", "")
	})
	t.Run("an argument", func(t *testing.T) {
		c := start(t, &Server{TLS: config}).dial(t)
		c.say("EHLO me\r\nSTARTTLS x\r\nNOOP\r\n")
		c.want("220", "250", "501 5.5.4", "250")
	})
	t.Run("a transaction from before is forgotten", func(t *testing.T) {
		c := start(t, &Server{TLS: config}).dial(t)
		c.say("EHLO me\r\nMAIL FROM:<>\r\n")
		c.want("220", "250", "250")
		c.say("STARTTLS\r\n")
		c.want("220 2.0.0")
		conn := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
		c.Conn = conn
		c.r.Reset(conn)
		c.say("RCPT TO:<b@example.com>\r\n")
		c.want("503")
	})
	t.Run("a handshake that fails ends the session", func(t *testing.T) {
		c := start(t, &Server{TLS: config}).dial(t)
		c.say("EHLO me\r\n")
		c.want("220", "250")
		c.say("STARTTLS\r\n")
		c.want("220 2.0.0")
		c.say("\x16\x03\x01\x00\x04\x63\x00\x00\x00")
		alert := make([]byte, 7)
		if _, err := io.ReadFull(c.r, alert); err != nil || alert[0] != 0x15 {
			t.Fatalf("%x, %v, want an alert", alert, err)
		}
		c.write("NOOP\r\n")
		c.want("")
	})
}
