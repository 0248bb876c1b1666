package compose

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var origin = Origin{Address: "user@host.example", Name: "A User", Host: "host.example", Now: time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)}

// complete is a message that was completed, and its recipients.
func complete(t *testing.T, text string, dot bool) (out string, to []string) {
	t.Helper()
	in := bufio.NewReader(iotest.OneByteReader(strings.NewReader(text)))
	h, err := ReadHeader(in)
	if err != nil {
		t.Fatal(err)
	}
	if to, err = h.Recipients(); err != nil {
		t.Fatal(err)
	}
	h.Complete(origin)
	var b strings.Builder
	if _, err := h.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if err := CopyBody(&b, in, dot); err != nil {
		t.Fatal(err)
	}
	return b.String(), to
}

const (
	whole = "From: a@e.example\r\nDate: x\r\nMessage-ID: <y@z>\r\n"
	lines = "From: a@e.example\nDate: x\nMessage-ID: <y@z>\n"
)

func TestMessagesOfPrograms(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		dot  bool
		want string
		to   []string
	}{
		"nothing is missing":            {lines + "\nbody\n", false, whole + "\r\nbody\r\n", nil},
		"CRLF":                          {whole + "\r\nbody\r\n", false, whole + "\r\nbody\r\n", nil},
		"CRLF in the header alone":      {whole + "\r\nbody\nmore\n", false, whole + "\r\nbody\r\nmore\r\n", nil},
		"no end of the last line":       {lines + "\nbody", false, whole + "\r\nbody\r\n", nil},
		"no body":                       {lines, false, whole + "\r\n", nil},
		"a header without an end":       {strings.TrimSuffix(lines, "\n"), false, whole + "\r\n", nil},
		"no empty line":                 {lines + "a text: with no field\n", false, whole + "\r\na text: with no field\r\n", nil},
		"the line of a mailbox":         {"From root Mon Mar  2 09:30:00 2026\n" + lines + "\nbody\n", false, whole + "\r\nbody\r\n", nil},
		"lines of mailboxes":            {">From a Mon Mar  2 09:30:00 2026\nFrom b Mon Mar  2 09:30:00 2026\n" + lines + "\nbody\n", false, whole + "\r\nbody\r\n", nil},
		"such a line further down":      {lines + "From here on: text\nbody\n", false, whole + "\r\nFrom here on: text\r\nbody\r\n", nil},
		"such a line in the body":       {lines + "\nFrom here on\n>From there\n", false, whole + "\r\nFrom here on\r\n>From there\r\n", nil},
		"a byte order mark":             {"\ufeff" + lines + "To: b@e.example\n\nbody\n", false, whole + "To: b@e.example\r\n\r\nbody\r\n", []string{"b@e.example"}},
		"a mark and a mailbox":          {"\ufeffFrom a Mon Mar  2 09:30:00 2026\n" + lines + "\n\ufeffbody\n", false, whole + "\r\n\ufeffbody\r\n", nil},
		"Bcc":                           {lines + "To: b@e.example\nBcc: c@e.example,\n d@e.example\nSubject: s\n\nx\n", false, whole + "To: b@e.example\r\nSubject: s\r\n\r\nx\r\n", []string{"b@e.example", "c@e.example", "d@e.example"}},
		"Return-Path":                   {"Return-Path: <x@y>\n" + lines + "\n", false, whole + "\r\n", nil},
		"a dot alone":                   {lines + "\na\n.\nb\n", false, whole + "\r\na\r\n.\r\nb\r\n", nil},
		"a dot that ends it":            {lines + "\na\n.\nb\n", true, whole + "\r\na\r\n", nil},
		"a dot that ends it, with CRLF": {lines + "\na\r\n.\r\nb\n", true, whole + "\r\na\r\n", nil},
		"dots that end nothing":         {lines + "\n..\n.a\na.\n", true, whole + "\r\n..\r\n.a\r\na.\r\n", nil},
		"a dot at the end of the input": {lines + "\na\n.", true, whole + "\r\na\r\n", nil},
		"each recipient once":           {lines + "To: b@e.example, b@e.example\nCc: b@e.example\nto: C <c@e.example>\n\n", false, whole + "To: b@e.example, b@e.example\r\nCc: b@e.example\r\nto: C <c@e.example>\r\n\r\n", []string{"b@e.example", "c@e.example"}},
		"sent on":                       {lines + "To: b@e.example\nResent-To: c@e.example\nResent-Bcc: d@e.example\n\n", false, whole + "To: b@e.example\r\nResent-To: c@e.example\r\n\r\n", []string{"c@e.example", "d@e.example"}},
		"a bare CR in the body":         {lines + "\na\rb\n", false, whole + "\r\na\rb\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if out, to := complete(t, c.text, c.dot); out != c.want || !slices.Equal(to, c.to) {
				t.Errorf("%q for %q, want %q for %q", out, to, c.want, c.to)
			}
		})
	}
}

func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, end := range []string{"\n", "\r\n", ""} {
		out, _ := complete(t, lines+"Subject: "+long+end+end+long+"\r"+long+end, false)
		want := whole + "Subject: " + long + "\r\n\r\n" + long + "\r" + long + "\r\n"
		if end == "" {
			want = whole + "Subject: " + long + long + "\r" + long + "\r\n\r\n"
		}
		if out != want {
			t.Errorf("line end %q: %d octets, want %d", end, len(out), len(want))
		}
	}
	if _, err := ReadHeader(bufio.NewReader(strings.NewReader("Subject: " + strings.Repeat(long, 11)))); !errors.Is(err, ErrHeader) {
		t.Errorf("a header of 1.1 MB: %v", err)
	}
	broken := errors.New("broken")
	if _, err := ReadHeader(bufio.NewReader(io.MultiReader(strings.NewReader("To: b"), iotest.ErrReader(broken)))); !errors.Is(err, broken) {
		t.Errorf("input that breaks: %v", err)
	}
	if err := CopyBody(io.Discard, bufio.NewReader(io.MultiReader(strings.NewReader("a"), iotest.ErrReader(broken))), false); !errors.Is(err, broken) {
		t.Errorf("input that breaks: %v", err)
	}
}

func TestFieldsThatAreMissing(t *testing.T) {
	out, _ := complete(t, "Subject: s\n\nbody\n", false)
	head, id, _ := strings.Cut(out, "Message-ID: <")
	if head != "Subject: s\r\nFrom: A User <user@host.example>\r\nDate: Mon, 02 Mar 2026 09:30:00 +0000\r\n" {
		t.Errorf("the header begins %q", head)
	}
	other, _ := complete(t, "Subject: s\n\nbody\n", false)
	if !strings.HasSuffix(id, "@host.example>\r\n\r\nbody\r\n") || other == out {
		t.Errorf("the Message-ID is <%s, and another message's is, too: %t", id, other == out)
	}
}

func TestMailbox(t *testing.T) {
	for name, want := range map[string]string{
		"": "a@b", "CronDaemon": "CronDaemon <a@b>", "A  User\n": "A User <a@b>", `J. "Q" Public`: `"J. \"Q\" Public" <a@b>`,
		"J\u00f6rg":                  "=?utf-8?b?SsO2cmc=?= <a@b>",
		strings.Repeat("\u00f6", 30): "=?utf-8?b?" + strings.Repeat("w7bDtsO2", 7) + "w7Y=?=\r\n =?utf-8?b?w7bDtsO2w7bDtsO2w7bDtg==?= <a@b>",
	} {
		if got := Mailbox(name, "a@b"); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"a@b": "a@b", "a@b, c@d": "a@b c@d", " A <a@b> ,, c@d ,": "a@b c@d", `"B, A" <a@b>`: "a@b", "root": "root",
		"a@b (A (B) C)": "a@b", "(c) a @ b": "a@b", "a . b @ c . d": "a.b@c.d", `"a b"@c`: `"a b"@c`, `"a, b" @ c`: `"a, b"@c`,
		"friends: a@b, C <c@d>;": "a@b c@d", "none:;": "", "none:;, a@b": "a@b", "<@x,@y:a@b>": "a@b", "<@x:a@b>": "a@b",
		"a@[IPv6:::1]": "a@[IPv6:::1]", "A <a@[1.2.3.4]>, b@c": "a@[1.2.3.4] b@c", `A \(x\) <a@b>`: "ERR", `"\"" <a@b>`: "a@b",
		"": "", "\u00e4@\u00f6": "\u00e4@\u00f6", "a@b c@d": "ERR", "a b": "ERR", "<a@b": "ERR", "a@b>": "ERR", `"a@b`: "ERR", "(a@b": "ERR",
		"<a@b> <c@d>": "ERR", "<a <b>>": "ERR", "A <>": "", "(\\": "ERR", `"\`: "ERR", "[": "ERR", "<": "ERR",
	} {
		list, err := Addresses(text)
		got := strings.Join(list, " ")
		if err != nil {
			got = "ERR"
		}
		if want == `"a b"@c` || want == `"a, b"@c` {
			if len(list) != 1 {
				t.Errorf("%q: %q", text, list)
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q (%v)", text, got, want, err)
		}
	}
}

func TestMapAddresses(t *testing.T) {
	qualify := func(a string) string {
		if a == "out@of.the.way" {
			return "here"
		}
		if strings.Contains(a, "@") {
			return a
		}
		return a + "@h.example"
	}
	for value, want := range map[string]string{
		"root": "root@h.example", "root (Cron Daemon)": "root@h.example (Cron Daemon)", "(x) root ": "(x) root@h.example ", "a@b": "a@b",
		`"root, " <root>, b@c , www-data;`: `"root, " <root@h.example>, b@c , www-data@h.example;`, "g: root, A <b>;": "g: root@h.example, A <b@h.example>;",
		"<out @ of.the.way>": "<here>", "out@ of.the.way (x), root": "here (x), root@h.example", `"a b"`: `"a b"@h.example`, "": "", "a b": "a b",
	} {
		if got, _ := MapAddresses(value, qualify); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"a@b, C <c@d>", `"a" (b) <@x:c@d>;`, "g: a, [b];"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := Addresses(s)
		if err != nil && list != nil {
			t.Error("addresses and an error")
		}
		for _, a := range list {
			if a == "" || strings.TrimSpace(a) != a {
				t.Errorf("%q has the address %q", s, a)
			}
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add("a\r\nb\n.\n", true)
	f.Fuzz(func(t *testing.T, s string, dot bool) {
		var b strings.Builder
		if err := CopyBody(&b, bufio.NewReaderSize(strings.NewReader(s), 16), dot); err != nil {
			t.Fatal(err)
		}
		want := ""
		for line := range strings.Lines(s) {
			text := strings.TrimSuffix(line, "\n")
			text = strings.TrimSuffix(text, "\r")
			if dot && strings.TrimRight(line, "\r\n") == "." && len(line) <= 16 {
				break
			}
			want += text + "\r\n"
		}
		if b.String() != want {
			t.Errorf("%q: %q, want %q", s, b.String(), want)
		}
	})
}
