package address_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/address"
)

func TestParse(t *testing.T) {
	cases := []struct{ name, in, out, ascii, local, domain string }{
		{"plain", "u@e.test", "u@e.test", "u@e.test", "u", "e.test"},
		{"SMTP-11 the local part is left alone", "JoHn+T@e.test", "JoHn+T@e.test", "JoHn+T@e.test", "JoHn+T", "e.test"},
		{"SMTP-11 quotes that are needed stay", `"a b"@e.test`, `"a b"@e.test`, `"a b"@e.test`, "a b", "e.test"},
		{"SMTP-11 quotes that are not go", `"abc"@e.test`, "abc@e.test", "abc@e.test", "abc", "e.test"},
		{"SMTP-11 so do needless backslashes", `"a\b\ c"@e.test`, `"ab c"@e.test`, `"ab c"@e.test`, "ab c", "e.test"},
		{"dots in a row", "try..this..0511@e.test", `"try..this..0511"@e.test`, `"try..this..0511"@e.test`, "try..this..0511", "e.test"},
		{"a dot first", ".abc@e.test", `".abc"@e.test`, `".abc"@e.test`, ".abc", "e.test"},
		{"a dot last", "abc.@e.test", `"abc."@e.test`, `"abc."@e.test`, "abc.", "e.test"},
		{"a dot alone", ".@e.test", `"."@e.test`, `"."@e.test`, ".", "e.test"},
		{"dots behind a source route", "@x_1.test:a.@e.test", `"a."@e.test`, `"a."@e.test`, "a.", "e.test"},
		{"dots that are in quotes already", `"abc."@e.test`, `"abc."@e.test`, `"abc."@e.test`, "abc.", "e.test"},
		{"I18N-9 dots beside what is not ASCII", "jö..@e.test", `"jö.."@e.test`, "", "jö..", "e.test"},
		{"MX-13 an underscore in the domain", "bob@My_Host.e.test", "bob@My_Host.e.test", "bob@My_Host.e.test", "bob", "my_host.e.test"},
		{"SMTP-12 a long local part", strings.Repeat("a", 254) + "@e.test", strings.Repeat("a", 254) + "@e.test", strings.Repeat("a", 254) + "@e.test", strings.Repeat("a", 254), "e.test"},
		{"quotes and backslashes", `"a\"b\\"@e.test`, `"a\"b\\"@e.test`, `"a\"b\\"@e.test`, `a"b\`, "e.test"},
		{"MX-6 the domain stays as written", "u@E.Test.", "u@E.Test", "u@E.Test", "u", "e.test"},
		{"MX-11 source route", "@x.test,@y.test:u@d.test", "u@d.test", "u@d.test", "u", "d.test"},
		{"MX-12 literal", "u@[ipv6:2001:DB8::1]", "u@[IPv6:2001:db8::1]", "u@[IPv6:2001:db8::1]", "u", "[IPv6:2001:db8::1]"},
		{"I18N-7 only the domain is not ASCII", "u@b\u00fccher.test", "u@b\u00fccher.test", "u@xn--bcher-kva.test", "u", "xn--bcher-kva.test"},
		{"I18N-9 local parts are opaque", "Jo\u0308@e.test", "Jo\u0308@e.test", "", "Jo\u0308", "e.test"},
		// The domain follows the last unquoted "@" (CVE-2025-14874 and its kin).
		{"quoted at sign", `"a@evil.test"@e.test`, `"a@evil.test"@e.test`, `"a@evil.test"@e.test`, "a@evil.test", "e.test"},
		{"quoted angle bracket", `"a> NOTIFY=NEVER <"@e.test`, `"a> NOTIFY=NEVER <"@e.test`, `"a> NOTIFY=NEVER <"@e.test`, "a> NOTIFY=NEVER <", "e.test"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := address.Parse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			ascii, ok := m.ASCII()
			if m.String() != c.out || ascii != c.ascii || ok != (c.ascii != "") || m.NeedsUTF8() == ok {
				t.Errorf("String %q, ASCII %q %t", m.String(), ascii, ok)
			}
			if m.Local() != c.local || m.Domain().String() != c.domain || m.IsNull() {
				t.Errorf("local part %q, domain %q", m.Local(), m.Domain())
			}
		})
	}
}

func TestKey(t *testing.T) {
	key := func(s string) address.Mailbox {
		m, err := address.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return m.Key()
	}
	t.Run("SMTP-11, MX-14, I18N-3 one mailbox however it is spelled", func(t *testing.T) {
		for _, s := range []string{`"u"@b\u00fccher.test`, "u@XN--BCHER-KVA.test.", "@x.test:u@B\u00dcCHER.TEST"} {
			s = strings.ReplaceAll(s, `\u00fc`, "\u00fc")
			if key(s) != key("u@xn--bcher-kva.test") {
				t.Errorf("%q is another mailbox", s)
			}
		}
	})
	t.Run("SMTP-11 two local parts are two mailboxes", func(t *testing.T) {
		if key("A@e.test") == key("a@e.test") || key(`"a b"@e.test`) == key(`"ab"@e.test`) {
			t.Error("taken for one")
		}
	})
}

func TestBadMailboxes(t *testing.T) {
	cases := []struct{ name, in, status string }{
		{"empty", "", "5.1.3"},
		{"EXT-29 no domain", "postmaster", "5.1.3"},
		{"no local part", "@e.test", "5.1.3"},
		{"empty quoted part", `""@e.test`, "5.1.3"},
		{"two at signs", "a@b@e.test", "5.1.2"},
		{"blank", "a b@e.test", "5.1.3"},
		{"dots and a blank", "a..b c@e.test", "5.1.3"},
		{"dots and a second at sign", ".a.@b.@e.test", "5.1.2"},
		{"open quote", `"a@e.test`, "5.1.3"},
		{"text after the quotes", `"a"b@e.test`, "5.1.3"},
		{"open bracket", "<a@e.test", "5.1.3"},
		{"a second bracket", "<a@e.test> <b@e.test>", "5.1.3"},
		{"comment", "a(c)@e.test", "5.1.3"},
		{"MX-11 broken source route", "@x.test,y.test:u@d.test", "5.1.3"},
		{"MX-13 bad domain", "u@a..b", "5.1.2"},
		{"SMTP-10 CRLF", "a@b\r\nRCPT TO:<x@y>", "5.1.3"},
		{"SMTP-10 CRLF in quotes (CVE-2026-30227)", "\"a\r\nb\"@e.test", "5.1.3"},
		{"SMTP-10 a quoted LF", "\"a\\\nb\"@e.test", "5.1.3"},
		{"SMTP-10 NUL", "a\x00@e.test", "5.1.3"},
		{"SMTP-10 a parameter behind the path (CVE-2025-59937)", "a@e.test> NOTIFY=NEVER", "5.1.2"},
		{"I18N-9 backspace", "a\b@e.test", "5.1.3"},
		{"I18N-9 DEL", "a\x7f@e.test", "5.1.3"},
		{"I18N-9 C1 control", "a\u0085@e.test", "5.1.3"},
		{"I18N-9 line separator", "a\u2028@e.test", "5.1.3"},
		{"I18N-9 not UTF-8", "a\xff@e.test", "5.1.3"},
		{"SMTP-12 endless", strings.Repeat("a", 1000) + "@e.test", "5.1.3"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := address.Parse(c.in)
			var e *address.Error
			if !errors.As(err, &e) || e.Enhanced != c.status {
				t.Fatalf("%q, %v, want status %s", m.String(), err, c.status)
			}
			if len(e.Input) > 400 || strings.ContainsAny(e.Error(), "\r\n\x00\x7f") {
				t.Errorf("the error repeats too much: %q", e.Error())
			}
		})
	}
}

// TestBracketsAndNames is what addresses look like in headers and on the wire: each is
// refused, and told how to make an address of it.
func TestBracketsAndNames(t *testing.T) {
	for in, want := range map[string]string{
		"<u@e.test>":           "has angle brackets; leave them out",
		"<@x.test:u@e.test>":   "has angle brackets; leave them out",
		"<>":                   "has angle brackets; leave them out",
		"Bob <u@e.test>":       "has a display name; use net/mail.ParseAddress and its Address",
		`"Bob <b>" <u@e.test>`: "has a display name; use net/mail.ParseAddress and its Address",
		" <u@e.test>":          "has a display name; use net/mail.ParseAddress and its Address",
		`"u <v"@e.test`:        "",
		`"<u@e.test>"@e.test`:  "",
	} {
		for name, parse := range map[string]func(string) (address.Mailbox, error){"Parse": address.Parse, "ParseReverse": address.ParseReverse} {
			_, err := parse(in)
			if want == "" {
				if err != nil {
					t.Errorf("%s(%q): %v", name, in, err)
				}
				continue
			}
			if e, ok := errors.AsType[*address.Error](err); !ok || e.Reason != want {
				t.Errorf("%s(%q): %v, want %s", name, in, err, want)
			}
		}
	}
}

func TestParseReverse(t *testing.T) {
	if m, err := address.ParseReverse(""); err != nil || !m.IsNull() || m.String() != "" {
		t.Errorf("nothing is %q, %v, want the null reverse-path", m.String(), err)
	}
	_, err := address.ParseReverse("nonsense")
	var e *address.Error
	if !errors.As(err, &e) || e.Enhanced != "5.1.7" {
		t.Errorf("error %v", err)
	}
}

func TestCheckLength(t *testing.T) {
	domain := strings.Repeat(strings.Repeat("b", 60)+".", 3) // of 183 octets
	cases := []struct {
		name, in string
		long     bool
	}{
		{"a local part of 64", strings.Repeat("a", 64) + "@e.test", false},
		{"a local part of 65", strings.Repeat("a", 65) + "@e.test", true},
		{"a local part of 64 octets in 32 characters", strings.Repeat("\u00fc", 32) + "@e.test", false},
		{"a local part of 66 octets in 33 characters", strings.Repeat("\u00fc", 33) + "@e.test", true},
		{"a path of 256", strings.Repeat("a", 10) + "@" + domain + strings.Repeat("c", 60), false},
		{"a path of 257", strings.Repeat("a", 11) + "@" + domain + strings.Repeat("c", 60), true},
	}
	for _, c := range cases {
		t.Run("SMTP-12 "+c.name, func(t *testing.T) {
			m, err := address.Parse(c.in) // takes them all
			if err != nil {
				t.Fatal(err)
			}
			err = m.CheckLength()
			if c.long {
				checkError(t, err, "5.1.3")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAllocations(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = address.Parse("u@e.test") }); n > 0 {
		t.Errorf("%v allocations to parse an ordinary address", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = address.ParseDomain("mail.e.test") }); n > 0 {
		t.Errorf("%v allocations to parse a canonical domain", n)
	}
}

// TestWhatAnAddressLooksLike: the error of what lacks a part of an address shows one.
func TestWhatAnAddressLooksLike(t *testing.T) {
	for _, in := range []string{"bob", "bob@", "@example.com", `"bob"`, ""} {
		_, err := address.Parse(in)
		if err == nil || !strings.Contains(err.Error(), "looks like bob@example.com") && !strings.Contains(err.Error(), "after the quoted part") {
			t.Errorf("%q: %v", in, err)
		}
	}
	_, err := address.ParseDomain("")
	if err == nil || strings.Contains(err.Error(), "bob@") {
		t.Errorf("a domain that is empty: %v, want nothing about an address", err)
	}
}
