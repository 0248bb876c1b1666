package smtp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// mails are the MAIL commands the host heard, without their verb.
func (r *rig) heard(verb string) (list []string) {
	for _, c := range r.commands() {
		if rest, ok := strings.CutPrefix(c, verb+" "); ok {
			list = append(list, rest)
		}
	}
	return list
}

// TestRefusedParameters is a command with parameters that a server may do
// without, and a refusal of it.
func TestRefusedParameters(t *testing.T) {
	dsn := []string{"SIZE", "DSN"}
	for _, c := range []struct {
		at    smtptest.Stage
		reply string
		again bool
	}{
		{smtptest.Mail, "500 what", true},
		{smtptest.Mail, "501 Parameter AUTH is not recognised", true},
		{smtptest.Mail, "502 5.5.1 no", true},
		{smtptest.Mail, "504 5.5.4 not implemented", true},
		{smtptest.Mail, "550 Unsupported ESMTP extension: AUTH=<>", true},
		{smtptest.Mail, "550 5.5.4 no", true},
		{smtptest.Mail, "554 no", true},
		{smtptest.Mail, "555 5.5.4 Unsupported option", true},
		{smtptest.Mail, "550 5.3.3 no", true},
		{smtptest.Mail, "550 5.0.0 no", true},
		{smtptest.Mail, "571 no", true},
		{smtptest.Mail, "501 5.1.7 bad address", false},
		{smtptest.Mail, "550 5.1.8 no such domain", false},
		{smtptest.Mail, "550 5.7.1 not you", false},
		{smtptest.Mail, "553 not this name", false},
		{smtptest.Mail, "552 5.3.4 too large", false},
		{smtptest.Mail, "552 too large", false},
		{smtptest.Mail, "530 5.7.0 log in", false},
		{smtptest.Mail, "503 bad sequence", true},
		{smtptest.Rcpt, "503 bad sequence", true},
		{smtptest.Rcpt, "500 what", true},
		{smtptest.Rcpt, "501 5.5.4 Bad NOTIFY parameter syntax", true},
		{smtptest.Rcpt, "504 no", true},
		{smtptest.Rcpt, "555 no", true},
		{smtptest.Rcpt, "550 5.5.4 no", true},
		{smtptest.Rcpt, "550 no such user", false},
		{smtptest.Rcpt, "554 no", false},
		{smtptest.Rcpt, "501 5.1.3 bad address", false},
		{smtptest.Rcpt, "555 5.7.1 not you", false},
		{smtptest.Rcpt, "556 5.1.10 takes no mail", false},
		{smtptest.Rcpt, "571 no", false},
	} {
		for mode, ext := range modes() {
			script := []smtptest.Cue{{At: c.at, Times: 1, Reply: c.reply}}
			with(t, "SMTP-25 "+c.reply+" to "+c.at.String()+", "+mode, scripted(script, append(dsn, ext...)...), func(r *rig) {
				r.open()
				all := r.sendAll(everything())
				verb := map[smtptest.Stage]string{smtptest.Mail: "MAIL", smtptest.Rcpt: "RCPT"}[c.at]
				said := r.heard(verb)
				if !c.again {
					r.wantRcpts(all, "refused "+strings.ToLower(verb)+" "+c.reply[:3])
					if len(said) != 1 || r.s.Lacks() != 0 {
						r.t.Errorf("said %q, lacks %v", said, r.s.Lacks())
					}
					return
				}
				r.wantRcpts(all, "delivered")
				want := map[smtptest.Stage]smtp.Option{
					smtptest.Mail: smtp.OptSize | smtp.OptReturn | smtp.OptEnvelope,
					smtptest.Rcpt: smtp.OptNotify | smtp.OptOriginal,
				}[c.at]
				if len(said) != 2 || !strings.Contains(said[0], "=") || strings.Contains(strings.ReplaceAll(said[1], "JoHn", ""), "=") || r.s.Lacks() != want {
					r.t.Errorf("said %q, lacks %v, wanted %v", said, r.s.Lacks(), want)
				}
				// What the server was shown to lack is not said to it again.
				r.wantRcpts(r.sendAll(everything()), "delivered")
				if again := r.heard(verb); len(again) != 3 {
					r.t.Errorf("said %q", again)
				}
			})
		}
	}
	with(t, "SMTP-25 a refusal of something else leaves the parameters to the next message", scripted([]smtptest.Cue{
		{At: smtptest.Mail, Times: 2, Reply: "550 no"},
	}, dsn...), func(r *rig) {
		r.open()
		r.wantRcpts(r.sendAll(everything()), "refused mail 550")
		r.wantRcpts(r.sendAll(everything()), "delivered")
		if said := r.heard("MAIL"); len(said) != 3 || !strings.Contains(said[2], "SIZE=25 RET=HDRS") || r.s.Lacks() != 0 {
			r.t.Errorf("said %q", said)
		}
	})
	for name, c := range map[string]struct {
		ext   []string
		tx    func(*smtp.Transaction)
		wants string
	}{
		"SMTPUTF8": {[]string{"SMTPUTF8", "8BITMIME", "SIZE"}, func(tx *smtp.Transaction) { tx.From = mailbox("jö@x.test") }, "SMTPUTF8"},
		"BODY": {[]string{"8BITMIME", "SIZE"}, func(tx *smtp.Transaction) {
			tx.EightBit, tx.Body = true, body("Subject: x\r\nMIME-Version: 1.0\r\n\r\n\xfc\r\n")
		}, "BODY=8BITMIME"},
	} {
		with(t, "SMTP-25 "+name+" that the message needs stays in the second MAIL", scripted([]smtptest.Cue{
			{At: smtptest.Mail, Times: 1, Reply: "555 what"},
		}, c.ext...), func(r *rig) {
			r.open()
			tx := message("u@e.test")
			c.tx(tx)
			r.wantRcpts(r.sendAll(tx), "delivered")
			said := r.heard("MAIL")
			if len(said) != 2 || strings.Contains(said[1], "SIZE") || !strings.Contains(said[0], c.wants) || !strings.Contains(said[1], c.wants) {
				r.t.Errorf("said %q", said)
			}
		})
	}
	for name, ext := range modes() {
		with(t, "SMTP-25 556 to RCPT keeps its status, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Reply: "556 5.1.10 this domain takes no mail"},
		}, append(dsn, ext...)...), func(r *rig) {
			r.open()
			res := r.send(everything())
			r.wantStates(res, "refused rcpt 556")
			if got := res.Rcpts[0].Reply.Enhanced; got != "5.1.10" {
				r.t.Errorf("status %q", got)
			}
		})
	}
}

// TestDoubt is what may be to blame for a transaction that came to grief.
func TestDoubt(t *testing.T) {
	const mail, rcpt = smtp.OptSize | smtp.OptReturn | smtp.OptEnvelope, smtp.OptNotify | smtp.OptOriginal
	forms := map[string]smtptest.Cue{
		"closed":   {Then: smtptest.Close},
		"reset":    {Then: smtptest.Reset},
		"silence":  {Then: smtptest.Stall},
		"nonsense": {Raw: "what?\r\n"},
		"421":      {Reply: "421 4.3.2 closing", Then: smtptest.Close},
		"4yz":      {Reply: "455 4.5.4 not now"},
	}
	for name, ext := range modes() {
		ext = append(ext, "SIZE", "DSN")
		for form, cue := range forms {
			for at, want := range map[smtptest.Stage]smtp.Option{
				smtptest.Mail: mail, smtptest.Rcpt: rcpt, smtptest.Data: 0, smtptest.Final: 0,
			} {
				if at == smtptest.Data && name == "chunked" || at == smtptest.Data && form == "4yz" {
					continue
				}
				brief := form == "421" || form == "4yz"
				switch {
				case at == smtptest.Final && name == "chunked":
					want = smtp.OptChunking
				case name != "lockstep" && at != smtptest.Final && form != "4yz":
					want |= smtp.OptPipelining
				}
				cue := cue
				cue.At = at
				with(t, form+" at "+at.String()+", "+name, abandoned(scripted([]smtptest.Cue{cue}, ext...)), func(r *rig) {
					r.open()
					res := r.send(everything())
					if res.Rcpts[0].State == smtp.Delivered || res.Doubt.Now != 0 || res.Doubt.Next != want {
						r.t.Errorf("%v, doubt %+v, wanted %v", res.Err, res.Doubt, want)
					}
					if (res.Doubt.Brief != 0) != (brief && want != 0) {
						r.t.Errorf("brief %v", res.Doubt.Brief)
					}
				})
			}
		}
	}
	with(t, "a session that had been given up says nothing about options", scripted([]smtptest.Cue{
		{At: smtptest.Mail, Nth: 2, Then: smtptest.Close},
	}, "PIPELINING", "CHUNKING", "SIZE"), func(r *rig) {
		r.warm()
		res := r.send(everything())
		if !res.Stale || !res.MaybeSent || res.Doubt != (smtp.Doubt{}) {
			r.t.Errorf("%+v", res)
		}
	})
	with(t, "nor does a message that waits leave doubt where it is", scripted([]smtptest.Cue{
		{At: smtptest.Mail, Nth: 2, Then: smtptest.Close},
	}, "PIPELINING", "CHUNKING", "SIZE"), func(r *rig) {
		r.warm()
		tx := everything()
		tx.Wait = true
		if res := r.send(tx); !res.Stale || res.MaybeSent {
			r.t.Errorf("%+v", res)
		}
	})
	for _, reply := range []string{"503 5.5.1 bad sequence", "503 no", "500 what", "502 no", "550 5.5.2 what"} {
		for _, at := range []smtptest.Stage{smtptest.Rcpt, smtptest.Data} {
			with(t, "EXT-7 "+reply+" to "+at.String()+" in a group, and all is well one by one", scripted([]smtptest.Cue{{At: at, Grouped: true, Reply: reply}}, "PIPELINING"), func(r *rig) {
				r.open()
				r.wantRcpts(r.sendAll(message("u@e.test", "v@e.test")), "delivered", "delivered")
				if r.s.Lacks() != smtp.OptPipelining {
					r.t.Errorf("lacks %v", r.s.Lacks())
				}
				n := r.trips()
				r.wantStates(r.send(message("w@e.test")), "delivered")
				if d := r.trips() - n; d != 4 {
					r.t.Errorf("%d round trips", d)
				}
			})
		}
	}
	with(t, "EXT-7 503 in a group and alone", scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: "503 no"}}, "PIPELINING"), func(r *rig) {
		r.open()
		r.wantRcpts(r.sendAll(message("u@e.test")), "refused rcpt 503")
		if r.s.Lacks() != 0 {
			r.t.Errorf("lacks %v", r.s.Lacks())
		}
	})
	for _, reply := range []string{"550 5.5.1 what", "554 5.5.2 what", "504", "500 what"} {
		with(t, "CHUNKING, and "+reply+" to BDAT", abandoned(scripted([]smtptest.Cue{{At: smtptest.Final, Reply: reply}}, "PIPELINING", "CHUNKING")), func(r *rig) {
			r.open()
			res := r.send(message("u@e.test"))
			if wantErr(r.t, res.Err, smtp.StageFinal, smtp.Incapable); res.Doubt.Now != smtp.OptChunking {
				r.t.Errorf("%+v", res.Doubt)
			}
		})
	}
	for _, reply := range []string{"550 spam", "552 5.3.4 too large", "554 5.7.1 no", "550 5.5.3 too many"} {
		with(t, "CHUNKING, and a verdict of "+reply, scripted([]smtptest.Cue{{At: smtptest.Final, Reply: reply}}, "PIPELINING", "CHUNKING"), func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test")), "refused final "+reply)
		})
	}
}

// TestDoubtTLS is TLS that does not come up, and a session inside it in which
// nothing is said.
func TestDoubtTLS(t *testing.T) {
	now := smtp.Doubt{Now: smtp.OptTLS}
	brief := smtp.Doubt{Now: smtp.OptTLS, Brief: smtp.OptTLS}
	for _, c := range []struct {
		name string
		cue  smtptest.Cue
		want smtp.Doubt
	}{
		{"421 to STARTTLS", smtptest.Cue{At: smtptest.StartTLS, Reply: "421 no"}, brief},
		{"nonsense for STARTTLS", smtptest.Cue{At: smtptest.StartTLS, Raw: "TLS? NO\r\n"}, now},
		{"250 and 450 to STARTTLS", smtptest.Cue{At: smtptest.StartTLS, Raw: "250-x\r\n450 y\r\n"}, now},
		{"a close at STARTTLS", smtptest.Cue{At: smtptest.StartTLS, Then: smtptest.Close}, now},
		{"silence at STARTTLS", smtptest.Cue{At: smtptest.StartTLS, Then: smtptest.Stall}, now},
		{"octets behind the 220", smtptest.Cue{At: smtptest.StartTLS, Reply: "220 go\n250 hello"}, smtp.Doubt{}},
		{"a reset in the handshake", smtptest.Cue{At: smtptest.Handshake, Then: smtptest.Reset}, now},
		{"nonsense for the handshake", smtptest.Cue{At: smtptest.Handshake, Raw: "250 hello\r\n"}, now},
		{"a close at EHLO inside TLS", smtptest.Cue{At: smtptest.HelloTLS, Then: smtptest.Close}, now},
		{"a reset at EHLO inside TLS", smtptest.Cue{At: smtptest.HelloTLS, Then: smtptest.Reset}, now},
		{"silence at EHLO inside TLS", smtptest.Cue{At: smtptest.HelloTLS, Then: smtptest.Stall}, now},
		{"half a word inside TLS", smtptest.Cue{At: smtptest.HelloTLS, Raw: "250", Then: smtptest.Close}, smtp.Doubt{Next: smtp.OptEHLO}},
		{"nonsense inside TLS", smtptest.Cue{At: smtptest.HelloTLS, Raw: "what\r\n"}, smtp.Doubt{Next: smtp.OptEHLO}},
		{"421 inside TLS", smtptest.Cue{At: smtptest.HelloTLS, Reply: "421 later"}, smtp.Doubt{Next: smtp.OptEHLO, Brief: smtp.OptEHLO}},
	} {
		with(t, "TLS-4 "+c.name, abandoned(scripted([]smtptest.Cue{c.cue}, "STARTTLS")), func(r *rig) {
			r.open()
			err := r.s.StartTLS(r.t.Context(), insecure())
			if err == nil {
				err = r.s.Hello(r.t.Context())
			}
			e, ok := errors.AsType[*smtp.Error](err)
			if !ok || e.Doubt != c.want {
				r.t.Errorf("%v: %+v, wanted %+v", err, e, c.want)
			}
		})
	}
	with(t, "TLS-11 TLS from the start is nothing to do without", abandoned(&smtptest.Host{ImplicitTLS: true, Script: []smtptest.Cue{
		{At: smtptest.Hello, Then: smtptest.Close}, {At: smtptest.HelloTLS, Then: smtptest.Close},
	}}), func(r *rig) {
		r.must(r.s.Handshake(r.t.Context(), insecure()))
		r.must(r.s.Greet(r.t.Context()))
		if e, ok := errors.AsType[*smtp.Error](r.s.Hello(r.t.Context())); !ok || e.Doubt.Now != 0 {
			r.t.Errorf("%+v", e)
		}
	})
	with(t, "TLS-2 a message that may not go in clear does not", offering("STARTTLS"), func(r *rig) {
		r.open()
		tx := message("u@e.test")
		tx.Encrypted = true
		res := r.send(tx)
		if e := wantErr(r.t, res.Err, smtp.StageMail, smtp.Unfit); e.Enhanced != "4.7.4" || len(r.commands()) > 0 {
			r.t.Errorf("%v, said %q", e, r.commands())
		}
		r.must(r.s.StartTLS(r.t.Context(), insecure()))
		r.must(r.s.Hello(r.t.Context()))
		r.wantStates(r.send(tx), "delivered")
	})
}
