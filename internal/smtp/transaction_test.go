package smtp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// recipients are n addresses at e.test.
func recipients(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("u%d@e.test", i+1)
	}
	return list
}

func TestOrder(t *testing.T) {
	lag := func(at smtptest.Stage) smtptest.Cue { return smtptest.Cue{At: at, Delay: 200 * time.Millisecond} }
	with(t, "SMTP-7 without PIPELINING each command waits", scripted([]smtptest.Cue{
		lag(smtptest.Mail), lag(smtptest.Rcpt), lag(smtptest.Data), lag(smtptest.Final),
	}), func(r *rig) {
		r.open()
		n := r.trips()
		d := took(func() { r.wantStates(r.send(message("u@e.test", "v@e.test")), "delivered", "delivered") })
		if d != time.Second || r.trips()-n != 5 {
			r.t.Errorf("%v, %d round trips", d, r.trips()-n)
		}
	})
	for name, ext := range modes() {
		with(t, "SMTP-7, SMTP-26 an unfinished transaction is reset before the next, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
		}, ext...), func(r *rig) {
			r.warm()
			r.wantStates(r.send(message("bad@e.test")), "refused rcpt 550")
			r.wantStates(r.send(message("u@e.test")), "delivered")
			said := r.commands()
			i := slices.Index(said, "RSET")
			if i < 0 || said[i+1] != "MAIL FROM:<a@x.test>" {
				r.t.Errorf("said %q", said)
			}
			if n := len(r.host.Messages()); n != 2 {
				r.t.Errorf("%d messages", n)
			}
		})
	}
	with(t, "SMTP-7 RSET costs no round trip", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
	}, "PIPELINING", "CHUNKING"), func(r *rig) {
		r.warm()
		r.send(message("bad@e.test"))
		n := r.trips()
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if d := r.trips() - n; d != 1 {
			r.t.Errorf("%d round trips", d)
		}
	})
}

func TestRecipients(t *testing.T) {
	for name, ext := range modes() {
		with(t, "SMTP-13 one transaction for all recipients, "+name, offering(ext...), func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test", "v@e.test", "w@e.test")), "delivered", "delivered", "delivered")
			if m := r.host.Messages(); len(m) != 1 || len(m[0].To()) != 3 {
				r.t.Errorf("messages %+v", m)
			}
		})
		host := offering(ext...)
		host.MaxRecipients = 100
		with(t, "SMTP-13, SMTP-24 the 101st is refused with 452, "+name, host, func(r *rig) {
			r.open()
			for i, rr := range r.sendAll(message(recipients(250)...)) {
				if rr.State != smtp.Delivered {
					r.t.Fatalf("recipient %d: %+v", i, rr)
				}
			}
			var sizes []int
			var all []string
			for _, m := range r.host.Messages() {
				sizes = append(sizes, len(m.To()))
				all = append(all, m.To()...)
			}
			slices.Sort(all)
			if !slices.Equal(sizes, []int{100, 100, 50}) || len(slices.Compact(all)) != 250 {
				r.t.Errorf("transactions of %v, %d recipients", sizes, len(slices.Compact(all)))
			}
			if r.s.MaxRecipients() != 100 {
				r.t.Errorf("learnt %d", r.s.MaxRecipients())
			}
		})
		with(t, "SMTP-23 every recipient has its own reply, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
			{At: smtptest.Rcpt, Address: "later@e.test", Reply: "450 later"},
			{At: smtptest.Rcpt, Address: "moved@e.test", Reply: "551 try x@y.test"},
			{At: smtptest.Rcpt, Address: "fwd@e.test", Reply: "251 will forward to z@y.test"},
			{At: smtptest.Rcpt, Address: "null@e.test", Reply: "556 5.1.10 no"},
		}, ext...), func(r *rig) {
			r.open()
			res := r.send(message("u@e.test", "bad@e.test", "later@e.test", "moved@e.test", "fwd@e.test", "null@e.test"))
			r.wantStates(res, "delivered", "refused rcpt 550", "refused rcpt 450", "refused rcpt 551 try x@y.test", "delivered", "refused rcpt 556 5.1.10")
			m := r.host.Messages()
			if len(m) != 1 || !slices.Equal(m[0].To(), []string{"u@e.test", "fwd@e.test"}) {
				r.t.Errorf("messages %+v", m)
			}
		})
		with(t, "SMTP-22 a refused MAIL settles this transaction only, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Mail, Times: 1, Nth: 2, Reply: "550 5.7.1 not you"},
		}, ext...), func(r *rig) {
			r.warm()
			r.wantStates(r.send(message("u@e.test", "v@e.test")), "refused mail 550 5.7.1", "refused mail 550")
			r.wantStates(r.send(message("u@e.test")), "delivered")
			if n := len(r.host.Messages()); n != 2 {
				r.t.Errorf("%d messages", n)
			}
		})
	}
}

func TestEnough(t *testing.T) {
	for _, c := range []struct {
		name   string
		nth    int
		reply  string
		first  []string // the first transaction's states
		latter string   // what the third recipient becomes in the end
	}{
		{"552 5.5.3 to a later one", 3, "552 5.5.3 enough", []string{"delivered", "delivered", "not tried"}, "delivered"},
		{"bare 552 to a later one", 3, "552 enough", []string{"delivered", "delivered", "not tried"}, "delivered"},
		{"452 to a later one", 3, "452 enough", []string{"delivered", "delivered", "not tried"}, "delivered"},
		{"550 5.5.3 to a later one", 3, "550 5.5.3 enough", []string{"delivered", "delivered", "not tried"}, "delivered"},
		{"552 about the quota", 3, "552 5.2.2 full", []string{"delivered", "delivered", "refused rcpt 552"}, "refused rcpt 552"},
		{"552 about size", 3, "552 5.3.4 too big", []string{"delivered", "delivered", "refused rcpt 552"}, "refused rcpt 552"},
		{"452 about the quota", 3, "452 4.2.2 full", []string{"delivered", "delivered", "refused rcpt 452"}, "refused rcpt 452"},
		{"452 to the first", 1, "452 enough", []string{"refused rcpt 452", "delivered", "delivered"}, "delivered"},
		{"552 to the first", 1, "552 5.2.2 full", []string{"refused rcpt 552", "delivered", "delivered"}, "delivered"},
	} {
		for name, ext := range modes() {
			with(t, "SMTP-24, EXT-6 "+c.name+", "+name, scripted([]smtptest.Cue{
				{At: smtptest.Rcpt, Nth: c.nth, Times: 1, Reply: c.reply},
			}, ext...), func(r *rig) {
				r.open()
				tx := message(recipients(3)...)
				first := r.send(tx)
				r.wantStates(first, c.first...)
				if first.Rcpts[2].State != smtp.NotTried {
					return
				}
				tx.To = tx.To[2:]
				r.wantRcpts(r.sendAll(tx), c.latter)
			})
		}
	}
	for name, ext := range modes() {
		with(t, "EXT-6 452 and 552 to MAIL, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Mail, Nth: 1, Reply: "452 later"}, {At: smtptest.Mail, Nth: 2, Reply: "552 too big"},
			{At: smtptest.Final, Reply: "552 5.3.4 too big after all"},
		}, ext...), func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test")), "refused mail 452")
			r.wantStates(r.send(message("u@e.test")), "refused mail 552")
			r.wantStates(r.send(message("u@e.test")), "refused final 552 5.3.4")
		})
	}
}

func TestUnknownParameters(t *testing.T) {
	for name, ext := range modes() {
		ext = append(ext, "SIZE", "DSN", "8BITMIME")
		with(t, "SMTP-25 555 to MAIL leads to one try without, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Mail, Times: 1, Reply: "555 what is SIZE"},
		}, ext...), func(r *rig) {
			r.open()
			tx := message("u@e.test")
			tx.EightBit, tx.Body = true, body("Subject: x\r\nMIME-Version: 1.0\r\n\r\n\xfc\r\n")
			r.wantRcpts(r.sendAll(tx), "delivered")
			var mails []string
			for _, c := range r.commands() {
				if strings.HasPrefix(c, "MAIL") {
					mails = append(mails, c)
				}
			}
			if !slices.Equal(mails, []string{"MAIL FROM:<a@x.test> SIZE=36 BODY=8BITMIME", "MAIL FROM:<a@x.test> BODY=8BITMIME"}) {
				r.t.Errorf("said %q", mails)
			}
		})
		with(t, "SMTP-25 555 to a bare MAIL is a refusal, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Mail, Reply: "555 no"},
		}, ext...), func(r *rig) {
			r.open()
			r.wantRcpts(r.sendAll(message("u@e.test")), "refused mail 555")
			if n := strings.Count(strings.Join(r.commands(), "\n"), "MAIL"); n != 2 {
				r.t.Errorf("%d times MAIL", n)
			}
		})
		with(t, "SMTP-25 455 to MAIL is for now, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Mail, Reply: "455 not now"},
		}, ext...), func(r *rig) {
			r.open()
			r.wantRcpts(r.sendAll(message("u@e.test")), "refused mail 455")
			if n := strings.Count(strings.Join(r.commands(), "\n"), "MAIL"); n != 1 {
				r.t.Errorf("%d times MAIL", n)
			}
		})
		with(t, "SMTP-25 what the message needs is not dropped, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Mail, Reply: "555 no"},
		}, "8BITMIME", "PIPELINING"), func(r *rig) {
			r.open()
			tx := message("u@e.test")
			tx.EightBit = true
			r.wantRcpts(r.sendAll(tx), "refused mail 555")
			if got := r.commands(); got[0] != "MAIL FROM:<a@x.test> BODY=8BITMIME" || slices.Contains(got[1:], "MAIL FROM:<a@x.test>") {
				r.t.Errorf("said %q", got)
			}
		})
		with(t, "SMTP-25 555 to RCPT, and 455, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Address: "u@e.test", Times: 1, Reply: "555 what is NOTIFY"},
			{At: smtptest.Rcpt, Address: "v@e.test", Reply: "455 not now"},
		}, ext...), func(r *rig) {
			r.open()
			tx := message("u@e.test", "v@e.test")
			tx.To[0].Notify, tx.To[1].Notify = "NEVER", "NEVER"
			r.wantRcpts(r.sendAll(tx), "delivered", "refused rcpt 455")
			if got := strings.Join(r.commands(), "\n"); !strings.Contains(got, "RCPT TO:<u@e.test> NOTIFY=NEVER\n") || !strings.Contains(got, "RCPT TO:<u@e.test>\n") {
				r.t.Errorf("said %q", got)
			}
		})
	}
}

func TestData(t *testing.T) {
	for _, reply := range []string{"451 later", "554 no", "503 what"} {
		for name, ext := range map[string][]string{"lockstep": nil, "grouped": {"PIPELINING"}} {
			with(t, "SMTP-26 no content after "+reply+" to DATA, "+name, scripted([]smtptest.Cue{
				{At: smtptest.Data, Times: 1, Reply: reply},
			}, ext...), func(r *rig) {
				r.open()
				want := "refused data " + reply
				if reply[:3] == "503" && name == "grouped" {
					want = "not tried" // perhaps for the group
				}
				r.wantStates(r.send(message("u@e.test", "v@e.test")), want, want)
				if strings.Contains(string(r.tap.AllWritten()), "world") {
					r.t.Error("content was sent")
				}
				r.wantStates(r.send(message("u@e.test")), "delivered")
				if got := r.commands(); got[4] != "RSET" {
					r.t.Errorf("said %q", got)
				}
			})
		}
	}
	with(t, "SMTP-26 no DATA when all were refused", scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: "550 no"}}), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test", "v@e.test")), "refused", "refused")
		r.s.Quit(r.t.Context())
		r.wantCommands("MAIL FROM:<a@x.test>", "RCPT TO:<u@e.test>", "RCPT TO:<v@e.test>", "QUIT")
	})
	for _, reply := range []string{"250 yes", "451 later", "554 no"} {
		for name, ext := range modes() {
			with(t, "SMTP-27 "+reply+" at the end is for all that were accepted, "+name, scripted([]smtptest.Cue{
				{At: smtptest.Final, Reply: reply}, {At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
			}, ext...), func(r *rig) {
				r.open()
				want := "refused final " + reply
				if reply[0] == '2' {
					want = "delivered"
				}
				r.wantStates(r.send(message("u@e.test", "bad@e.test", "v@e.test")), want, "refused rcpt 550", want)
				if !r.s.Reusable() {
					r.t.Error("not of use any more")
				}
			})
		}
	}
	for name, ext := range modes() {
		host := scripted([]smtptest.Cue{
			{At: smtptest.Content, After: 100_000, Reply: "552 5.3.4 too big", Then: smtptest.Reset},
		}, ext...)
		with(t, "SMTP-27 552 in the middle of the content counts, "+name, host, func(r *rig) {
			r.open()
			tx := message("u@e.test")
			tx.Body = streamOf(strings.Repeat("0123456789abcdef\r\n", 50_000))
			res := r.send(tx)
			r.wantStates(res, "refused")
			if res.Final.Code != 552 || res.Final.Enhanced != "5.3.4" {
				r.t.Errorf("reply %+v", res.Final)
			}
			if r.s.Reusable() && r.s.Check() == nil {
				r.t.Error("still of use")
			}
		})
		with(t, "SMTP-27 a reply that waits when the content cannot be written counts, "+name, abandoned(offering(ext...)), func(r *rig) {
			late := &lateReply{Conn: r.tap, after: 200_000, reply: "552 5.3.4 too big\r\n"}
			var err error
			r.s, err = smtp.New(late, &r.cfg)
			r.must(err)
			r.open()
			tx := message("u@e.test")
			tx.Body = streamOf(strings.Repeat("0123456789abcdef\r\n", 50_000))
			res := r.send(tx)
			r.wantStates(res, "refused content 552 5.3.4")
			if r.s.Reusable() {
				r.t.Error("still of use")
			}
		})
		host = scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
			{At: smtptest.Rset, Reply: "500 what"},
		}, ext...)
		// What was sent together with RSET is out of order once that is refused.
		host.Allow = []smtptest.Rule{smtptest.RuleNestedMail, smtptest.RuleChunkAfterRefuse, smtptest.RuleNoQuit}
		with(t, "SMTP-27 RSET refused ends the session, "+name, host, func(r *rig) {
			r.warm()
			r.wantStates(r.send(message("bad@e.test")), "refused")
			res := r.send(message("u@e.test"))
			if r.s.Reusable() {
				r.t.Error("still of use")
			}
			r.wantStates(res, "not tried")
			wantErr(r.t, res.Err, smtp.StageReset, smtp.Replied)
			if !res.Stale {
				r.t.Error("no new session is asked for")
			}
		})
	}
}

// lateReply is a connection that cannot be written to once so many octets are out,
// and on which a reply is there by then, and not before.
type lateReply struct {
	net.Conn
	after int
	reply string
}

func (l *lateReply) Write(p []byte) (int, error) {
	if l.after -= len(p); l.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return l.Conn.Write(p)
}

func (l *lateReply) Read(p []byte) (int, error) {
	if l.after >= 0 {
		return l.Conn.Read(p)
	}
	if l.reply == "" {
		return 0, io.EOF
	}
	n := copy(p, l.reply)
	l.reply = l.reply[n:]
	return n, nil
}

func TestReuse(t *testing.T) {
	for name, ext := range modes() {
		with(t, "SMTP-42 five messages on one connection, "+name, offering(ext...), func(r *rig) {
			r.open()
			for range 5 {
				r.wantStates(r.send(message("u@e.test")), "delivered")
			}
			if n, m := len(r.host.Connections()), len(r.host.Messages()); n != 1 || m != 5 {
				r.t.Errorf("%d connections, %d messages", n, m)
			}
		})
	}
	with(t, "SMTP-42, EXT-27 MAILMAX=2 makes three connections of five messages", offering("LIMITS MAILMAX=2"), func(r *rig) {
		r.open()
		for range 5 {
			r.wantRcpts(r.sendAll(message("u@e.test")), "delivered")
		}
		if n := len(r.host.Connections()); n != 3 {
			r.t.Errorf("%d connections", n)
		}
	})
	with(t, "SMTP-42 nothing is sent on a session that is used up", offering("LIMITS MAILMAX=1"), func(r *rig) {
		r.warm()
		res := r.send(message("u@e.test"))
		r.wantStates(res, "not tried")
		wantErr(r.t, res.Rcpts[0].Err, smtp.StageMail, smtp.Exhausted)
	})
}

func TestCommit(t *testing.T) {
	no := errors.New("the lease has ended")
	for name, ext := range modes() {
		for _, size := range []int{1000, 200_000} {
			for _, wait := range []bool{false, true} {
				host := abandoned(offering(ext...))
				with(t, fmt.Sprintf("no message without the caller's leave, %s, %d octets, wait %t", name, size, wait), host, func(r *rig) {
					r.warm()
					tx := message("u@e.test")
					tx.Body, tx.Wait = body(make(zeros, size).Bytes()), wait
					tx.Commit = func() error { return no }
					res := r.send(tx)
					r.wantStates(res, "failed")
					if e := wantErr(r.t, res.Err, smtp.StageContent, smtp.Local); !errors.Is(e, no) {
						r.t.Errorf("cause %v", e.Err)
					}
					if name == "chunked" {
						r.wantStates(r.send(message("u@e.test")), "delivered")
						if n := len(r.host.Received()); n != 2 {
							r.t.Errorf("%d messages", n)
						}
						return
					}
					if n := len(r.host.Received()); n != 1 || r.s.Reusable() {
						r.t.Errorf("%d messages", n)
					}
				})
			}
		}
	}
}
