package dsn_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/dsn"
)

// TestOneLine: programs that read reports look for an address or a name in the line of
// its field. Only the reply is known to be continued.
func TestOneLine(t *testing.T) {
	long := strings.Repeat("l", 80) + "." + strings.Repeat("m", 60) + "@" + strings.Repeat("d", 60) + ".e.test"
	host := strings.Repeat("h", 60) + "." + strings.Repeat("i", 60) + ".e.test"
	blanks := `"a` + strings.Repeat(" ", 40) + `b; c"@` + strings.Repeat("d", 60) + ".test"
	for _, c := range []struct {
		name      string
		recipient dsn.Recipient
		want      []string
	}{
		{"DSN-18 a long address", dsn.Recipient{Address: long}, []string{"Final-Recipient: rfc822; " + long}},
		{"DSN-18 blanks in quotes", dsn.Recipient{Address: blanks}, []string{"Final-Recipient: rfc822; " + blanks}},
		{"DSN-18 beyond ASCII", dsn.Recipient{Address: strings.Repeat("\u00f6", 20) + "@e.test"},
			[]string{"Final-Recipient: utf-8; " + strings.Repeat(`\x{F6}`, 20) + "@e.test"}},
		{"DSN-17 a long ORCPT", dsn.Recipient{Address: "u@e.test", OriginalType: "rfc822", Original: long},
			[]string{"Original-Recipient: rfc822; " + long, "Final-Recipient: rfc822; u@e.test"}},
		{"DSN-23 a long host", dsn.Recipient{Address: "u@e.test", Remote: host, Code: 550, Text: "no"},
			[]string{"Remote-MTA: dns; " + host}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := report(original)
			r.Recipients = []dsn.Recipient{c.recipient}
			text := string(raw(t, r))
			for _, line := range c.want {
				if !strings.Contains(text, "\r\n"+line+"\r\n") {
					t.Errorf("no line %q in\n%s", line, text)
				}
			}
			read(t, r)
		})
	}
	t.Run("DSN-11 DSN-14 DSN-15 names of the report", func(t *testing.T) {
		r := report("Message-ID:\r\n <" + long + ">\r\n\r\nbody\r\n")
		r.Reporter, r.ID, r.EnvelopeID = host, "token@"+host, strings.Repeat("e", 90)
		text := string(raw(t, r))
		for _, line := range []string{
			"Message-ID: <token@" + host + ">", "In-Reply-To: <" + long + ">", "References: <" + long + ">",
			"Reporting-MTA: dns; " + host, "Original-Envelope-Id: " + r.EnvelopeID,
		} {
			if !strings.Contains(text, "\r\n"+line+"\r\n") {
				t.Errorf("no line %q in\n%s", line, text)
			}
		}
	})
	t.Run("DSN-10 what no line has room for is continued", func(t *testing.T) {
		for _, n := range []int{950, 972, 973, 974, 2000} {
			r := report(original)
			r.Recipients[0].Address = strings.Repeat("l", n-len("@e.test")) + "@e.test"
			got := read(t, r).Recipients[0].Get("Final-Recipient")
			if strings.ReplaceAll(got, " ", "") != "rfc822;"+r.Recipients[0].Address {
				t.Errorf("%d octets: %q", n, got)
			}
			whole := strings.Contains(string(raw(t, r)), "\r\nFinal-Recipient: rfc822; "+r.Recipients[0].Address+"\r\n")
			if want := n <= 998-len("Final-Recipient: rfc822; "); whole != want {
				t.Errorf("%d octets: on one line: %t, want %t", n, whole, want)
			}
		}
	})
}
