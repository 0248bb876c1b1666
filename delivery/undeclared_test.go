package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// oldHeaders are messages with octets beyond ASCII in a header, at the top and in
// parts, as programs have sent them since before SMTPUTF8.
func oldHeaders() map[string]string {
	const top = "From: alice@example.org\r\nTo: bob@example.com\r\n"
	return map[string]string{
		"UTF-8 in a subject":             top + "Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nbody\r\n",
		"Latin-1 in a subject":           top + "Subject: Gr\xfc\xdfe\r\n\r\nbody\r\n",
		"a byte order mark":              "\xef\xbb\xbf" + top + "Subject: s\r\n\r\nbody\r\n",
		"a spam report":                  top + "X-Spam-Report: * 0.1 COST price of \xa3 10\r\nSubject: s\r\n\r\nbody\r\n",
		"a folded field":                 top + "Subject: a\r\n\t\xfc\r\n\r\nbody\r\n",
		"the name of a field":            top + "X-\xdc: 1\r\n\r\nbody\r\n",
		"a name in an address":           "From: J\xf6 <alice@example.org>\r\n\r\nbody\r\n",
		"the name of an attachment":      top + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment; filename=\"Gr\xc3\xbc\xc3\x9fe.txt\"\r\n\r\nbody\r\n--b--\r\n",
		"an attached message":            top + "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\nSubject: \xc3\xbc\r\n\r\nbody\r\n",
		"Shift JIS":                      top + "Subject: \x83\x65\x83\x58\x83\x67\r\n\r\nbody\r\n",
		"KOI8-R in a Received field":     "Received: from \xcd\xc1\xcb by x; Thu, 1 Jan 2026 00:00:00 +0000\r\n" + top + "\r\nbody\r\n",
		"a header alone":                 top + "Subject: \xfc\r\n",
		"a header and an 8-bit body":     top + "Subject: \xfc\r\n\r\n\xe4\xf6\xfc\r\n",
		"an address beyond ASCII, in it": "From: j\xc3\xb6@example.org\r\n\r\nbody\r\n",
		"a domain beyond ASCII, in it":   "From: j@b\xc3\xbccher.example\r\n\r\nbody\r\n",
	}
}

// eightBit is a host that records what it is sent, and what MAIL said, and that does
// not mind octets in headers that nobody declared.
func eightBit(extensions ...string) *smtptest.Host {
	return &smtptest.Host{
		Extensions: append([]string{"PIPELINING", "SIZE 0"}, extensions...),
		Allow:      []smtptest.Rule{smtptest.RuleUTF8Header},
	}
}

// TestUndeclaredHeaders: mail with 8-bit octets in its headers that nobody declared to
// be internationalized is passed on as 8BITMIME, octet for octet, by a Sender and by an
// Agent; what was declared so is what RFC 6531 says.
func TestUndeclaredHeaders(t *testing.T) {
	const (
		old    = "8BITMIME"
		modern = "8BITMIME SMTPUTF8"
		seven  = "DSN"
	)
	for _, c := range []struct {
		name       string
		extensions string
		utf8       bool
		from, to   string
		want       string // enhanced status; empty is delivered
		smtputf8   bool   // is said
	}{
		{"I18N-6 undeclared, to a host with 8BITMIME", old, false, "a@from.test", "u@e.test", "", false},
		{"I18N-6 undeclared, to a host with SMTPUTF8", modern, false, "a@from.test", "u@e.test", "", false},
		{"EXT-12 undeclared, to a host that takes 7 bits", seven, false, "a@from.test", "u@e.test", "5.6.3", false},
		{"I18N-5 declared, to a host with SMTPUTF8", modern, true, "a@from.test", "u@e.test", "", true},
		{"I18N-6, I18N-8 declared, to a host without", old, true, "a@from.test", "u@e.test", "5.6.9", false},
		{"I18N-6, I18N-8 declared by the sender's domain, to a host without", old, false, "a@bücher.test", "u@e.test", "5.6.9", false},
		{"I18N-5 declared by a recipient, to a host with SMTPUTF8", modern, false, "a@from.test", "jö@e.test", "", true},
		{"I18N-6, I18N-8 declared by the sender, to a host without", old, false, "jö@from.test", "u@e.test", "5.6.9", false},
	} {
		for what, content := range oldHeaders() {
			m := &queue.Message{From: c.from, Recipients: []queue.Recipient{{Address: c.to}}, Content: queue.String(content), UTF8: c.utf8}
			check := func(t *testing.T, host *smtptest.Host) {
				t.Helper()
				got := host.Messages()
				if c.want != "" {
					if len(got) != 0 {
						t.Errorf("sent: %q", got[0].Content)
					}
					return
				}
				if len(got) != 1 || string(got[0].Content) != content ||
					!slices.Contains(got[0].Params, "BODY=8BITMIME") || slices.Contains(got[0].Params, "SMTPUTF8") != c.smtputf8 {
					t.Errorf("sent %d times, want once and as it is: %.500q", len(got), fmt.Sprint(got))
				}
			}
			t.Run(c.name+": "+what+", by a Sender", func(t *testing.T) {
				host := eightBit(strings.Fields(c.extensions)...)
				bubble(t, zone, servers(host, host, host), func(t *testing.T, r *rig) {
					r.sender.Content = delivery.ContentRelay
					report := r.send(t, m)
					if rr := &report.Recipients[0]; c.want == "" && rr.Outcome != queue.Delivered || c.want != "" && (rr.Outcome != queue.Failed || rr.Reply.Enhanced != c.want) {
						t.Errorf("%v: %v", rr.Outcome, rr.Err)
					}
					check(t, host)
				})
			})
			if what != "Latin-1 in a subject" && what != "an attached message" {
				continue
			}
			t.Run(c.name+": "+what+", by an Agent", func(t *testing.T) {
				host := eightBit(strings.Fields(c.extensions)...)
				inOffice(t, host, func(o *office) {
					o.submit(m)
					pass(time.Minute)
					check(t, host)
					if failed := o.of(delivery.Failed); c.want == "" && len(failed) > 0 || c.want != "" && (len(failed) == 0 || failed[0].Err.Enhanced != c.want) {
						t.Errorf("failed: %+v, want %q", failed, c.want)
					}
				})
			})
		}
	}
}

// inOffice runs an agent that passes mail on, with one host for e.test.
func inOffice(t *testing.T, host *smtptest.Host, f func(o *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, &smtptest.Internet{
			Zone:  "e.test. MX 10 mx.e.test.\nmx.e.test. A 192.0.2.1\n",
			Hosts: map[string]*smtptest.Host{"mx.e.test": host},
		})
		o.agent.Sender.Content = delivery.ContentRelay
		o.start()
		f(o)
		o.stop()
		host.Check(t)
	})
}

// TestDeclaredForAll: what one recipient's address says of a message holds for all its
// destinations.
func TestDeclaredForAll(t *testing.T) {
	m := &queue.Message{
		From: "a@from.test", Recipients: []queue.Recipient{{Address: "jö@nowhere.test"}, {Address: "u@e.test"}},
		Content: queue.String("Subject: ü\r\n\r\n"),
	}
	for name, c := range map[string]struct {
		extensions []string
		sent       int
	}{
		"I18N-5 where there is SMTPUTF8": {[]string{"8BITMIME", "SMTPUTF8"}, 1},
		"I18N-6 where there is none":     {[]string{"8BITMIME"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			host := eightBit(c.extensions...)
			inOffice(t, host, func(o *office) {
				o.submit(m)
				pass(time.Minute)
				got := host.Messages()
				if len(got) != c.sent || c.sent == 1 && !slices.Contains(got[0].Params, "SMTPUTF8") {
					t.Errorf("sent %d times, want once and as it is: %.500q", len(got), fmt.Sprint(got))
				}
			})
		})
	}
}

// TestUndeclaredReturned: a message with such a header that fails is returned in a
// report that any host takes.
func TestUndeclaredReturned(t *testing.T) {
	for what, content := range oldHeaders() {
		t.Run("DSN-27 "+what, func(t *testing.T) {
			host := &smtptest.Host{Extensions: []string{"PIPELINING"}}
			inOffice(t, host, func(o *office) {
				o.submit(&queue.Message{
					From: "u@e.test", Recipients: []queue.Recipient{{Address: "u@nowhere.test"}}, Content: queue.String(content),
				})
				pass(time.Minute)
				if got := host.Messages(); len(got) != 1 || !strings.Contains(string(got[0].Content), "multipart/report") {
					t.Errorf("%d reports", len(got))
				}
			})
		})
	}
}
