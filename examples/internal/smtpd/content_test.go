package smtpd

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const envelope = "EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n"

func (r *rig) begin(t *testing.T) *client {
	t.Helper()
	c := r.dial(t)
	c.say(envelope)
	c.want("220", "250", "250", "250")
	return c
}

// chunks is content as BDAT commands of n octets.
func chunks(content string, n int) string {
	var b strings.Builder
	for len(content) > n {
		fmt.Fprintf(&b, "BDAT %d\r\n%s", n, content[:n])
		content = content[n:]
	}
	fmt.Fprintf(&b, "BDAT %d LAST\r\n%s", len(content), content)
	return b.String()
}

// TestContent: what comes in by DATA and by BDAT is what is handed over, whatever its
// length, and in whatever pieces it comes.
func TestContent(t *testing.T) {
	line := strings.Repeat("x", 70) + "\r\n"
	for name, content := range map[string]string{
		"empty":                             "",
		"a line":                            "Subject: x\r\n",
		"dots":                              ".\r\n..\r\n.x\r\n\r\n.\r\n",
		"a line longer than buffers":        "X: " + strings.Repeat("y", 3*inBuffer+1) + "\r\nnext\r\n",
		"a dot begins a long line":          "." + strings.Repeat("y", 3*inBuffer+1) + "\r\n.\r\n",
		"a long line with a dot at its end": strings.Repeat("y", inBuffer-1) + ".\r\nnext\r\n",
		"a long line of dots":               "y" + strings.Repeat(".", 3*inBuffer) + "\r\n",
		"10 KiB":                            strings.Repeat(line, 142),
		"what goes to a file":               strings.Repeat(line, inMemory/72+10),
		"octets":                            "\x00\xff\x80\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, &Server{})
			stuffed := strings.ReplaceAll("\r\n"+content, "\r\n.", "\r\n..")[2:]
			c := r.begin(t)
			c.say("DATA\r\n")
			c.want("354")
			c.say(stuffed + ".\r\n")
			c.want("250")
			for _, n := range []int{1 << 30, 70_001, 71, 3} {
				if len(content)/n > 2000 {
					continue
				}
				c := r.begin(t)
				go c.write(chunks(content, n))
				for range len(strings.Split(chunks(content, n), "BDAT ")) - 2 {
					c.want("250 2.0.0 go on")
				}
				c.want("250 2.0.0 taken")
			}
			for i, m := range r.all() {
				if got := cut(t, m.content); got != content {
					t.Errorf("message %d has %d octets, want %d: %.80q", i, len(got), len(content), got)
				}
			}
			if left, _ := os.ReadDir(r.TempDir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			c.say("NOOP\r\n")
			c.want("250")
			if held := r.held(); held != 0 {
				t.Errorf("%d octets of memory are held after the last message", held)
			}
		})
	}
}

// TestSmuggling: an end of content that only some servers see ends neither the content
// nor begins a second message.
func TestSmuggling(t *testing.T) {
	const inner = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<v@example.com>\r\nDATA\r\nsmuggled\r\n.\r\n"
	for _, end := range []string{
		"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r.\n", "\r\r\n.\r\n", "\r\n.\r\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\n\n.\r\n",
	} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			r := start(t, &Server{})
			c := r.begin(t)
			c.say("DATA\r\n")
			c.want("354")
			c.say("text" + end + inner)
			got := c.reply()
			if strings.ContainsAny(strings.ReplaceAll(end, "\r\n", ""), "\r\n") {
				if !strings.HasPrefix(got, "554 5.6.0") || c.reply() != "" || len(r.all()) != 0 {
					t.Errorf("answered %q, %d messages, want a refusal and the end", got, len(r.all()))
				}
			} else if m := r.all(); len(m) != 1 || !strings.HasPrefix(got, "250") || !strings.Contains(m[0].content, "smuggled") {
				t.Errorf("answered %q, %d messages, want one with all of it", got, len(m))
			}
			for _, n := range []int{1 << 20, 5, 1} {
				c := r.begin(t)
				text := "text" + end + "text\r\n"
				before := len(r.all())
				go c.write(chunks(text, n))
				reply := "250 2.0.0 go on"
				for strings.HasPrefix(reply, "250 2.0.0 go on") {
					reply = c.reply()
				}
				clean := !strings.ContainsAny(strings.ReplaceAll(end, "\r\n", ""), "\r\n")
				if clean != strings.HasPrefix(reply, "250") || clean != (len(r.all()) == before+1) {
					t.Errorf("by chunks of %d: %q", n, reply)
				}
			}
		})
	}
	t.Run("whose sender waits for the reply", func(t *testing.T) {
		for _, end := range []string{"\r\n.\n", "\n.\n"} {
			r := start(t, &Server{})
			c := r.begin(t)
			c.say("DATA\r\ntext" + end)
			c.want("354", "554 5.6.0", "")
			if n := len(r.all()); n != 0 {
				t.Errorf("%q: %d messages", end, n)
			}
		}
	})
	t.Run("half of one at the end of the last chunk", func(t *testing.T) {
		for _, said := range []string{"BDAT 5 LAST\r\ntext\r", "BDAT 5\r\ntext\rBDAT 0 LAST\r\n", "BDAT 4\r\ntextBDAT 1 LAST\r\n\r"} {
			r := start(t, &Server{})
			c := r.begin(t)
			c.say(said)
			got := c.reply()
			for strings.HasPrefix(got, "250 2.0.0 go on") {
				got = c.reply()
			}
			if !strings.HasPrefix(got, "554 5.6.0") || c.reply() != "" || len(r.all()) != 0 {
				t.Errorf("%q is answered %q, %d messages", said, got, len(r.all()))
			}
		}
	})
	t.Run("in commands", func(t *testing.T) {
		for _, command := range []string{"NOOP\n", "NOOP\rNOOP\r\n", "NOOP\r\r\n", "\n"} {
			r := start(t, &Server{})
			c := r.dial(t)
			c.want("220")
			c.say("EHLO me\r\n" + command + "NOOP\r\n")
			c.want("250", "521 5.5.2 a line must end with CRLF", "")
		}
	})
}

// TestTooLarge: a message over the limit is refused when all of it is there, and the
// session goes on.
func TestTooLarge(t *testing.T) {
	r := start(t, &Server{MaxSize: 1000})
	c := r.begin(t)
	c.say("DATA\r\n")
	c.want("354")
	c.say(strings.Repeat("12345678\r\n", 100) + ".\r\n")
	c.want("250")
	c.say("MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
	c.want("250", "250", "354")
	c.say(strings.Repeat("12345678\r\n", 100) + "x\r\n.\r\n")
	c.want("552 5.3.4")
	c.say("MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n" + "BDAT 500\r\n" + strings.Repeat("y", 500) + "BDAT 501\r\n" + strings.Repeat("y", 501) + "BDAT 3 LAST\r\nxyz")
	c.want("250", "250", "250", "552 5.3.4", "503 5.5.1")
	c.say("NOOP\r\n")
	c.want("250")
	if n := len(r.all()); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	t.Run("with a bare LF before", func(t *testing.T) {
		r := start(t, &Server{MaxSize: 10})
		c := r.begin(t)
		c.say("DATA\r\nx\ny\r\n12345678\r\n.\r\n")
		c.want("354", "554 5.6.0", "")
	})
}

// TestMixed: a transaction whose content has begun to come by BDAT takes no DATA and
// no further recipient (RFC 3030 section 2), and goes on as if nothing had been said.
func TestMixed(t *testing.T) {
	for name, between := range map[string][]string{
		"EXT-13 DATA after BDAT":           {"DATA\r\n", "503 5.5.1"},
		"EXT-13 RCPT after BDAT":           {"RCPT TO:<late@example.com>\r\n", "503 5.5.1"},
		"EXT-13 MAIL after BDAT":           {"MAIL FROM:<evil@example.org>\r\n", "503 5.5.1"},
		"EXT-13 DATA after an empty chunk": {"BDAT 0\r\nDATA\r\n", "250", "503 5.5.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, &Server{})
			c := r.begin(t)
			c.say("BDAT 3\r\na\r\n" + between[0] + "BDAT 3 LAST\r\nb\r\n")
			c.want(append(append([]string{"250 2.0.0 go on"}, between[1:]...), "250 2.0.0 taken")...)
			m := r.all()
			if len(m) != 1 || len(m[0].Recipients) != 1 || cut(t, m[0].content) != "a\r\nb\r\n" {
				t.Errorf("%+v", m)
			}
		})
	}
	t.Run("EXT-13 RSET ends it", func(t *testing.T) {
		r := start(t, &Server{})
		c := r.begin(t)
		c.say("BDAT 3\r\na\r\nRSET\r\nDATA\r\n" + envelope[len("EHLO me\r\n"):] + "DATA\r\n")
		c.want("250", "250", "503", "250", "250", "354")
		c.say("b\r\n.\r\n")
		c.want("250")
		if m := r.all(); len(m) != 1 || cut(t, m[0].content) != "b\r\n" {
			t.Errorf("%+v", m)
		}
	})
}

// TestReceived looks at the trace field.
func TestReceived(t *testing.T) {
	r := start(t, &Server{})
	c := r.begin(t)
	c.say("DATA\r\n")
	c.want("354")
	c.say(".\r\n")
	c.want("250")
	c.say("HELO [192.0.2.7]\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
	c.want("250", "250", "250", "354")
	c.say(".\r\n")
	c.want("250")
	for i, want := range []string{
		`^Received: from me \(\[127\.0\.0\.1\]\)\r\n\tby relay\.example\.net with ESMTP id [0-9a-z]{13}\r\n\tfor <b@example\.com>;\r\n\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n$`,
		`^Received: from \[192\.0\.2\.7\] \(\[127\.0\.0\.1\]\)\r\n\tby relay\.example\.net with SMTP id [0-9a-z]+`,
	} {
		if got := r.all()[i].content; !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%q does not match %s", got, want)
		}
	}
}
