package smtpd

import (
	"fmt"
	"strings"
	"testing"
)

// TestTrustedSyntax: what devices and scripts write instead of the grammar is taken of
// clients that are trusted, and means what it looks like.
func TestTrustedSyntax(t *testing.T) {
	const from, to = "alice@example.org", "bob@example.com"
	for _, c := range []struct{ name, hello, mail, rcpt, from, to string }{
		{"no brackets", "HELO scanner", "MAIL FROM:alice@example.org", "RCPT TO:bob@example.com", from, to},
		{"no brackets, blanks behind the colon", "EHLO scanner", "MAIL FROM:  alice@example.org", "RCPT TO:\tbob@example.com", from, to},
		{"no brackets, blanks at the end", "HELO x", "MAIL FROM:alice@example.org \t", "RCPT TO:bob@example.com ", from, to},
		{"no brackets, parameters", "EHLO x", "MAIL FROM:alice@example.org SIZE=100  BODY=8BITMIME", "RCPT TO:bob@example.com NOTIFY=NEVER", from, to},
		{"no brackets, quotes", "EHLO x", `MAIL FROM:"a b"@example.org SIZE=1`, `RCPT TO:"b> NOTIFY=NEVER"@example.com`, `"a b"@example.org`, `"b> NOTIFY=NEVER"@example.com`},
		{"no brackets, a source route", "HELO x", "MAIL FROM:@x.example:alice@example.org", "RCPT TO:@x.example,@y.example:bob@example.com", from, to},
		{"no brackets, dots and underscores", "HELO my_pc", "MAIL FROM:.alice.@my_host.example.org", "RCPT TO:bob..b@example.com", ".alice.@my_host.example.org", "bob..b@example.com"},
		{"blanks within the brackets", "HELO x", "MAIL FROM:< alice@example.org >", "RCPT TO:<bob@example.com >", from, to},
		{"blanks around the colon", "HELO x", "MAIL FROM : <alice@example.org>", "RCPT TO :bob@example.com", from, to},
		{"no blank before a parameter", "EHLO x", "MAIL FROM:<alice@example.org>SIZE=10", "RCPT TO:<bob@example.com>", from, to},
		{"small letters", "helo x", "mail from:<alice@example.org> size=10 body=8bitmime", "rcpt to:<bob@example.com> notify=never", from, to},
		{"hints of no sense", "EHLO x", "MAIL FROM:<alice@example.org> SIZE=big BODY=8BIT", "RCPT TO:<bob@example.com>", from, to},
		{"empty hints", "EHLO x", "MAIL FROM:<alice@example.org> SIZE= BODY", "RCPT TO:<bob@example.com>", from, to},
		{"parameters after HELO", "HELO x", "MAIL FROM:<alice@example.org> SIZE=10", "RCPT TO:<bob@example.com> NOTIFY=NEVER", from, to},
		{"a tab behind a path without brackets", "EHLO x", "MAIL FROM:alice@example.org\tSIZE=1", "RCPT TO:bob@example.com\tNOTIFY=NEVER", from, to},
		{"a quote in quotes, no brackets", "EHLO x", `MAIL FROM:"a\" b"@example.org SIZE=1`, `RCPT TO:"c\" d"@example.com`, `"a\" b"@example.org`, `"c\" d"@example.com`},
		{"a quote in quotes, and a bracket", "EHLO x", `MAIL FROM:<"a\">"@example.org> SIZE=1`, `RCPT TO:<"c\">"@example.com>`, `"a\">"@example.org`, `"c\">"@example.com`},
		{"a colon in quotes", "EHLO x", `MAIL FROM:<"a:b"@example.org>`, `RCPT TO:<"c:d"@example.com>`, `"a:b"@example.org`, `"c:d"@example.com`},
		{"no name", "HELO", "MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.com>", from, to},
		{"a name of several words", "EHLO HP Office Jet (2nd floor)", "MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.com>", from, to},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, &Server{Trusted: everybody})
			s := r.dial(t)
			s.want("220")
			s.say(c.hello + "\r\n" + c.mail + "\r\n" + c.rcpt + "\r\nDATA\r\n")
			s.want("250", "250", "250", "354")
			s.say("Subject: scan\r\n\r\nbody\r\n.\r\nQUIT\r\n")
			s.want("250", "221", "")
			if m := r.all()[0]; m.From != c.from || m.Recipients[0].Address != c.to {
				t.Errorf("from %q to %q", m.From, m.Recipients[0].Address)
			}
		})
	}
	for _, c := range []struct{ name, mail, want string }{
		{"nothing at all", "MAIL FROM:", "501 5.5.4"},
		{"a bracket without its fellow", "MAIL FROM:<alice@example.org", "501 5.5.4"},
		{"the other bracket", "MAIL FROM:alice@example.org>", "553 5.1.7"},
		{"a name before the brackets", "MAIL FROM:Alice <alice@example.org>", "555 5.5.4"},
		{"no colon", "MAIL FROM <alice@example.org>", "501 5.5.4"},
		{"a second path", "MAIL FROM:alice@example.org bob@example.org", "555 5.5.4"},
		{"a parameter that is not offered", "MAIL FROM:alice@example.org BY=1;R", "555 5.5.4"},
		{"a backslash outside quotes", `MAIL FROM:alice\ FOO=1`, "555 5.5.4"},
		{"a parameter twice", "MAIL FROM:<alice@example.org> SIZE=1 size=2", "501 5.5.4"},
		{"lines that are none", "MAIL FROM:<alice@example.org> BODY=BINARYMIME", "501 5.5.4"},
		{"a DSN parameter of no sense", "MAIL FROM:<alice@example.org> RET=SOME", "501 5.5.4"},
	} {
		t.Run("refused with the reason: "+c.name, func(t *testing.T) {
			s := start(t, &Server{Trusted: everybody}).dial(t)
			s.say("EHLO x\r\n" + c.mail + "\r\n")
			s.want("220", "250", c.want)
		})
	}
	t.Run("a stranger keeps to the grammar", func(t *testing.T) {
		s := start(t, &Server{}).dial(t)
		s.say("EHLO x\r\nMAIL FROM:alice@example.org\r\nMAIL FROM:<alice@example.org>SIZE=1\r\nMAIL FROM :<alice@example.org>\r\n")
		s.want("220", "250", "501 5.5.4", "501 5.5.4", "501 5.5.4")
	})
}

// TestHelloNames: whatever a client calls itself, our Received field is one field of
// ASCII, and says where the client is.
func TestHelloNames(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"client.example.org", "client.example.org"},
		{"My_PC-", "My_PC-"},
		{"My-PC.Example.ORG", "My-PC.Example.ORG"},
		{"[192.0.2.7]", "[192.0.2.7]"},
		{"[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
		{"[::1]", "[::1]"},
		{"::1", "::1"},
		{"192.0.2.7", "192.0.2.7"},
		{"[IPv6:fe80::1%eth0]", "[IPv6:fe80::1?eth0]"},
		{"m\xc3\xbcller-pc", "xn--mller-pc-65a"},
		{"m\xfcller-pc", "m?ller-pc"},
		{"m\xc3\xbcller_pc", "m??ller_pc"},
		{"\xff\xfe", "[127.0.0.1]"},
		{"", "[127.0.0.1]"},
		{"()", "[127.0.0.1]"},
		{"me) by evil (", "me??by?evil??"},
		{"a;b\x00c\x1bd\tf", "a?b?c?d?f"},
		{strings.Repeat("x", 300), strings.Repeat("x", 255)},
	} {
		t.Run(fmt.Sprintf("%.40q", c.name), func(t *testing.T) {
			r := start(t, &Server{Trusted: everybody})
			s := r.dial(t)
			s.say("EHLO " + c.name + "\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
			s.want("220", "250", "250", "250", "354")
			s.say("Subject: s\r\n\r\nplain\r\n.\r\n")
			s.want("250")
			got := r.all()[0].content
			if !strings.HasPrefix(got, "Received: from "+c.want+" ([127.0.0.1])\r\n\tby relay.example.net with ESMTP ") || !isASCII(got) {
				t.Errorf("%q", got)
			}
		})
	}
	t.Run("a stranger's is something like a name", func(t *testing.T) {
		s := start(t, &Server{}).dial(t)
		s.say("EHLO\r\nEHLO a b\r\nEHLO " + strings.Repeat("x", 256) + "\r\nEHLO my_pc\r\nEHLO m\xfcller\r\n")
		s.want("220", "501", "501", "501", "250", "250")
	})
}

// TestForClause: the recipient stands in the Received field in ASCII or not at all.
func TestForClause(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, c := range []struct{ to, want string }{
		{"<b@example.com>", "for <b@example.com>;"},
		{"<b@b\xc3\xbccher.example>", "for <b@xn--bcher-kva.example>;"},
		{"<b\xc3\xb6b@example.com>", ""},
		{`<"a b"@b` + "\xc3\xbccher.example>", `for <"a b"@xn--bcher-kva.example>;`},
		{"<.b..b.@example.com>", `for <".b..b."@example.com>;`},
		{"<.b@example.com>", `for <".b"@example.com>;`},
		{"<b.@example.com>", `for <"b."@example.com>;`},
		{"<b..c@example.com>", `for <"b..c"@example.com>;`},
		{`<"b..c"@example.com>`, `for <"b..c"@example.com>;`},
		{"<" + long[:256-len("@example.com")] + "@example.com>", "for <" + long[:256-len("@example.com")] + "@example.com>;"},
		{"<" + long[:257-len("@example.com")] + "@example.com>", ""},
		{"<" + long + "@example.com>", ""},
		{"<b@Example.COM.>", "for <b@Example.COM.>;"},
	} {
		t.Run(fmt.Sprintf("%.40q", c.to), func(t *testing.T) {
			r := start(t, &Server{})
			s := r.dial(t)
			s.say("EHLO me\r\nMAIL FROM:<a@example.org> SMTPUTF8\r\nRCPT TO:" + c.to + "\r\nDATA\r\n")
			s.want("220", "250", "250", "250", "354")
			s.say("Subject: s\r\n\r\nplain\r\n.\r\n")
			s.want("250")
			got := r.all()[0].content
			if !isASCII(got) || !strings.Contains(got, c.want) || c.want == "" && strings.Contains(got, "for <") || !strings.Contains(got, " with UTF8SMTP id ") {
				t.Errorf("%q", got)
			}
		})
	}
}
