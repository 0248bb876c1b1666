package address_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// FuzzParse holds whatever is taken for a mailbox to what a command line needs.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"u@e.test", "<u@e.test>", `"a b"@e.test`, `"a@b\">"@[192.0.2.1]`, "<@x.test,@y.test:u@d.test>",
		"jo\u0308@bücher.test", "u@[IPv6:::ffff:192.0.2.1]", "a@b\r\nDATA", "..a..@a_b.-c-.test", "u@XN--Bcher-KVA.test.", `"\\\""@a`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := address.Parse(s)
		if err != nil {
			ae, ok := errors.AsType[*address.Error](err)
			if !ok {
				t.Fatalf("Parse(%q): %T, want an *address.Error", s, err)
			}
			checkError(t, err, ae.Enhanced)
			return
		}
		out, key := m.String(), m.Key()
		checkPath(t, out)
		checkSame(t, m, out)
		checkSame(t, m, key.String())
		ascii, ok := m.ASCII()
		if ok == m.NeedsUTF8() || ok == (ascii == "") {
			t.Fatalf("%q: ASCII %q, %t, NeedsUTF8 %t", s, ascii, ok, m.NeedsUTF8())
		}
		if ok {
			checkPath(t, ascii)
			checkSame(t, m, ascii)
			if strings.ContainsFunc(ascii, func(r rune) bool { return r >= utf8.RuneSelf }) {
				t.Fatalf("ASCII form %q", ascii)
			}
		}
		if back, err := address.ParseReverse(s); err != nil || back != m {
			t.Fatalf("%q as a reverse-path: %q, %v", s, back, err)
		}
	})
}

// checkSame wants a spelling to mean the mailbox it came from.
func checkSame(t *testing.T, m address.Mailbox, spelling string) {
	t.Helper()
	again, err := address.Parse(spelling)
	if err != nil {
		t.Fatalf("%q was %q, which is refused: %v", m, spelling, err)
	}
	if again.Key() != m.Key() || again.Local() != m.Local() || again.Domain() != m.Domain() {
		t.Fatalf("%q came back as %q, %q at %q", spelling, again, again.Local(), again.Domain())
	}
}

// checkPath reads a mailbox as a server would, and wants nothing in it that ends
// the path, the command or the quotes.
func checkPath(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		t.Fatalf("%q has a control character, or is not UTF-8", s)
	}
	inQuotes, at := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			inQuotes = !inQuotes
		case inQuotes && c == '\\':
			i++
		case inQuotes:
		case c == '@':
			at++
		case c <= ' ', c == '<', c == '>', c == ',', c == '\\':
			t.Fatalf("%q has %q outside of quotes", s, c)
		}
	}
	if inQuotes || at != 1 {
		t.Fatalf("%q has %d at signs, or a quote without its fellow", s, at)
	}
}

// FuzzParseDomain holds names to DNS's limits, in every form they are given.
func FuzzParseDomain(f *testing.F) {
	for _, s := range []string{
		"e.test", "E.TEST.", "bücher.test", "xn--bcher-kva.test", "[192.0.2.1]", "[IPv6:::1]", "ישראל.test", "xn--a", "a_b.c", "İ",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if host, err := address.ParseHost(s); err == nil {
			checkName(t, host)
			if again, err := address.ParseHost(host + "."); err != nil || again != host {
				t.Fatalf("host %q came back as %q, %v", host, again, err)
			}
		}
		d, err := address.ParseDomain(s)
		if err != nil {
			return
		}
		for _, form := range []string{d.String(), d.Unicode()} {
			if again, err := address.ParseDomain(form); err != nil || again != d {
				t.Fatalf("%q was %q, which came back as %q, %v", s, form, again, err)
			}
		}
		if _, literal := d.Literal(); literal {
			return
		}
		checkName(t, d.String())
		if host, err := address.ParseHost(s); err != nil || host != d.String() {
			t.Fatalf("domain %q, host %q, %v", d, host, err)
		}
	})
}

func checkName(t *testing.T, name string) {
	t.Helper()
	if len(name) > 253 {
		t.Fatalf("a name of %d characters", len(name))
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("%q has the label %q", name, label)
		}
	}
}
