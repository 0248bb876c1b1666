package smtp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// TestAnswersUnread is a server that answers a group before it has read it: no
// content goes out before the commands have.
func TestAnswersUnread(t *testing.T) {
	for name, ext := range map[string]string{"BDAT": "250-PIPELINING\r\n250 CHUNKING\r\n", "DATA": "250 PIPELINING\r\n"} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("EXT-10 before %s, read after a while: %t", name, reads), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, server := net.Pipe()
					heard := make(chan string, 1)
					go func() {
						defer server.Close()
						r := bufio.NewReader(server)
						io.WriteString(server, "220 x\r\n")
						r.ReadString('\n')
						io.WriteString(server, "250-x\r\n"+ext)
						go io.WriteString(server, strings.Repeat("250 ok\r\n", 101)+"354 go\r\n")
						if reads {
							<-time.After(300 * time.Millisecond)
						} else {
							<-time.After(time.Hour)
						}
						server.SetReadDeadline(time.Now().Add(time.Minute))
						all, _ := io.ReadAll(io.LimitReader(r, 20_000))
						heard <- string(all)
					}()
					s, err := smtp.New(client, &smtp.Config{Hello: "client.example"})
					if err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(s.Greet(t.Context()), s.Hello(t.Context())); err != nil {
						t.Fatal(err)
					}
					tx := message()
					for i := range 100 {
						tx.To = append(tx.To, smtp.Rcpt{To: mailbox(fmt.Sprintf("%d-%s@e.test", i, strings.Repeat("x", 60)+"."+strings.Repeat("y", 40)))})
					}
					res := s.Send(t.Context(), tx)
					s.Close()
					said := <-heard
					if i := strings.Index(said, "world"); i >= 0 && strings.Count(said[:i], "RCPT") != 100 {
						t.Errorf("the content overtook the envelope: %.200q", said)
					}
					if said != "" && !strings.HasPrefix(said, "MAIL FROM:<a@x.test>\r\nRCPT") {
						t.Errorf("heard %.200q", said)
					}
					if !reads && (res.Err == nil || res.Err.Kind != smtp.Protocol) {
						t.Errorf("%v", res.Err)
					}
					if res.Rcpts[0].State == smtp.Delivered {
						t.Error("delivered")
					}
				})
			})
		}
	}
}

// TestReplyTooMany is a server that answers MAIL twice: nobody's verdict is taken
// for another's.
func TestReplyTooMany(t *testing.T) {
	for name, ext := range modes() {
		with(t, "EXT-8 one reply too many at MAIL, "+name, abandoned(scripted([]smtptest.Cue{
			{At: smtptest.Mail, Raw: "250 ok\r\n250 ok\r\n"}, {At: smtptest.Final, Reply: "554 spam"},
		}, ext...)), func(r *rig) {
			r.open()
			res := r.send(message("u@e.test"))
			if res.Rcpts[0].State == smtp.Delivered || r.s.Reusable() {
				r.t.Errorf("%+v", res.Rcpts[0])
			}
			wantErr(r.t, res.Err, res.Err.Stage, smtp.Protocol)
		})
	}
}

// TestReplyTooManyInAGroup is the same where the content goes along: the reply to
// RCPT could be taken for that to the content.
func TestReplyTooManyInAGroup(t *testing.T) {
	for _, c := range []struct {
		name string
		cues []smtptest.Cue
	}{
		{"MAIL, and the content refused", []smtptest.Cue{
			{At: smtptest.Mail, Nth: 2, Raw: "250 ok\r\n250 ok\r\n"}, {At: smtptest.Final, Nth: 2, Reply: "554 spam"},
		}},
		{"MAIL, and the content taken", []smtptest.Cue{{At: smtptest.Mail, Nth: 2, Raw: "250 ok\r\n250 ok\r\n"}}},
		{"the first RCPT, and the second refused", []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "u@e.test", Raw: "250 ok\r\n250 ok\r\n"}, {At: smtptest.Rcpt, Address: "v@e.test", Reply: "550 nobody"},
		}},
		{"RSET", []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 nobody"}, {At: smtptest.Rset, Raw: "250 ok\r\n250 ok\r\n"},
		}},
	} {
		with(t, "EXT-8 one reply too many at "+c.name, abandoned(scripted(c.cues, "PIPELINING", "CHUNKING")), func(r *rig) {
			r.warm()
			if c.cues[0].Address == "bad@e.test" {
				r.wantStates(r.send(message("bad@e.test")), "refused")
			}
			res := r.send(message("u@e.test", "v@e.test"))
			r.wantStates(res, "unknown", "unknown")
			if r.s.Reusable() || res.Doubt.Next&smtp.OptPipelining == 0 {
				r.t.Errorf("reusable %v, doubt %+v", r.s.Reusable(), res.Doubt)
			}
			wantErr(r.t, res.Err, smtp.StageFinal, smtp.Protocol)
		})
	}
}

// TestGoodbyeBehindTheContent: a server ends the session in the same breath in which it
// takes the content, as some do after so many messages or at once. The message was taken.
func TestGoodbyeBehindTheContent(t *testing.T) {
	for name, ext := range modes() {
		for _, bye := range []string{"421 4.3.2 enough\r\n", "221 2.0.0 enough\r\n", "421", "221"} {
			with(t, "SMTP-19 "+strings.TrimSpace(bye)+", "+name, abandoned(scripted([]smtptest.Cue{
				{At: smtptest.Final, Nth: 2, Raw: "250 ok\r\n" + bye, Then: smtptest.Close},
			}, ext...)), func(r *rig) {
				r.warm()
				r.wantStates(r.send(message("u@e.test")), "delivered")
				if r.s.Check() == nil {
					r.t.Error("the session goes on")
				}
			})
		}
	}
}

// TestRefusedResetAndLost: a server that refuses RSET has not said that it closes.
// The content went along, and it may have been taken when the rest is lost.
func TestRefusedResetAndLost(t *testing.T) {
	for _, c := range []struct {
		name, reset string
		last        smtptest.Cue
		maybe       bool
	}{
		{"500 to RSET, and the end", "500 what", smtptest.Cue{At: smtptest.Mail, Nth: 3, Then: smtptest.Close}, true},
		{"500 to RSET, and the end at the content", "500 what", smtptest.Cue{At: smtptest.Final, Nth: 2, Then: smtptest.Close}, true},
		{"421 to RSET, and the end", "421 closing", smtptest.Cue{At: smtptest.Mail, Nth: 3, Then: smtptest.Close}, false},
	} {
		host := abandoned(scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}, {At: smtptest.Rset, Reply: c.reset}, c.last,
		}, "PIPELINING", "CHUNKING"))
		host.Allow = append(host.Allow, smtptest.RuleNestedMail, smtptest.RuleChunkAfterRefuse)
		with(t, "SMTP-21 "+c.name, host, func(r *rig) {
			r.warm()
			r.wantStates(r.send(message("bad@e.test")), "refused")
			res := r.send(message("u@e.test"))
			if maybe := res.MaybeSent || res.Unknown; maybe != c.maybe {
				r.t.Errorf("may have been taken: %v, want %v: %+v", maybe, c.maybe, res)
			}
		})
	}
}

// TestHungUp is what becomes of content that went along where the server says
// that it closes.
func TestHungUp(t *testing.T) {
	for _, c := range []struct {
		name string
		cues []smtptest.Cue
		want []string
	}{
		{"421 and the end", []smtptest.Cue{{At: smtptest.Rcpt, Address: "v@e.test", Reply: "421 closing", Then: smtptest.Close}}, []string{"failed", "failed"}},
		{"421, more replies, and the end", []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "v@e.test", Reply: "421 too many"}, {At: smtptest.Rcpt, Address: "w@e.test"}, {At: smtptest.Final, Nth: 2, Then: smtptest.Close},
		}, []string{"unknown", "failed", "unknown"}},
		{"421 and silence", []smtptest.Cue{{At: smtptest.Rcpt, Address: "v@e.test", Reply: "421 closing", Then: smtptest.Stall}}, []string{"unknown", "failed"}},
		{"421 to MAIL and silence", []smtptest.Cue{{At: smtptest.Mail, Nth: 2, Reply: "421 closing", Then: smtptest.Stall}}, []string{"not tried", "not tried"}},
		{"RSET refused, and BDAT for that", []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}, {At: smtptest.Rset, Reply: "500 what"}, {At: smtptest.Mail, Nth: 3, Reply: "250 ok"},
		}, []string{"failed", "failed"}},
		{"221 and the end", []smtptest.Cue{{At: smtptest.Rcpt, Address: "v@e.test", Reply: "221 closing", Then: smtptest.Close}}, []string{"failed", "failed"}},
		{"221, more replies, and the end", []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "v@e.test", Reply: "221 too many"}, {At: smtptest.Rcpt, Address: "w@e.test"}, {At: smtptest.Final, Nth: 2, Then: smtptest.Close},
		}, []string{"unknown", "failed", "unknown"}},
		{"221, and all is well", []smtptest.Cue{{At: smtptest.Rcpt, Address: "v@e.test", Reply: "221 too many"}}, []string{"delivered", "failed", "delivered"}},
		{"221 and silence", []smtptest.Cue{{At: smtptest.Rcpt, Address: "v@e.test", Reply: "221 closing", Then: smtptest.Stall}}, []string{"unknown", "failed"}},
		{"221 to MAIL and silence", []smtptest.Cue{{At: smtptest.Mail, Nth: 2, Reply: "221 closing", Then: smtptest.Stall}}, []string{"not tried", "not tried"}},
		{"221 to RSET, and the end", []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}, {At: smtptest.Rset, Reply: "221 closing", Then: smtptest.Close},
		}, []string{"not tried", "not tried"}},
		{"221 to RSET, and a refusal", []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}, {At: smtptest.Rset, Reply: "221 closing"}, {At: smtptest.Mail, Nth: 3, Reply: "503 no", Then: smtptest.Close},
		}, []string{"not tried", "not tried"}},
	} {
		host := abandoned(scripted(c.cues, "PIPELINING", "CHUNKING"))
		host.Allow = append(host.Allow, smtptest.RuleNestedMail, smtptest.RuleChunkAfterRefuse)
		with(t, "SMTP-19, SMTP-21 "+c.name, host, func(r *rig) {
			r.warm()
			to := []string{"u@e.test", "v@e.test", "w@e.test"}[:len(c.want)]
			if c.cues[0].Address == "bad@e.test" {
				r.wantStates(r.send(message("bad@e.test")), "refused")
			}
			res := r.send(message(to...))
			r.wantStates(res, c.want...)
			if res.Doubt.Now != 0 {
				r.t.Errorf("doubt %+v", res.Doubt)
			}
		})
	}
}

// noDeadline is a connection as one through SSH is: it knows no deadlines.
type noDeadline struct{ net.Conn }

var errNoDeadline = errors.New("deadline not supported")

func (noDeadline) SetDeadline(time.Time) error      { return errNoDeadline }
func (noDeadline) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (noDeadline) SetWriteDeadline(time.Time) error { return errNoDeadline }

// TestWithoutDeadlines is that every wait ends over such a connection too.
func TestWithoutDeadlines(t *testing.T) {
	without := func(r *rig) {
		var err error
		r.s, err = smtp.New(noDeadline{r.tap}, &r.cfg)
		r.must(err)
	}
	for name, ext := range modes() {
		with(t, "a message takes its time, "+name, scripted([]smtptest.Cue{{At: smtptest.Rcpt, Delay: 4 * time.Minute}, {At: smtptest.Final, Delay: 9 * time.Minute}}, ext...), func(r *rig) {
			without(r)
			r.warm()
			r.must(r.s.Check())
			<-time.After(20 * time.Minute) // no deadline from before strikes
			r.wantStates(r.send(message("u@e.test")), "delivered")
		})
		for _, at := range []smtptest.Stage{smtptest.Banner, smtptest.Hello, smtptest.Mail, smtptest.Rcpt, smtptest.Final} {
			for _, then := range []smtptest.Then{smtptest.Stall, smtptest.StopReading} {
				with(t, fmt.Sprintf("SMTP-34 a host that is silent at %v (%d), %s", at, then, name), abandoned(scripted([]smtptest.Cue{{At: at, Then: then}}, ext...)), func(r *rig) {
					without(r)
					var err error
					d := took(func() {
						if err = r.s.Greet(r.t.Context()); err != nil {
							return
						}
						if err = r.s.Hello(r.t.Context()); err != nil {
							return
						}
						tx := message("u@e.test")
						tx.Body = body(make(zeros, 300_000).Bytes())
						err = r.send(tx).Err
					})
					var e *smtp.Error
					if !errors.As(err, &e) || e.Kind != smtp.Timeout || d > 14*time.Minute {
						r.t.Errorf("%v after %v", err, d)
					}
				})
			}
			with(t, fmt.Sprintf("SMTP-34 canceled at %v, %s", at, name), abandoned(scripted([]smtptest.Cue{{At: at, Then: smtptest.Stall}}, ext...)), func(r *rig) {
				without(r)
				ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
				defer cancel()
				var err error
				d := took(func() {
					if err = r.s.Greet(ctx); err != nil {
						return
					}
					if err = r.s.Hello(ctx); err != nil {
						return
					}
					err = r.s.Send(ctx, message("u@e.test")).Err
				})
				var e *smtp.Error
				if !errors.As(err, &e) || e.Kind != smtp.Canceled || d != time.Second {
					r.t.Errorf("%v after %v", err, d)
				}
			})
		}
	}
}

// TestKeptText is how much of what a server says is kept.
func TestKeptText(t *testing.T) {
	nasty := strings.Repeat("\xff", 2040)
	for name, reply := range map[string]string{
		"128 lines":            strings.TrimSuffix(smtptest.Lines(550, 127, nasty), "\n"),
		"one line":             "550 " + nasty,
		"a status after much":  "550-" + nasty + "\n550 5.1.1 who",
		"a great many letters": "550 " + strings.Repeat("x", 5000),
	} {
		with(t, "SMTP-18 no more than 2 KiB of a reply, once escaped: "+name, scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: reply}}), func(r *rig) {
			r.open()
			res := r.send(message("u@e.test"))
			r.wantStates(res, "refused rcpt 550")
			text := res.Rcpts[0].Reply.Text
			if len(text) > 2048 || len(text) < 1900 || strings.HasSuffix(text, `\`) || strings.HasSuffix(text, `\x`) || strings.HasSuffix(text, `\xF`) {
				r.t.Errorf("%d octets, ending in %q", len(text), text[len(text)-10:])
			}
		})
	}
	with(t, "I18N-9 no character is cut in two", scripted([]smtptest.Cue{{At: smtptest.Rcpt, Reply: "551 x" + strings.Repeat("ö", 3000)}}, "SMTPUTF8", "8BITMIME"), func(r *rig) {
		r.open()
		text := r.send(message("jü@e.test")).Rcpts[0].Reply.Text
		if len(text) > 2048 || !strings.HasSuffix(text, "ö") {
			r.t.Errorf("%d octets, ending in %q", len(text), text[len(text)-10:])
		}
	})
	lines := "250-h\r\n" + strings.Repeat("250-X-"+strings.Repeat("Y", 50)+" "+strings.Repeat("z", 440)+"\r\n", 60) + "250 SIZE 1000\r\n"
	greeted(t, "SMTP-6 the last of many long keywords is read", lines, func(t *testing.T, x *smtp.Extensions) {
		if x.MaxSize != 1000 {
			t.Errorf("%+v", x)
		}
	})
}

// TestBackstop is how long a transaction may take as a whole.
func TestBackstop(t *testing.T) {
	for name, ext := range modes() {
		for n, d := range map[int]time.Duration{100: 4*time.Minute + 50*time.Second, 300: 4*time.Minute + 59*time.Second} {
			with(t, fmt.Sprintf("SMTP-34, SMTP-37 %d recipients that take %v each, %s", n, d, name), scripted([]smtptest.Cue{{At: smtptest.Rcpt, Delay: d}}, ext...), func(r *rig) {
				r.open()
				res := r.send(message(recipients(n)...))
				if res.Rcpts[n-1].State != smtp.Delivered {
					r.t.Errorf("%+v, %v", res.Rcpts[n-1], res.Err)
				}
			})
		}
	}
	short := smtp.Config{Timeouts: smtp.Timeouts{Backstop: time.Minute}}
	withConfig(t, "SMTP-34 content that trickles ends by it", abandoned(scripted([]smtptest.Cue{{At: smtptest.Content, Every: 8 << 10, Delay: 2 * time.Minute}})), short, func(r *rig) {
		r.open()
		tx := message("u@e.test")
		tx.Body = body(make(zeros, 1<<20).Bytes())
		var res smtp.Result
		d := took(func() { res = r.send(tx) })
		wantErr(r.t, res.Err, smtp.StageContent, smtp.Timeout)
		if d < time.Hour || d > 2*time.Hour {
			r.t.Errorf("took %v", d)
		}
	})
}
