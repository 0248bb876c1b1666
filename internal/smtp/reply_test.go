package smtp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// every answers every command with what f makes of the usual code.
func every(f func(code string) string) []smtptest.Cue {
	cue := func(at smtptest.Stage, code string) smtptest.Cue {
		return smtptest.Cue{At: at, Raw: f(code)}
	}
	return []smtptest.Cue{
		cue(smtptest.Banner, "220"), cue(smtptest.Hello, "250"), cue(smtptest.Mail, "250"), cue(smtptest.Rcpt, "250"),
		cue(smtptest.Data, "354"), cue(smtptest.Final, "250"), cue(smtptest.Quit, "221"),
	}
}

func TestReplyForms(t *testing.T) {
	for name, f := range map[string]func(string) string{
		"bare digits":           func(c string) string { return c + "\r\n" },
		"digits and a blank":    func(c string) string { return c + " \r\n" },
		"bare digits at an end": func(c string) string { return c + "-x\r\n" + c + "\r\n" },
		"three lines":           func(c string) string { return c + "-x\r\n" + c + "-y\r\n" + c + " z\r\n" },
		"lines without text":    func(c string) string { return c + "-\r\n" + c + "-\r\n" + c + " \r\n" },
	} {
		with(t, "SMTP-15 replies of "+name, scripted(every(f)), func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test")), "delivered")
		})
	}
	for _, c := range []struct {
		at          smtptest.Stage
		reply, want string
	}{
		{smtptest.Final, "250 fatal error 550", "delivered"},
		{smtptest.Rcpt, "550 OK accepted", "refused rcpt 550"},
		{smtptest.Rcpt, "299 hm", "delivered"},
		{smtptest.Mail, "259 hm", "delivered"},
		{smtptest.Final, "200 hm", "delivered"},
		{smtptest.Rcpt, "459 hm", "refused rcpt 459"},
		{smtptest.Rcpt, "571 hm", "refused rcpt 571"},
		{smtptest.Mail, "599", "refused mail 599"},
	} {
		with(t, "SMTP-16 digits decide: "+c.at.String()+" "+c.reply, scripted([]smtptest.Cue{{At: c.at, Reply: c.reply}}), func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test")), c.want)
		})
	}
}

func TestSenselessReplies(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		at        smtptest.Stage
		stage     smtp.Stage
	}{
		{"1yz", "150 hm\r\n", smtptest.Mail, smtp.StageMail},
		{"6yz", "650 x\r\n", smtptest.Mail, smtp.StageMail},
		{"no digits", "abc\r\n", smtptest.Rcpt, smtp.StageRcpt},
		{"two digits", "25\r\n", smtptest.Rcpt, smtp.StageRcpt},
		{"an empty line", "\r\n", smtptest.Rcpt, smtp.StageRcpt},
		{"no blank after the code", "250ok\r\n", smtptest.Rcpt, smtp.StageRcpt},
		{"354 to MAIL", "354 go\r\n", smtptest.Mail, smtp.StageMail},
		{"354 to RCPT", "354 go\r\n", smtptest.Rcpt, smtp.StageRcpt},
		{"250 to DATA", "250 fine\r\n", smtptest.Data, smtp.StageData},
		{"codes that differ", "250-a\r\n550 b\r\n", smtptest.Rcpt, smtp.StageRcpt},
		{"a bare LF", "250 ok\n", smtptest.Rcpt, smtp.StageRcpt},
	} {
		for mode, ext := range map[string][]string{"": nil, " in a group": {"PIPELINING"}} {
			host := scripted([]smtptest.Cue{{At: c.at, Raw: c.raw}}, ext...)
			host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
			with(t, "SMTP-17 "+c.name+mode, host, func(r *rig) {
				r.open()
				res := r.send(message("u@e.test"))
				r.wantStates(res, "failed")
				wantErr(r.t, res.Err, c.stage, smtp.Protocol)
				if r.s.Reusable() || len(r.host.Received()) > 0 || strings.Contains(string(r.tap.AllWritten()), "world") {
					r.t.Error("content was sent, or the session is still of use")
				}
			})
		}
	}
	for name, raw := range map[string]string{"codes that differ": "250-a\r\n550 b\r\n", "3yz": "354 go on\r\n", "1yz": "150 hm\r\n"} {
		host := scripted([]smtptest.Cue{{At: smtptest.Final, Raw: raw}})
		host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
		with(t, "SMTP-17 nonsense after the final dot leaves it unknown, "+name, host, func(r *rig) {
			r.open()
			res := r.send(message("u@e.test"))
			r.wantStates(res, "unknown")
			wantErr(r.t, res.Err, smtp.StageFinal, smtp.Protocol)
		})
	}
}

func TestReplyBounds(t *testing.T) {
	long := "250 " + strings.Repeat("x", 506)
	with(t, "SMTP-18 a line of 512 octets", scripted([]smtptest.Cue{{At: smtptest.Rcpt, Nth: 1, Reply: long}}), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
	with(t, "SMTP-18 a line over 2,048 octets is cut", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Nth: 1, Reply: "550 " + strings.Repeat("x", 50_000)},
	}), func(r *rig) {
		r.open()
		res := r.send(message("u@e.test"))
		r.wantStates(res, "refused rcpt 550")
		if n := len(res.Rcpts[0].Reply.Text); n != 2044 {
			r.t.Errorf("%d octets kept", n)
		}
	})
	for name, raw := range map[string]string{
		"a line of 10 MiB": "550 " + strings.Repeat("x", 10<<20) + "\r\n",
		"100,000 lines":    strings.ReplaceAll(smtptest.Lines(550, 100_000, "more"), "\n", "\r\n"),
		"128 long lines":   strings.ReplaceAll(smtptest.Lines(550, 127, strings.Repeat("x", 10_000)), "\n", "\r\n"),
	} {
		host := scripted([]smtptest.Cue{{At: smtptest.Rcpt, Raw: raw}})
		host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
		with(t, "SMTP-18 "+name+" are given up", host, func(r *rig) {
			r.open()
			res := r.send(message("u@e.test"))
			r.wantStates(res, "failed")
			wantErr(r.t, res.Err, smtp.StageRcpt, smtp.Protocol)
			if n := len(r.tap.AllRead()); n > 1<<20 {
				r.t.Errorf("%d octets read", n)
			}
		})
	}
	for n, want := range map[int]string{128: "refused rcpt 550", 129: "failed"} {
		host := scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: smtptest.Lines(550, n, "no")}})
		host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
		with(t, fmt.Sprintf("SMTP-18 a reply of %d lines", n), host, func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test")), want)
		})
	}
	host := scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: smtptest.Lines(250, 100, "talk")}})
	host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
	with(t, "SMTP-18 a session in which too much is said", host, func(r *rig) {
		r.open()
		r.s.LimitOctets(2000)
		res := r.send(message("u@e.test", "v@e.test", "w@e.test"))
		wantErr(r.t, res.Err, smtp.StageRcpt, smtp.Protocol)
	})
	drip := smtptest.Cue{At: smtptest.Rcpt, Reply: "250 a reply that takes its time", Drip: 4 * time.Minute}
	host = scripted([]smtptest.Cue{drip})
	host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
	with(t, "SMTP-18, SMTP-41 a drip ends with the time of the reply", host, func(r *rig) {
		r.open()
		var res smtp.Result
		if d := took(func() { res = r.send(message("u@e.test")) }); d != 5*time.Minute {
			r.t.Errorf("ended after %v", d)
		}
		wantErr(r.t, res.Err, smtp.StageRcpt, smtp.Timeout)
	})
}

func TestReplyText(t *testing.T) {
	nasty := "550 a\x00\xff\x1b[2J\x7f\tü"
	with(t, "SMTP-18 control and non-ASCII octets are escaped", scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: nasty}}), func(r *rig) {
		r.open()
		res := r.send(message("u@e.test"))
		want := `a\x00\xFF\x1B[2J\x7F\x09\xC3\xBC`
		if got := res.Rcpts[0].Reply.Text; got != want {
			r.t.Errorf("text %q", got)
		}
		traced := false
		for _, l := range r.said {
			traced = traced || !l.Sent && l.Text == "550 "+want
		}
		if !traced {
			r.t.Errorf("trace %+v", r.said)
		}
	})
	with(t, "I18N-9 a 551 may be UTF-8 after SMTPUTF8", scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: "551 5.1.6 try <jö@e.test>\u202e\x1b"}},
		"SMTPUTF8", "8BITMIME"), func(r *rig) {
		r.open()
		res := r.send(message("jü@e.test"))
		if got := res.Rcpts[0].Reply.Text; got != `5.1.6 try <jö@e.test>\xE2\x80\xAE\x1B` {
			r.t.Errorf("text %q", got)
		}
	})
	for _, c := range []struct{ reply, want string }{
		{"550 5.1.1 x", "5.1.1"},
		{"550 5.1.1", "5.1.1"},
		{"550 4.2.2 x", ""},
		{"550 no such", ""},
		{"550 5.1 x", ""},
		{"550 5.1.1x", ""},
		{"550 5.1234.1 x", ""},
		{"550 5..1 x", ""},
		{"550-hm\n550 5.7.999 x", "5.7.999"},
		{"550-5.7.1 a\n550 5.7.2 b", "5.7.1"},
	} {
		with(t, "EXT-16, DSN-21 enhanced code of "+strings.ReplaceAll(c.reply, "\n", "/"),
			scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: c.reply}}), func(r *rig) {
				r.open()
				res := r.send(message("u@e.test"))
				if got := res.Rcpts[0].Reply.Enhanced; got != c.want {
					r.t.Errorf("got %q, wanted %q", got, c.want)
				}
				if r.s.Extensions().EnhancedStatusCodes {
					r.t.Error("the host offers them: this shows nothing")
				}
			})
	}
	with(t, "EXT-16 no success is undone, and the next reply has none of the last one's", scripted([]smtptest.Cue{
		{At: smtptest.Mail, Reply: "250 2.1.0 fine"},
		{At: smtptest.Rcpt, Address: "u@e.test", Reply: "250 5.0.0 x"},
		{At: smtptest.Rcpt, Address: "v@e.test", Reply: "550 5.1.1 x"},
		{At: smtptest.Rcpt, Address: "w@e.test", Reply: "550"},
		{At: smtptest.Final, Reply: "250 5.1.1 done"},
	}), func(r *rig) {
		r.open()
		res := r.send(message("u@e.test", "v@e.test", "w@e.test"))
		r.wantStates(res, "delivered", "refused rcpt 550", "refused rcpt 550")
		if res.Mail.Enhanced != "2.1.0" || res.Final.Enhanced != "" || res.Rcpts[1].Reply.Enhanced != "5.1.1" || res.Rcpts[2].Reply.Enhanced != "" || res.Rcpts[2].Reply.Text != "" {
			r.t.Errorf("result %+v", res)
		}
	})
	with(t, "EXT-16 none in a greeting", scripted([]smtptest.Cue{{At: smtptest.Banner, Reply: "554 5.1.1 go away"}}), func(r *rig) {
		e := wantErr(r.t, r.s.Greet(r.t.Context()), smtp.StageBanner, smtp.Replied)
		if e.Reply.Enhanced != "" || e.Reply.Text != "5.1.1 go away" {
			r.t.Errorf("reply %+v", e.Reply)
		}
	})
	with(t, "EXT-16 none in a reply to EHLO", scripted([]smtptest.Cue{{At: smtptest.Hello, Reply: "554 5.1.1 go away"}}), func(r *rig) {
		r.must(r.s.Greet(r.t.Context()))
		e := wantErr(r.t, r.s.Hello(r.t.Context()), smtp.StageHello, smtp.Replied)
		if e.Reply.Enhanced != "" {
			r.t.Errorf("reply %+v", e.Reply)
		}
	})
}
