//go:build linux

package peers_test

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// mail is one of the table that every server and every client gets.
type mail struct {
	name    string
	from    string
	to      []string
	subject string
	body    string // with the end of its last line
	utf8    bool   // cannot go without SMTPUTF8
}

// stranger is a recipient that nobody knows.
const stranger = "stranger@e.test"

// large is a body of 10 MiB in which every line is another and dots abound.
var large = sync.OnceValue(func() string {
	var b strings.Builder
	for i := range 10 << 20 / 71 {
		fmt.Fprintf(&b, "%.*s%067d\r\n", i%3, "..", i)
	}
	return b.String()
})

func mails() []mail {
	var fifty []string
	for _, m := range peers.Mailboxes() {
		fifty = append(fifty, m+"@e.test")
	}
	u, fifty := fifty[:1], fifty[2:]
	const from = "a@from.test"
	return []mail{
		{name: "plain", from: from, to: u, body: "Hello.\r\n"},
		{name: "EXT-11 8-bit body", from: from, to: u, body: "caf\u00e9, and in Latin 1: caf\xe9\r\n"},
		{name: "I18N-5, I18N-8 SMTPUTF8", from: "j\u00f6rg@from.test", to: u, subject: "caf\u00e9", body: "caf\u00e9\r\n", utf8: true},
		{name: "SMTP-28, SMTP-29 dots at line starts", from: from, to: u,
			body: ".\r\n..\r\n.a\r\n...\r\n\r\n.\r\n.\r\nQUIT\r\nFrom here\r\n>From there\r\n.\r\n"},
		{name: "50 recipients", from: from, to: fifty, body: "To fifty.\r\n"},
		{name: "SMTP-23 one of three recipients is refused", from: from, to: []string{"u@e.test", stranger, "v@e.test"}, body: "To two of three.\r\n"},
		{name: "SMTP-23 the only recipient is refused", from: from, to: []string{stranger}, body: "To nobody.\r\n"},
		{name: "the null reverse-path", from: "", to: u, body: "From nobody.\r\n"},
		{name: "10 MiB", from: from, to: u, body: large()},
		{name: "plain again", from: from, to: u, body: "Hello again.\r\n"},
	}
}

// text is the content. word is in it, to find it by. It has all that a message should
// have, so that nobody has to add anything.
func (c *mail) text(word string) string {
	return "Message-ID: <" + word + "@from.test>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nFrom: a@from.test\r\nTo: u@e.test\r\n" +
		"Subject: " + cmp.Or(c.subject, "Mail") + "\r\nX-Long: " + strings.Repeat("word ", 30) + "\r\n\tand a second line\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + c.body
}

// token is a word that no other test has.
func token(t *testing.T) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
}

// difference shows where two messages differ, from their ends.
func difference(got, want string) string {
	n := 0
	for n < len(got) && n < len(want) && got[len(got)-1-n] == want[len(want)-1-n] {
		n++
	}
	tail := func(s string) string { s = s[:len(s)-n]; return s[max(0, len(s)-300):] }
	return fmt.Sprintf("above the last %d octets %q, want %q", n, tail(got), tail(want))
}
