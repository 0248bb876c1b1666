package smtp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// hostile are strings that want to be a second command.
func hostile() []string {
	return []string{
		"x\r\nRCPT TO:<x@y>", "x\nDATA", "x\rDATA", "\x00", "\x7f", "\x1b[2J", "x y", "x>", "x\u0085y", "x\u2028y", "ü", "\xff",
	}
}

func TestInjection(t *testing.T) {
	for _, bad := range []string{"a@b\r\nRCPT TO:<x@y>", "a@b>\r\nDATA", "\"a\r\n\"@b.test", "a@b.test\x00", "a\x08@b.test", "a@[1.2.3.4\r\n]"} {
		t.Run("SMTP-10 no mailbox is made of "+strings.ToValidUTF8(bad, "?"), func(t *testing.T) {
			if m, err := address.Parse(bad); err == nil {
				t.Errorf("made %v", m)
			}
		})
	}
	set := map[string]func(*smtp.Transaction, string){
		"RET":        func(tx *smtp.Transaction, s string) { tx.Return = s },
		"NOTIFY":     func(tx *smtp.Transaction, s string) { tx.To[0].Notify = s },
		"ORCPT type": func(tx *smtp.Transaction, s string) { tx.To[0].OriginalType, tx.To[0].Original = s, "x" },
	}
	encoded := map[string]func(*smtp.Transaction, string){
		"ENVID":       func(tx *smtp.Transaction, s string) { tx.EnvelopeID = s },
		"ORCPT":       func(tx *smtp.Transaction, s string) { tx.To[0].OriginalType, tx.To[0].Original = "rfc822", s },
		"ORCPT UTF-8": func(tx *smtp.Transaction, s string) { tx.To[0].OriginalType, tx.To[0].Original = "utf-8", s },
	}
	for mode, ext := range modes() {
		for name, f := range set {
			with(t, "SMTP-10 "+name+" that is no atom is not sent, "+mode, offering(append(ext, "DSN")...), func(r *rig) {
				r.open()
				before := len(r.tap.AllWritten())
				for _, bad := range hostile() {
					if bad == "x>" {
						continue // harmless here
					}
					tx := message("u@e.test")
					f(tx, bad)
					res := r.send(tx)
					r.wantStates(res, "not tried")
					wantErr(r.t, res.Err, smtp.StageMail, smtp.Local)
				}
				if n := len(r.tap.AllWritten()); n != before {
					r.t.Errorf("wrote %q", r.tap.AllWritten()[before:])
				}
				r.wantStates(r.send(message("u@e.test")), "delivered")
			})
		}
		for name, f := range encoded {
			with(t, "SMTP-10 "+name+" is encoded, "+mode, offering(append(ext, "DSN")...), func(r *rig) {
				r.open()
				for _, bad := range hostile() {
					tx := message("u@e.test")
					f(tx, bad)
					r.wantStates(r.send(tx), "delivered")
				}
				r.s.Quit(r.t.Context())
				for i, c := range r.commands() {
					ok := slices.ContainsFunc([]string{"MAIL FROM:<a@x.test>", "RCPT TO:<u@e.test>", "DATA", "BDAT 25 LAST", "[25 octets]", "QUIT"},
						func(p string) bool { return strings.HasPrefix(c, p) })
					if !ok || strings.ContainsAny(c, "\r\n\x00") {
						r.t.Errorf("command %d: %q", i, c)
					}
				}
			})
		}
	}
}

func TestLongCommands(t *testing.T) {
	host := offering()
	host.Allow = append(host.Allow, "local part over 64 octets")
	with(t, "SMTP-12 a local part of 65 octets is the server's to judge", host, func(r *rig) {
		r.open()
		r.wantStates(r.send(message(strings.Repeat("x", 65)+"@e.test")), "delivered")
	})
}

func TestRequireTLS(t *testing.T) {
	tx := func() *smtp.Transaction {
		tx := message("u@e.test")
		tx.RequireTLS = true
		return tx
	}
	with(t, "REQUIRETLS is not sent in clear, offered or not", offering("REQUIRETLS"), func(r *rig) {
		r.open()
		r.check(tx(), "", "5.7.30")
	})
	host := offering("REQUIRETLS")
	host.ImplicitTLS = true
	with(t, "REQUIRETLS is sent in TLS", host, func(r *rig) {
		r.must(r.s.Handshake(r.t.Context(), insecure()))
		r.open()
		r.check(tx(), "MAIL FROM:<a@x.test> REQUIRETLS", "")
	})
	with(t, "a transaction without recipients", offering(), func(r *rig) {
		r.open()
		wantErr(r.t, r.send(message()).Err, smtp.StageMail, smtp.Unfit)
		r.wantCommands()
	})
}

func TestTrace(t *testing.T) {
	with(t, "the trace shows the dialogue, and of content its length", offering("PIPELINING", "CHUNKING"), func(r *rig) {
		r.open()
		r.send(message("u@e.test"))
		r.s.Quit(r.t.Context())
		var got []string
		for _, l := range r.said {
			who := "S: "
			if l.Sent {
				who = "C: "
			}
			got = append(got, who+l.Text)
		}
		want := []string{
			"S: 220 host.example", "C: EHLO client.example", "S: 250-host.example", "S: 250-PIPELINING", "S: 250 CHUNKING",
			"C: MAIL FROM:<a@x.test>", "C: RCPT TO:<u@e.test>", "S: 250", "S: 250",
			"C: BDAT 25 LAST", "C: <25 octets of content>", "S: 250", "C: QUIT", "S: 221",
		}
		ok := len(got) == len(want)
		for i := range want {
			ok = ok && strings.HasPrefix(got[i], want[i])
		}
		if !ok {
			r.t.Errorf("trace\n%s", strings.Join(got, "\n"))
		}
	})
}
