package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// talk says text to a relay from an address of this machine, and returns all that it
// answers until it hangs up.
func (p *process) talk(from, text string) string {
	p.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", p.addr.String())
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon))
	greeting := bufio.NewReader(conn)
	if l, err := greeting.ReadString('\n'); err != nil || !strings.HasPrefix(l, "220 ") {
		p.t.Fatalf("greeted %q, %v", l, err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		p.t.Fatal(err)
	}
	answers, _ := io.ReadAll(greeting) // a reset ends them, too
	return string(answers)
}

// to is a session with one message for one recipient, in the words of a device.
func to(path string) string {
	return "HELO scanner\r\nMAIL FROM:alice@example.org\r\nRCPT TO:" + path + "\r\nDATA\r\nSubject: scan\r\n\r\nbody\r\n.\r\nQUIT\r\n"
}

// TestWhatTrustedClientsSay: a browser that was led to the relay's port sends no mail,
// though it is on a trusted machine; a scanner that leaves out the brackets does.
func TestWhatTrustedClientsSay(t *testing.T) {
	w := newWorld(t, zone+"my_host.example.com. MX 5 mail.example.com.\n")
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	r := w.relay("-queue", inMemory)
	const mail = "EHLO evil.example\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nSubject: posted\r\n\r\nposted\r\n.\r\nQUIT\r\n"
	for _, said := range []string{
		"POST / HTTP/1.1\r\nHost: 127.0.0.1:2525\r\nConnection: keep-alive\r\nContent-Length: 114\r\nContent-Type: text/plain\r\nOrigin: http://evil.example\r\n\r\n" + mail,
		"GET / HTTP/1.1\r\nHost: 127.0.0.1:2525\r\n\r\n" + mail,
		"\x16\x03\x01\x00\x05" + mail,
	} {
		if got := r.talk("127.0.0.1", said); got != "521 5.5.2 this is not a mail client\r\n" {
			t.Errorf("%.10q is answered %q", said, got)
		}
	}
	for _, path := range []string{"bob@example.com", "try..this..0511@example.com", "bob@my_host.example.com"} {
		if got := r.talk("127.0.0.1", to(path)); !strings.Contains(got, "\r\n250 2.0.0 queued as ") {
			t.Errorf("%s: %q", path, got)
		}
	}
	eventually(t, "the scans arrive", func() bool { return len(com.Messages()) >= 3 })
	r.stop()
	got := recipients(com)
	slices.Sort(got)
	if want := []string{`"try..this..0511"@example.com`, "bob@example.com", "bob@my_host.example.com"}; !slices.Equal(got, want) {
		t.Errorf("sent to %q, want %q", got, want)
	}
	com.Check(t)
}

// TestOldHeaders: mail that came without SMTPUTF8 goes on without, whatever octets its
// header has; mail that came with it needs it where its header does.
func TestOldHeaders(t *testing.T) {
	w := newWorld(t, zone)
	old := &smtptest.Host{Name: "mail.example.com", Extensions: []string{"PIPELINING", "8BITMIME"}, Allow: []smtptest.Rule{smtptest.RuleUTF8Header}}
	full := modern("mail.two.example")
	full.Allow = old.Allow
	w.start("127.0.0.2", old)
	w.start("127.0.0.5", full)
	contents := []string{
		"Subject: Gr\xfc\xdfe\r\n\r\nlatin1\r\n",
		"\xef\xbb\xbfFrom: alice@example.org\r\nSubject: bom\r\n\r\nbody\r\n",
		"X-Spam-Report: * 0.1 COST price of \xa3 10\r\nSubject: spam\r\n\r\nbody\r\n",
		"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\nSubject: \xc3\xbc\r\n\r\nbody\r\n",
	}
	r := w.relay("-queue", t.TempDir())
	for _, c := range contents {
		said := "EHLO m\xfcller-pc\r\nMAIL FROM:<alice@example.org> BODY=8BITMIME\r\nRCPT TO:<bob@example.com>\r\nRCPT TO:<bob@two.example>\r\nDATA\r\n" + c + ".\r\nQUIT\r\n"
		if got := r.talk("127.0.0.1", said); !strings.Contains(got, "queued as") {
			t.Errorf("%q", got)
		}
	}
	eventually(t, "all are passed on", func() bool { return len(old.Messages()) == len(contents) && len(full.Messages()) == len(contents) })
	for _, h := range []*smtptest.Host{old, full} {
		for _, m := range h.Messages() {
			_, below, _ := strings.Cut(string(m.Content), " +0000\r\n")
			if !slices.Contains(contents, below) || !slices.Contains(m.Params, "BODY=8BITMIME") || slices.Contains(m.Params, "SMTPUTF8") {
				t.Errorf("%s has %q of %q", h.Name, m.Params, m.Content)
			}
		}
	}
	declared := "EHLO x\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<bob@example.com>\r\nRCPT TO:<bob@two.example>\r\nDATA\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n.\r\nQUIT\r\n"
	if got := r.talk("127.0.0.1", declared); !strings.Contains(got, "queued as") {
		t.Errorf("%q", got)
	}
	eventually(t, "the declared one is where it may be", func() bool { return len(full.Messages()) == len(contents)+1 })
	if m := full.Messages()[len(contents)]; !slices.Contains(m.Params, "SMTPUTF8") {
		t.Errorf("it went with %q", m.Params)
	}
	r.stop()
	if n := len(old.Messages()); n != len(contents) {
		t.Errorf("%d messages where there is no SMTPUTF8", n)
	}
	old.Check(t)
	full.Check(t)
}

// TestPostmaster: a stranger's mail for the postmaster is taken, and is where he can
// read it: at the address of -postmaster, at the first relay domain, or in the queue.
func TestPostmaster(t *testing.T) {
	w := newWorld(t, zone)
	com, org := modern("mail.example.com"), modern("mail.example.org")
	w.start("127.0.0.2", com)
	w.start("127.0.0.6", org)
	stranger := func(path string) string {
		return "EHLO x\r\nMAIL FROM:<a@two.example>\r\nRCPT TO:" + path + "\r\nDATA\r\nSubject: look\r\n\r\n.\r\nQUIT\r\n"
	}
	paths := []string{"<postmaster>", "<PostMaster@RELAY.example.net>", "<postmaster@mx2.example.com>"}
	for name, c := range map[string]struct {
		args []string
		host *smtptest.Host
		want string
	}{
		"where -postmaster says":  {[]string{"-postmaster", "admin@example.org", "-relay-domain", "example.com"}, org, "admin@example.org"},
		"at the first own domain": {[]string{"-relay-domain", ".example.com", "-relay-domain", "example.com", "-relay-domain", "two.example"}, com, "postmaster@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.relay(append(c.args, "-queue", inMemory, "-trust", "192.0.2.0/24")...)
			for _, path := range paths {
				if got := r.talk("127.0.0.9", stranger(path)); !strings.Contains(got, "queued as") {
					t.Errorf("%s: %q", path, got)
				}
			}
			eventually(t, "all arrive", func() bool { return len(recipients(c.host)) == len(paths) })
			if got := recipients(c.host); slices.ContainsFunc(got, func(s string) bool { return s != c.want }) {
				t.Errorf("sent to %q, want %s", got, c.want)
			}
			r.stop()
		})
	}
	t.Run("in the queue", func(t *testing.T) {
		dir := t.TempDir()
		r := w.relay("-queue", dir)
		before := len(recipients(com))
		text := strings.Replace(stranger("<postmaster>"), "DATA", "RCPT TO:<Postmaster@relay.example.net>\r\nRCPT TO:<b@example.com>\r\nDATA", 1)
		if got := r.talk("127.0.0.1", text); !strings.Contains(got, "queued as") {
			t.Errorf("%q", got)
		}
		eventually(t, "the other recipient has it", func() bool { return len(recipients(com)) == before+1 })
		eventually(t, "the postmaster's is held", func() bool {
			out, _, _ := queueCommand(dir, "list", "-json")
			return strings.Count(out, "\n") == 1 && strings.Contains(out, `"held":true,"recipients":[{"address":"postmaster@relay.example.net"`)
		})
		r.stop()
	})
	t.Run("no address", func(t *testing.T) {
		c := command("-listen", "127.0.0.1:0", "-queue", inMemory, "-postmaster", "nobody")
		out, _ := c.CombinedOutput()
		if c.ProcessState.ExitCode() != 64 || !strings.Contains(string(out), "-postmaster") {
			t.Errorf("exit code %d: %s", c.ProcessState.ExitCode(), out)
		}
	})
}

// TestTroubleWithTheQueue: what the client is told is about this machine, and for now.
func TestTroubleWithTheQueue(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"it is full":            {queue.ErrFull, "452 4.3.1"},
		"the disk is full":      {fmt.Errorf("write: %w", syscall.ENOSPC), "452 4.3.1"},
		"the quota is used up":  {fmt.Errorf("write: %w", syscall.EDQUOT), "452 4.3.1"},
		"it has failed":         {fmt.Errorf("sync: %w", disk.ErrFailed), "451 4.3.0"},
		"it has failed, full":   {errors.Join(disk.ErrFailed, syscall.ENOSPC), "451 4.3.0"},
		"it is closed":          {queue.ErrClosed, "451 4.3.0"},
		"the relay ends":        {context.Canceled, "451 4.3.0"},
		"no descriptor is left": {syscall.EMFILE, "451 4.3.0"},
		"an error of its own":   {errors.New("?"), "451 4.3.0"},
		"content unreadable":    {&delivery.Error{Stage: delivery.StageMessage, Verdict: delivery.NotNow, Enhanced: "4.3.0"}, "451 4.3.0"},
		"nothing":               {nil, "250 2.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := answer("x", c.err)
			if got := fmt.Sprint(r.Code, " ", r.Enhanced); got != c.want {
				t.Errorf("answered %s, want %s", got, c.want)
			}
		})
	}
}
