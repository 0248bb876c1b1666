package smtptest

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
)

func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		"EHLO a.example\r\n", "MAIL FROM:<a@b.example> SIZE=1 BODY=8BITMIME\r\n", "RCPT TO:<\"a > b\"@[IPv6:::1]>\n",
		"RCPT TO:<@x,@y:a@b> NOTIFY=NEVER\r\n", "mail from:\"", "BDAT 1 LAST\r\n", "\x00\r\r\n", "RCPT TO:<\"\\", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := parseCommand(line)
		if strings.Contains(c.verb, " ") || c.verb != strings.ToUpper(c.verb) {
			t.Errorf("verb %q of %q", c.verb, line)
		}
		if c.path != "" && !strings.Contains(line, c.path) {
			t.Errorf("path %q is not in %q", c.path, line)
		}
		for _, found := range c.found {
			if found.rule.Section() == "" {
				t.Errorf("rule %q stands nowhere", found.rule)
			}
		}
		if again := parseCommand(line); len(again.found) != len(c.found) {
			t.Errorf("%q breaks %v, then %v", line, c.found, again.found)
		}
	})
}

// FuzzHost says whatever to a Host: it must neither panic nor hang, nor take a
// message that was cut off.
func FuzzHost(f *testing.F) {
	const open = "EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\n"
	for _, seed := range []string{
		open + "DATA\r\n.x\r\n.\r\nQUIT\r\n", open + "BDAT 3\r\nabcBDAT 0 LAST\r\n", open + "BDAT 99 LAST\r\nabc",
		"STARTTLS\r\n\x16\x03\x01", open + "DATA\r\n.\n\r.\r\n", "AUTH PLAIN =\r\nAUTH LOGIN\r\n*\r\n", open + "RSET\r\nDATA\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		h := &Host{Extensions: []string{"PIPELINING", "CHUNKING", "STARTTLS", "AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", "SIZE 100", "DSN", "SMTPUTF8"}}
		client, server := Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { h.Serve(context.Background(), server) })
		serving.Go(func() { _, _ = io.Copy(io.Discard, client) })
		_, _ = io.WriteString(client, said)
		_ = client.CloseWrite()
		serving.Wait()
		_ = client.Close()
		for _, m := range h.Messages() {
			if !strings.Contains(strings.ToUpper(said), "DATA") && !strings.Contains(strings.ToUpper(said), "LAST") || len(m.Recipients) == 0 {
				t.Errorf("%q made the message %+v", said, m)
			}
		}
	})
}
