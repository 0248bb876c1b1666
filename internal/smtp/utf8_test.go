package smtp_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/smtp"
)

func TestSMTPUTF8(t *testing.T) {
	all := []string{"SMTPUTF8 x=y", "8BITMIME", "PIPELINING"}
	from := func(s string) *smtp.Transaction {
		tx := message("u@e.test")
		tx.From = mailbox(s)
		return tx
	}
	header := func(tx *smtp.Transaction) *smtp.Transaction {
		tx.UTF8, tx.EightBit, tx.Body = true, true, body("Subject: jö\r\nMIME-Version: 1.0\r\n\r\nx\r\n")
		return tx
	}
	for _, c := range []struct {
		name string
		ext  []string
		tx   *smtp.Transaction
		mail string
		stat string
	}{
		{"I18N-4, I18N-5 a non-ASCII sender", all, from("jö@e.test"), "MAIL FROM:<jö@e.test> SMTPUTF8", ""},
		{"I18N-5 ASCII mail goes without", all, from("j@e.test"), "MAIL FROM:<j@e.test>", ""},
		{"I18N-5 UTF-8 in the header, and 8-bit content", all, header(from("j@e.test")), "MAIL FROM:<j@e.test> BODY=8BITMIME SMTPUTF8", ""},
		{"I18N-6, I18N-8 a non-ASCII sender, plain server", []string{"8BITMIME"}, from("jö@e.test"), "", "5.6.7"},
		{"I18N-6, I18N-8 UTF-8 in the header, plain server", []string{"8BITMIME"}, header(from("j@e.test")), "", "5.6.9"},
		{"I18N-7 a sender whose domain alone is non-ASCII, plain server", nil, from("j@bücher.test"), "MAIL FROM:<j@xn--bcher-kva.test>", ""},
		{"I18N-7 the same where there is SMTPUTF8, and no need of it", all, from("j@bücher.test"), "MAIL FROM:<j@xn--bcher-kva.test>", ""},
	} {
		with(t, c.name, offering(c.ext...), func(r *rig) {
			r.open()
			r.check(c.tx, c.mail, c.stat)
			if c.stat != "" && strings.ContainsFunc(string(r.tap.AllWritten()), func(c rune) bool { return c >= 0x80 }) {
				r.t.Errorf("wrote %q", r.tap.AllWritten())
			}
		})
	}
	with(t, "I18N-7 recipients whose domain alone is non-ASCII", offering(), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@bücher.test")), "delivered")
		if got := r.commands()[1]; got != "RCPT TO:<u@xn--bcher-kva.test>" {
			r.t.Errorf("said %q", got)
		}
	})
	with(t, "I18N-6 one recipient needs what the server lacks, the others do not", offering("PIPELINING"), func(r *rig) {
		r.open()
		res := r.send(message("u@e.test", "jö@e.test", "v@e.test"))
		r.wantStates(res, "delivered", "not tried", "delivered")
		e := wantErr(r.t, res.Rcpts[1].Err, smtp.StageRcpt, smtp.Unfit)
		if e.Enhanced != "5.6.7" || res.Err != nil || res.Rcpts[0].Err != nil {
			r.t.Errorf("status %q, error %v", e.Enhanced, res.Err)
		}
		for _, c := range string(r.tap.AllWritten()) {
			if c >= 0x80 {
				r.t.Fatalf("wrote %q", r.tap.AllWritten())
			}
		}
	})
	with(t, "I18N-6 the only recipient needs what the server lacks", offering("PIPELINING"), func(r *rig) {
		r.open()
		res := r.send(message("jö@e.test"))
		r.wantStates(res, "not tried")
		wantErr(r.t, res.Rcpts[0].Err, smtp.StageRcpt, smtp.Unfit)
		r.wantCommands()
	})
	with(t, "I18N-9 a local part is not normalised", offering(all...), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("jo\u0308@bücher.test")), "delivered")
		if got := r.commands(); got[0] != "MAIL FROM:<a@x.test> SMTPUTF8" || got[1] != "RCPT TO:<jo\u0308@bücher.test>" {
			r.t.Errorf("said %q", got)
		}
	})
	for _, c := range []struct {
		ext  []string
		want string
	}{
		{append(all, "DSN"), "RCPT TO:<jü@e.test> ORCPT=utf-8;jü\\x{2B}a@e.test"},
		{[]string{"DSN"}, "RCPT TO:<u@e.test> ORCPT=utf-8;j\\x{FC}\\x{2B}a@e.test"},
	} {
		with(t, "I18N-11 ORCPT of type utf-8: "+c.want, offering(c.ext...), func(r *rig) {
			r.open()
			to := "u@e.test"
			if len(c.ext) > 1 {
				to = "jü@e.test"
			}
			tx := message(to)
			tx.To[0].OriginalType, tx.To[0].Original = "utf-8", "jü+a@e.test"
			r.wantStates(r.send(tx), "delivered")
			if got := r.commands()[1]; got != c.want {
				r.t.Errorf("said %q", got)
			}
		})
	}
}
