package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestMailSurvivesAndIsRetried: what was taken is delivered, though the next hop is down
// and the runner is killed.
func TestMailSurvivesAndIsRetried(t *testing.T) {
	t.Parallel()
	m := newMachineWhere(t, []smtptest.Cue{{At: smtptest.Rcpt, Times: 2, Reply: "451 4.7.1 later"}}, "retry = 50ms")
	r := m.start()
	m.send(alice, "To: b@example.com\nSubject: one\n\nx\n", "-t")
	_ = r.Process.Kill()
	_ = r.Wait()
	m.start()
	if _, content := m.arrives(1); !strings.Contains(content, "Subject: one") {
		t.Errorf("%q", content)
	}
}

// TestQueueIsShown: mailq shows root all that waits, and others what is theirs.
func TestQueueIsShown(t *testing.T) {
	t.Parallel()
	m := newMachineWhere(t, []smtptest.Cue{{At: smtptest.Rcpt, Reply: "451 4.7.1 come\x07back later"}}, "retry = 1h")
	r := m.start()
	shown := func(uid int, args ...string) string {
		t.Helper()
		c := m.command(uid, "/usr/bin/mailq")
		if len(args) > 0 {
			c = m.command(uid, "/usr/sbin/sendmail", args...)
		}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := shown(alice); got != "Mail queue is empty\n" {
		t.Errorf("an empty queue: %q", got)
	}
	m.send(alice, "\nx\n", "-f", "a@example.com", "b@example.com")
	m.send(bob, "\nx\n", "-f", "<>", "c@example.com")
	eventually(t, "both have been tried", func() bool { return strings.Count(shown(root, "-bp"), "(mail.example.com 451 4.7.1") == 2 })
	of := func(uid int) string {
		out := shown(uid)
		var list []string
		for _, word := range []string{"a@example.com", "b@example.com", "<>", "c@example.com", "in 1 Requests", "in 2 Requests"} {
			if strings.Contains(out, word) {
				list = append(list, word)
			}
		}
		return strings.Join(list, " ")
	}
	for uid, want := range map[int]string{
		alice: "a@example.com b@example.com in 1 Requests", bob: "<> c@example.com in 1 Requests",
		root: "a@example.com b@example.com <> c@example.com in 2 Requests", runnerID: "a@example.com b@example.com <> c@example.com in 2 Requests",
	} {
		if got := of(uid); got != want {
			t.Errorf("user %d sees %q, want %q", uid, got, want)
		}
	}
	t.Run("-q", func(t *testing.T) {
		tries := func() int { return strings.Count(r.said(), "deferred") }
		eventually(t, "both attempts are in the log", func() bool { return tries() == 2 })
		m.send(alice, "", "-q") // which is what is hers
		eventually(t, "hers is tried again", func() bool { return tries() == 3 })
		m.send(root, "", "-q")
		eventually(t, "all is tried again", func() bool { return tries() == 5 })
	})
}

// TestQueueWithoutARunner: -q is one, for as long as there is something to do.
func TestQueueWithoutARunner(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "retry = 1h")
	m.setUp()
	m.send(alice, "\nx\n", "-f", "a@example.com", "b@example.com")
	if out, code := m.call(bob, "", "-q"); code == 0 {
		t.Errorf("a user who is not the runner: %s", out)
	}
	if out, code := m.call(runnerID, "", "-q"); code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	if n := len(m.mail.Messages()); n != 1 {
		t.Errorf("%d messages had arrived when it ended, want 1", n)
	}
	m.stop()
	m.send(alice, "\ny\n", "-f", "a@example.com", "b@example.com")
	began := time.Now()
	if out, code := m.call(runnerID, "", "-q30m"); code != 0 || !strings.Contains(out, "deferred") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("with a next hop that is down it took %v", took)
	}
}

// TestOneRunner: there is one at a time.
func TestOneRunner(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := m.start()
	if out, code := m.call(runnerID, "", "-bd"); code != 75 || !strings.Contains(out, "in use") {
		t.Errorf("exit code %d: %s", code, out)
	}
	m.send(alice, "\nx\n", "-f", "a@example.com", "b@example.com")
	m.arrives(1)
	r.end()
}

// TestQuota: each user has one, whichever way his mail comes, and root has none.
func TestQuota(t *testing.T) {
	t.Parallel()
	m := newMachineWhere(t, []smtptest.Cue{{At: smtptest.Rcpt, Times: 8, Reply: "451 4.7.1 later"}}, "retry = 1h", "quota-messages = 3", "quota-bytes = 20000")
	r := m.start()
	small := []string{"-f", "a@example.com", "b@example.com"}
	for range 3 {
		m.send(alice, "\nx\n", small...)
	}
	for i := range 2 {
		if out, code := m.call(alice, "\nx\n", small...); code != 75 || !strings.Contains(out, "too much of your mail waits") {
			t.Errorf("message %d: exit code %d, %s", 4+i, code, out)
		}
	}
	large := strings.Repeat("a line of a message\n", 600)
	m.send(bob, "\n"+large, small...)
	if out, code := m.call(bob, "\n"+large, small...); code != 75 {
		t.Errorf("24,000 octets: exit code %d, %s", code, out)
	}
	for range 4 {
		m.send(root, "\nx\n", small...)
	}
	eventually(t, "all have been tried", func() bool { return strings.Count(r.said(), " deferred ") == 8 })
	r.end()
	m.send(alice, "Subject: waits in the maildrop\n\nx\n", small...)
	m.send(bob, "\nx\n", small...)
	r = m.start()
	eventually(t, "there is room for the message of bob", func() bool { return len(m.files("maildrop")) == 1 })
	eventually(t, "the message of alice has left the maildrop", func() bool {
		m.send(root, "", "-q")
		return len(m.files("maildrop")) == 0
	})
	eventually(t, "all arrives", func() bool { return len(m.mail.Messages()) == 3+1+4+2 })
}

// TestSubmitterIsWhoTheKernelSays: what a program says of itself counts for nothing.
func TestSubmitterIsWhoTheKernelSays(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", m.dir+"/run/submit")
	}}}
	// The test is root.
	r, err := client.Post("http://runner/submit", "", strings.NewReader(`{"key":"K1","uid":61001,"user":"alice","recipients":[{"address":"b@example.com"}]}`+"\nReceived: by host.example (nexthop, from userid 61001)\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if !strings.Contains(string(text), `"code":0`) {
		t.Errorf("the answer is %s", text)
	}
	if got, content := m.arrives(1); got.From != "root@host.example" || !strings.HasPrefix(content, "Received: by host.example (nexthop, from userid 0)") {
		t.Errorf("from %q, %.100q", got.From, content)
	}
	for name, body := range map[string]string{
		"nothing": "", "no envelope": "x\n", "no key": `{"recipients":[{"address":"b@example.com"}]}` + "\n\n", "no recipients": `{"key":"K2"}` + "\n\n",
		"a long envelope": strings.Repeat("x", 3<<20), "a key that ends a line": `{"key":"K\nX","recipients":[{"address":"b@example.com"}]}` + "\n\n",
		"an address that is none": `{"key":"K3","recipients":[{"address":"b@@example.com"}]}` + "\n\n",
	} {
		r, err := client.Post("http://runner/submit", "", strings.NewReader(body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if !strings.Contains(string(text), `"code":65`) {
			t.Errorf("%s: the answer is %s", name, text)
		}
	}
}

// TestSmartHost: all mail goes through it, with a secret that is the runner's alone and is
// told to nobody.
func TestSmartHost(t *testing.T) {
	t.Parallel()
	authority, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	hub := &smtptest.Host{Name: "localhost", Extensions: []string{"STARTTLS", "AUTH PLAIN"}, Users: map[string]string{"host": "geheim"}}
	if hub.TLS, err = authority.ServerConfig("localhost"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(serve(hub, l))
	m := newMachine(t, "rewrite = root=ops@example.com", "rewrite = *=noreply@example.com")
	m.start().end()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	secret := filepath.Join(m.dir, "smarthost")
	if err := os.WriteFile(secret, []byte("submission://host:geheim@localhost:"+port+"?tls=encrypt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(secret, runnerID, runnerID); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(m.config)
	if err := os.WriteFile(m.config, append(text, "smarthost = @"+secret+"\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	r := m.start()
	m.send(alice, "From: me\nTo: b@example.com, www-data\nSubject: s\n\nx\n", "-t")
	m.send(root, "To: b@example.com\n\nx\n", "-t")
	eventually(t, "both arrive at the smart host, one of them for two", func() bool {
		n := 0
		for _, got := range hub.Messages() {
			n += len(got.Recipients)
		}
		return n == 3
	})
	for _, got := range hub.Messages() {
		want, field := "noreply@example.com", "\r\nFrom: noreply@example.com\r\n"
		if strings.Contains(string(got.Content), "userid 0)") {
			want, field = "ops@example.com", "<ops@example.com>\r\n"
		}
		if got.From != want || got.User != "host" || !strings.Contains(string(got.Content), field) {
			t.Errorf("from %q by %q: %q, want from %q, with %q", got.From, got.User, got.Content, want, field)
		}
	}
	if strings.Contains(r.said(), "geheim") {
		t.Error("the secret is in the log")
	}
}

// TestSMTPOnStandardInput is -bs.
func TestSMTPOnStandardInput(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	c := m.command(alice, "/usr/sbin/sendmail", "-bs")
	var dialogue strings.Builder
	for i, to := range []string{"b@example.com", "c@example.com"} {
		fmt.Fprintf(&dialogue, "EHLO me\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: number %d\r\n\r\n..x\r\n.\r\n", to, i)
	}
	c.Stdin = strings.NewReader(dialogue.String() + "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@@example.com>\r\nQUIT\r\n")
	out, err := c.CombinedOutput()
	if err != nil || strings.Count(string(out), "250 2.0.0 taken") != 2 || !strings.Contains(string(out), "\n553 ") || !strings.HasSuffix(string(out), "221 2.0.0 bye\r\n") {
		t.Errorf("%v: %s", err, out)
	}
	_, _ = m.arrives(2)
	for _, got := range m.mail.Messages() {
		content := string(got.Content)
		if got.From != "a@example.com" || !strings.Contains(content, "from userid 61001)") || !strings.Contains(content, "\r\nDate: ") ||
			!strings.Contains(content, "\r\nMessage-ID: <") || !strings.HasSuffix(content, "\r\n\r\n.x\r\n") {
			t.Errorf("from %q: %q", got.From, content)
		}
	}
	t.Run("its input ends", func(t *testing.T) {
		c := m.command(alice, "/usr/sbin/sendmail", "-bs")
		c.Stdin = strings.NewReader("EHLO me\r\nMAIL FROM:<a@example.com>\r\n")
		if out, err := c.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "220 ") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// TestRunnerDiesOverASubmission: a message that the runner has got, and of which it does not
// say what became, is in the maildrop when it is taken.
func TestRunnerDiesOverASubmission(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"without a word": "", "in the middle of one": "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"code\"", "with nonsense": "HTTP/1.1 500 no\r\nContent-Length: 2\r\n\r\nno",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.setUp()
			l, err := listen(m.dir + "/run/submit")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 10_000))
				_, _ = io.WriteString(conn, answer)
				conn.Close()
				l.Close()
			}()
			m.send(alice, "To: b@example.com\n\nx\n", "-t")
			<-ended
			if n := len(m.files("maildrop")); n != 1 {
				t.Errorf("%d files are in the maildrop, want 1", n)
			}
			m.start()
			m.arrives(1)
		})
	}
}
