package smtp

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func readerOf(src io.Reader) *reader {
	return &reader{src: src, limits: limits{lineKept: 2048, lineRead: 10_000, lines: 8, replyBytes: 256 << 10, sessionBytes: 64 << 20}}
}

// readAll reads replies until the first error.
func readAll(r *reader) (list []Reply, err error) {
	for {
		rep, err := r.reply(form{utf8: true})
		if err != nil {
			return list, err
		}
		list = append(list, rep)
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"220 hello\r\n", "250-a\r\n250-b\r\n250 c\r\n", "250\r\n354 \r\n", "550 5.1.1 no\r\n250 x\r\n", "250-a\r\n550 b\r\n",
		"250 ok\n", "250 a\rb\r\n", "999 x\r\n", "25\r\n", "250 " + strings.Repeat("x", 5000) + "\r\n421 2.0.0 x\r\n", "551 <jö@e>\r\n",
		strings.Repeat("250-x\r\n", 20), "250 " + strings.Repeat("y", 4091) + "\r\n250 z\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readAll(readerOf(bytes.NewReader(data)))
		if err == nil {
			t.Fatal("no end")
		}
		slow, slowErr := readAll(readerOf(iotest.OneByteReader(bytes.NewReader(data))))
		if len(got) != len(slow) || err.Error() != slowErr.Error() {
			t.Fatalf("%d replies and %v at once, %d and %v octet by octet", len(got), err, len(slow), slowErr)
		}
		for i, rep := range got {
			if rep != slow[i] {
				t.Errorf("%+v at once, %+v octet by octet", rep, slow[i])
			}
			checkReply(t, rep)
		}
		// No reply depends on the one before: each is the same without it.
		if len(got) > 1 {
			r := readerOf(bytes.NewReader(data))
			if _, err := r.reply(form{utf8: true}); err != nil {
				t.Fatal(err)
			}
			rest := data[len(data)-r.buffered()-remaining(r.src):]
			next := readerOf(bytes.NewReader(rest))
			next.begun, next.lenient = true, r.lenient // how lines end is settled by the first of a session
			again, _ := readAll(next)
			if len(again) != len(got)-1 || again[0] != got[1] {
				t.Errorf("%+v after another, %+v alone", got[1], again)
			}
		}
	})
}

func remaining(r io.Reader) int { return r.(*bytes.Reader).Len() }

func checkReply(t *testing.T, rep Reply) {
	t.Helper()
	if rep.Code < 200 || rep.Code > 599 || rep.Class() == 1 {
		t.Errorf("code %d", rep.Code)
	}
	if rep.Enhanced != "" && (int(rep.Enhanced[0]-'0') != rep.Class() || rep.Class() == 3 || !strings.Contains(rep.Text, rep.Enhanced)) {
		t.Errorf("status %q in %+v", rep.Enhanced, rep)
	}
	if n := len(rep.Lines()); n > 8 || len(rep.Text) > maxText {
		t.Errorf("%d lines, %d octets", n, len(rep.Text))
	}
	if strings.ContainsFunc(rep.Text, func(c rune) bool { return c < 0x20 && c != '\n' || 0x7f <= c && c < 0xa0 }) {
		t.Errorf("control characters in %q", rep.Text)
	}
}

func FuzzExtensions(f *testing.F) {
	f.Add("h\nPIPELINING\nSIZE 1000\nAUTH PLAIN LOGIN\nLIMITS RCPTMAX=2")
	f.Add("SIZE\nsize 18446744073709551616\nX-\nAUTH=LOGIN\n\n \n-A b\nDSN DSN")
	f.Fuzz(func(t *testing.T, text string) {
		x := parseExtensions(text)
		if len(x.Auth) > maxMechanisms || x.MaxSize < 0 || !x.ESMTP {
			t.Errorf("%+v", x)
		}
		first, _, _ := strings.Cut(text, "\n")
		if x.Greeting != "" && !strings.HasPrefix(first, x.Greeting) {
			t.Errorf("greeting %q", x.Greeting)
		}
		for _, m := range x.Auth {
			if m != strings.ToUpper(m) || strings.ContainsAny(m, " \n") {
				t.Errorf("mechanism %q", m)
			}
		}
	})
}

func FuzzLimits(f *testing.F) {
	for _, s := range []string{"", "RCPTMAX=2", "MAILMAX=10 RCPTMAX=0", "A=B;C", "RCPTMAX=2 RCPTMAX=3", " RCPTMAX=1", "RCPTDOMAINMAX=999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := parseLimits(s)
		for _, n := range []int{l.MailMax, l.RcptMax, l.RcptDomainMax} {
			if n < 0 || n > 999_999 {
				t.Errorf("%+v of %q", l, s)
			}
		}
		if l != parseLimits(strings.ToLower(s)) {
			t.Errorf("case matters in %q", s)
		}
		if (l != ServerLimits{}) && strings.ContainsAny(s, ";\r\n\t") {
			t.Errorf("%+v of %q", l, s)
		}
	})
}

// FuzzStuffing sends content in pieces of any size and takes the dots out
// again, as a server does.
func FuzzStuffing(f *testing.F) {
	f.Add([]byte("a\r\n.\r\n..b\r\n"), []byte{1})
	f.Add([]byte("."), []byte{})
	f.Add([]byte("a\r\n.\nb\r\n"), []byte{3, 1})
	f.Add([]byte("\r\n\r\n.\r"), []byte{2, 2})
	f.Fuzz(func(t *testing.T, content, cuts []byte) {
		var d stuffer
		var wire []byte
		for rest := content; len(rest) > 0; {
			n := len(rest)
			if len(cuts) > 0 {
				n, cuts = min(n, int(cuts[0])+1), cuts[1:]
			}
			for part := rest[:n]; len(part) > 0; {
				k, dot, err := d.next(part)
				if err != nil {
					if !bare(content) {
						t.Fatalf("%v of %q", err, content)
					}
					return
				}
				wire = append(wire, part[:k]...)
				if dot {
					wire = append(wire, '.')
				}
				part = part[k:]
			}
			rest = rest[n:]
		}
		end, err := d.end()
		if (err != nil) != bare(content) {
			t.Fatalf("%v of %q", err, content)
		}
		if err != nil {
			return
		}
		want := string(content)
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if got := unstuff(t, string(wire)+end); got != want {
			t.Errorf("%q became %q", want, got)
		}
	})
}

// bare reports whether a CR or LF stands alone in content.
func bare(content []byte) bool {
	return strings.ContainsAny(strings.ReplaceAll(string(content), "\r\n", ""), "\r\n")
}

// unstuff is what a server makes of what comes after 354.
func unstuff(t *testing.T, wire string) string {
	t.Helper()
	var b strings.Builder
	for {
		line, rest, ok := strings.Cut(wire, "\r\n")
		switch {
		case !ok:
			t.Fatalf("no end of the content in %q", wire)
		case line == ".":
			if rest != "" {
				t.Fatalf("%q after the end", rest)
			}
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
		wire = rest
	}
}
