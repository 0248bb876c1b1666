//go:build linux

package peers_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// TestServersTakeMail speaks to each server by hand, so that a test that fails
// elsewhere is not the rig's fault.
func TestServersTakeMail(t *testing.T) {
	for name, c := range map[string]struct {
		server *peers.Server
		dir    string
	}{
		"Postfix":   {peers.Postfix("127.0.0.2", "mx1.e.test", "", "", ""), "/var/vmail"},
		"Exim":      {peers.Exim("127.0.0.3", "mx2.e.test", "", ""), "/var/vmail"},
		"OpenSMTPD": {peers.OpenSMTPD("127.0.0.4", "mx3.e.test", "", ""), "/var/vmail"},
		"smtp-sink": {peers.SMTPSink("127.0.0.5"), "/var/sink"},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.Start(t)
			dialogue(t, c.server.Listen)
			peers.Eventually(t, "the message", func() bool {
				return strings.Contains(c.server.Mail(c.dir), "a word to find")
			})
		})
	}
}

// TestServersEnd: nothing of a server is left once it was stopped, though Postfix
// is a dozen processes. Restarted, it has its files still.
func TestServersEnd(t *testing.T) {
	server := peers.Postfix("127.0.0.2", "mx1.e.test", "", "", "")
	server.Start(t)
	dialogue(t, server.Listen)
	if n := processes(t, server); n < 3 {
		t.Errorf("found %d processes of a Postfix that runs", n)
	}
	server.Stop()
	if n := processes(t, server); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	if _, err := net.Dial("tcp", server.Listen); err == nil {
		t.Error("somebody still listens")
	}
	server.Restart(t)
	dialogue(t, server.Listen)
	peers.Eventually(t, "both messages", func() bool {
		return strings.Count(server.Mail("/var/vmail"), "a word to find") == 2
	})
}

// processes counts those of a server.
func processes(t *testing.T, s *peers.Server) int {
	t.Helper()
	pids, err := s.PIDs()
	if err != nil {
		t.Fatal(err)
	}
	return len(pids)
}

func dialogue(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	expect := func(code string) {
		t.Helper()
		for {
			line, err := r.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, code) {
				t.Fatalf("got %q, %v, want %s", line, err, code)
			}
			if line[3] != '-' {
				return
			}
		}
	}
	expect("220")
	for _, c := range []struct{ say, code string }{
		{"EHLO c.test", "250"}, {"MAIL FROM:<a@c.test>", "250"}, {"RCPT TO:<u@e.test>", "250"}, {"DATA", "354"},
		{"Subject: s\r\n\r\na word to find\r\n.", "250"}, {"QUIT", "221"},
	} {
		fmt.Fprintf(conn, "%s\r\n", c.say)
		expect(c.code)
	}
}
