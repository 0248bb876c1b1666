package dsn_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/internal/dsn"
)

// FuzzReport: whatever hosts replied, however the message and the addresses
// look, the report can be read by who reads strictly.
func FuzzReport(f *testing.F) {
	f.Add("u@e.test", "a@from.test", "", "", "no such user", 550, "5.1.1", original)
	f.Add("\"a b\"@[192.0.2.1]", "@a,@b:u@d.test", "rfc822", "x\r\ny", "a\nb\r\n\x1b", 421, "9.9", "--TOKEN0\n\r\r\n")
	f.Add("j\u00f6@b\u00fc.test", "\u00f6@d.test", "utf-8", "\u00f6", "", 0, "", "Message-ID: <x\r\n y>\r\n\xff\r\n\r\n")
	f.Fuzz(func(t *testing.T, address, to, kind, orig, text string, code int, status, content string) {
		for _, max := range []int64{0, 1 << 20} {
			r := report(content)
			r.To, r.MaxFull, r.EnvelopeID = to, max, orig
			r.Recipients = []dsn.Recipient{
				{Address: address, OriginalType: kind, Original: orig, Status: status, Remote: to, Code: code, Text: text},
				{Address: address, Action: dsn.Delayed, Text: text, RetryUntil: r.Date},
			}
			if got := read(t, r); len(got.Recipients) != 2 {
				t.Errorf("%d recipients", len(got.Recipients))
			}
		}
	})
}
