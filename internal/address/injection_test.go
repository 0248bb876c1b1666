package address_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// TestKnownAttacks are inputs that misled other programs. What is taken must go
// to the domain, and be written as the path, given here; the rest is refused.
func TestKnownAttacks(t *testing.T) {
	cases := []struct{ name, in, domain, path string }{
		{"nodemailer before 7.0.7: a quoted @", `"xclow3n@gmail.com x"@internal.domain`,
			"internal.domain", `"xclow3n@gmail.com x"@internal.domain`},
		{"nodemailer: two quoted mailboxes", `"a@evil.test","b"@e.test`, "", ""},
		{"nodemailer: a comment", `a(@evil.test)@e.test`, "", ""},
		{"CVE-2025-14874 nodemailer: nested groups", strings.Repeat("g0:", 300) + "a@e.test;", "", ""},
		{"CVE-2026-30227 MimeKit: CR LF in a quoted part", "\"a\r\nRCPT TO:<x@evil.test>\r\nb\"@e.test", "", ""},
		{"CVE-2026-30227 MimeKit: CR LF quoted one by one", "\"a\\\r\\\nDATA\\\r\\\n\"@e.test", "", ""},
		{"CVE-2025-59937 go-mail: a parameter in quotes", `"a> ORCPT=admin"@e.test`, "e.test", `"a> ORCPT=admin"@e.test`},
		{"CVE-2025-59937 go-mail: the quote of a quoted part left out", `a@evil.test> ORCPT="@e.test`, "", ""},
		{"CVE-2025-59937 go-mail: a bracket in the domain", "a@evil.test>.e.test", "", ""},
		{"CVE-2025-59937 go-mail: a quote inside the quotes", `"toni.tester@example.com> ORCPT=\"admin@x.test"@e.test`,
			"e.test", `"toni.tester@example.com> ORCPT=\"admin@x.test"@e.test`},
		{"async-smtp 44: a control character in the local part", "a\x01b@e.test", "", ""},
		{"async-smtp 44: in the domain", "a@e\x1b.test", "", ""},
		{"async-smtp 44: LF in the reverse-path", "a@e.test\nRCPT TO:<b@e.test>", "", ""},
		{"CVE-2015-9096 Ruby: CR alone", "a@e.test\rDATA", "", ""},
		{"CVE-2025-7962 Jakarta Mail: CR LF in the path", "a@e.test\r\nDATA\r\n", "", ""},
		{"letters whose lower octets are CR LF stay letters", "a\u010d\u010a@e.test", "e.test", "a\u010d\u010a@e.test"},
		{"overlong UTF-8 for LF", "a\xc0\x8ab@e.test", "", ""},
		{"a surrogate", "a\xed\xa0\x80@e.test", "", ""},
		{"a C1 control in two octets", "a\u0085b@e.test", "", ""},
		{"a paragraph separator", "a\u2029b@e.test", "", ""},
		{"CR alone in quotes", "\"a\rb\"@e.test", "", ""},
		{"DEL in quotes", "\"a\x7fb\"@e.test", "", ""},
		{"a backslash before half a character", "\"a\\\u00e9\"@e.test", "", ""},
		{"a tab in quotes", "\"a\tb\"@e.test", "", ""},
		{"a full-width @", "a＠evil.test@e.test", "e.test", "a＠evil.test@e.test"},
		{"a route that hides the domain", "@e.test:a@evil.test@e.test", "", ""},
		{"a percent hack is its host's to read", "a%evil.test@e.test", "e.test", "a%evil.test@e.test"},
		{"so is a bang path", "evil.test!a@e.test", "e.test", "evil.test!a@e.test"},
		{"and what looks like an option", "-oQ/tmp@e.test", "e.test", "-oQ/tmp@e.test"},
	}
	for _, c := range cases {
		t.Run("SMTP-10 "+c.name, func(t *testing.T) {
			m, err := address.Parse(c.in)
			if c.path == "" {
				if err == nil {
					t.Fatalf("Parse(%q) = %q, want an error", c.in, m)
				}
				if _, err = address.ParseReverse(c.in); err == nil {
					t.Fatal("taken as a reverse-path")
				}
				checkError(t, err, "5.1.7")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Domain().String() != c.domain || m.String() != c.path {
				t.Errorf("Parse(%q) goes to %q as %q, want %q as %q", c.in, m.Domain(), m, c.domain, c.path)
			}
		})
	}
}

// TestAppend: a command is built in place, behind what is there already.
func TestAppend(t *testing.T) {
	cases := []struct{ name, in, utf8, ascii string }{
		{"plain", "u@E.test", "<u@E.test", "<u@E.test"},
		{"quoted", `"a b"@e.test`, `<"a b"@e.test`, `<"a b"@e.test`},
		{"the null reverse-path", "", "<", "<"},
		{"I18N-7 a domain beyond ASCII", "u@bücher.test", "<u@bücher.test", "<u@xn--bcher-kva.test"},
		{"I18N-9 a local part beyond ASCII", "jö@e.test", "<jö@e.test", "<"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := address.ParseReverse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(m.AppendTo([]byte("<"))); got != c.utf8 {
				t.Errorf("AppendTo gives %q, want %q", got, c.utf8)
			}
			if got := string(m.AppendASCII([]byte("<"))); got != c.ascii {
				t.Errorf("AppendASCII gives %q, want %q", got, c.ascii)
			}
		})
	}
}
