//go:build linux

package peers_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// TestDifferences sends what one host of a route takes and another does not.
func TestDifferences(t *testing.T) {
	w := &world{}
	w.newRoot(t)
	w.exim = peers.Exim("127.0.0.3", "exim.e.test", "", "")
	w.postfix = peers.Postfix("127.0.0.2", "postfix.e.test", "", "", `message_size_limit = 20000
smtpd_recipient_limit = 3
recipient_delimiter = +
virtual_mailbox_domains = e.test, ascii.e.test
virtual_mailbox_maps = inline:{ { u@e.test = u }, { v@e.test = v }, { u@ascii.e.test = u } }`)
	w.opensmtpd = peers.OpenSMTPD("127.0.0.4", "opensmtpd.e.test", "", "")
	w.sink = peers.SMTPSink("127.0.0.5")
	w.bind = peers.BIND("127.0.0.1", map[string]string{
		"e.test": "@ MX 10 postfix\n@ MX 20 exim\n@ MX 30 sink\n@ MX 40 opensmtpd\n" +
			"postfix A 127.0.0.2\nexim A 127.0.0.3\nopensmtpd A 127.0.0.4\nsink A 127.0.0.5\n" +
			"ascii MX 10 opensmtpd\nascii MX 20 postfix\n",
	})
	for _, s := range []*peers.Server{w.bind, w.postfix, w.exim, w.opensmtpd, w.sink} {
		s.Start(t)
	}
	t.Run("EXT-4 too large for the first host, taken by the second", func(t *testing.T) {
		large := "Subject: s\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 400) + "the large one\r\n"
		rr := &deliver(t, w.newSender(t), message(large, "u@e.test")).Recipients[0]
		if rr.Host != "exim.e.test" || len(rr.Attempts) != 2 || rr.Attempts[0].Err.Enhanced != "5.3.4" || rr.Attempts[0].Err.Replied() {
			t.Errorf("by %s after %+v", rr.Host, rr.Attempts)
		}
		arrived(t, w.exim, "/var/vmail", "the large one")
	})
	t.Run("MX-22, SMTP-24 a recipient deferred by one host is taken by the next, the others are not offered again", func(t *testing.T) {
		s := w.newSender(t)
		w.postfix.Stop()
		defer w.postfix.Restart(t)
		report := deliver(t, s, message(text+"by turns\r\n", "u@e.test", "later@e.test"))
		for i, want := range []string{"exim.e.test", "sink.e.test"} {
			if got := report.Recipients[i].Host; got != want {
				t.Errorf("%s: by %s, want %s", report.Recipients[i].Address, got, want)
			}
		}
		if n := len(report.Recipients[0].Attempts); n != 2 {
			t.Errorf("u@e.test: %d attempts, want 2", n)
		}
		arrived(t, w.exim, "/var/vmail", "by turns")
		arrived(t, w.sink, "/var/sink", "by turns")
		if mail := w.sink.Mail("/var/sink"); strings.Contains(mail, "u@e.test>") {
			t.Errorf("what Exim took was offered again: %s", mail)
		}
	})
	t.Run("SMTP-24 more recipients than the host takes at once", func(t *testing.T) {
		s := w.newSender(t)
		s.Router = only{"postfix.e.test", "127.0.0.2"}
		deliver(t, s, message(text+"to eight\r\n", "u@e.test", "v@e.test", "u+1@e.test", "u+2@e.test",
			"v+1@e.test", "v+2@e.test", "u+3@e.test", "v+3@e.test"))
		if n := bytes.Count(w.tap.AllWritten(), []byte("MAIL FROM")); n != 3 {
			t.Errorf("%d transactions for 8 recipients, 3 at a time", n)
		}
	})
	t.Run("I18N-8, QUE-16 the first host has no SMTPUTF8, the second has", func(t *testing.T) {
		m := message("Subject: caf\xc3\xa9\r\n\r\nby the second\r\n", "u@ascii.e.test")
		m.UTF8 = true
		rr := &deliver(t, w.newSender(t), m).Recipients[0]
		if rr.Host != "postfix.e.test" || len(rr.Attempts) != 2 || rr.Attempts[0].Host != "opensmtpd.e.test" {
			t.Errorf("by %s after %+v", rr.Host, rr.Attempts)
		}
		arrived(t, w.postfix, "/var/vmail", "by the second")
	})
}
