package smtptest_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// stuff is content as DATA carries it, the plainest way to write it.
func stuff(content string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(content, "\r\n") {
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(line)
	}
	return b.String() + ".\r\n"
}

// deliver sends content in writes of n octets, and returns what arrived.
func deliver(t *testing.T, h *smtptest.Host, opening, wire string, n int) smtptest.Message {
	t.Helper()
	conn := open(t, h)
	converse(t, conn, opening)
	for len(wire) > 0 {
		k := min(n, len(wire))
		if _, err := conn.Write([]byte(wire[:k])); err != nil {
			t.Fatal(err)
		}
		wire = wire[k:]
	}
	converse(t, conn, "S: 250 2.0.0 taken\n"+quit)
	got := h.Messages()
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	return got[0]
}

func TestContentArrivesAsItWas(t *testing.T) {
	contents := []string{
		"", "\r\n", ".\r\n", "..\r\n", "a\r\n.\r\nb\r\n", ".a\r\n..b\r\n...\r\n",
		strings.Repeat("x", 998) + "\r\n" + "." + strings.Repeat("y", 997) + "\r\n",
		strings.Repeat(strings.Repeat("z", 61)+"\r\n.\r\n", 3000),
	}
	for i, content := range contents {
		for _, n := range []int{1, 2, 3, 61, 4096, 1 << 20} {
			if n < 4 && len(content) > 5000 {
				continue
			}
			t.Run(fmt.Sprintf("content %d in writes of %d", i, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := &smtptest.Host{}
					m := deliver(t, h, body, stuff(content), n)
					h.Check(t)
					if string(m.Content) != content || m.Size != int64(len(content)) || m.Chunks != nil {
						t.Errorf("%d octets arrived of %d", m.Size, len(content))
					}
				})
				synctest.Test(t, func(t *testing.T) {
					h := &smtptest.Host{Extensions: []string{"CHUNKING"}}
					opening := offering("CHUNKING") + strings.TrimPrefix(start, plain)
					m := deliver(t, h, opening, fmt.Sprintf("BDAT %d LAST\r\n%s", len(content), content), n)
					h.Check(t)
					if string(m.Content) != content || len(m.Chunks) != 1 || m.Chunks[0] != len(content) {
						t.Errorf("%d octets arrived of %d, chunks %v", m.Size, len(content), m.Chunks)
					}
				})
			})
		}
	}
}

func TestContentCountedAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Discard: true}
		if m := deliver(t, h, body, stuff("abc\r\n"), 100); m.Size != 5 || m.Content != nil {
			t.Errorf("size %d, content %q", m.Size, m.Content)
		}
	})
}

func TestCutOffContentIsNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Extensions: []string{"CHUNKING"}}
		talk(t, h, offering("CHUNKING")+strings.TrimPrefix(start, plain)+"C: BDAT 10 LAST\nC: abc\n")
		talk(t, h, offering("CHUNKING")+strings.TrimPrefix(body, plain)+"C: abc\n")
		if got := h.Received(); len(got) != 0 {
			t.Errorf("received %+v", got)
		}
		if got := h.Violations(); len(got) != 0 {
			t.Errorf("breaking content off broke %v", got)
		}
	})
}

func TestCaptureBelowTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Extensions: []string{"STARTTLS"}, Capture: true}
		talk(t, h, offering("STARTTLS")+"C: STARTTLS\nS: 220 2.0.0 go ahead", hello[strings.Index(hello, "C:"):]+"S: 250 host.example greets you\n"+quit)
		c := h.Connections()[0]
		if want := []byte("EHLO client.example\r\nSTARTTLS\r\n\x16\x03"); !bytes.HasPrefix(c.Received, want) {
			t.Errorf("received %q, want it to begin with %q", c.Received, want)
		}
		if bytes.Contains(c.Received, []byte("QUIT")) || !bytes.HasPrefix(c.Sent, []byte("220 host.example ESMTP\r\n250-")) {
			t.Errorf("received %q, sent %q", c.Received, c.Sent)
		}
		if got := strings.Join(h.Commands(), "|"); got != "EHLO client.example|STARTTLS|EHLO client.example|QUIT" {
			t.Errorf("commands %s", got)
		}
	})
}
