package smtp_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/internal/tap"
)

// operations are all that can be done with a session, by the stage of their errors.
func operations(r *rig) map[smtp.Stage]func(ctx context.Context) error {
	return map[smtp.Stage]func(ctx context.Context) error{
		smtp.StageBanner:    r.s.Greet,
		smtp.StageHello:     r.s.Hello,
		smtp.StageStartTLS:  func(ctx context.Context) error { return r.s.StartTLS(ctx, insecure()) },
		smtp.StageHandshake: func(ctx context.Context) error { return r.s.Handshake(ctx, insecure()) },
		smtp.StageAuth:      func(ctx context.Context) error { return r.s.Auth(ctx, plain()) },
		smtp.StageMail:      func(ctx context.Context) error { return r.s.Send(ctx, message("u@e.test")).Err },
	}
}

// TestNotBegun: where the context has ended, or the session has, nothing is said.
func TestNotBegun(t *testing.T) {
	enough := errors.New("enough")
	host := &smtptest.Host{Extensions: []string{"STARTTLS", "AUTH PLAIN"}, Allow: []smtptest.Rule{smtptest.RuleNoQuit}}
	with(t, "the context has ended", host, func(r *rig) {
		r.open()
		said := len(r.commands())
		ctx, cancel := context.WithCancelCause(r.t.Context())
		cancel(enough)
		for stage, do := range operations(r) {
			if e := wantErr(r.t, do(ctx), stage, smtp.Canceled); !errors.Is(e, enough) || e.Doubt != (smtp.Doubt{}) {
				r.t.Errorf("%v: %v, %+v", stage, e, e.Doubt)
			}
		}
		if n := len(r.commands()); n != said || !r.s.Reusable() {
			r.t.Errorf("%d commands more", n-said)
		}
		r.s.Quit(ctx)
		if n := len(r.commands()); n != said {
			r.t.Errorf("said %q", r.commands())
		}
		for stage, do := range operations(r) {
			if e := wantErr(r.t, do(r.t.Context()), stage, smtp.Closed); !errors.Is(e, net.ErrClosed) {
				r.t.Errorf("%v: %v", stage, e)
			}
		}
		if err := r.s.Check(); !errors.Is(err, net.ErrClosed) || r.s.Reusable() {
			r.t.Errorf("a session that is closed: %v", err)
		}
	})
}

// TestTLSRefused is what is in doubt where STARTTLS was refused and the session, going
// on in clear, came to grief.
func TestTLSRefused(t *testing.T) {
	for _, c := range []struct {
		reply string
		lost  smtptest.Stage
		want  smtp.Doubt
	}{
		{"502 what", smtptest.Mail, smtp.Doubt{Now: smtp.OptTLS, Next: smtp.OptTLS}},
		{"454 4.7.0 not now", smtptest.Mail, smtp.Doubt{Now: smtp.OptTLS, Next: smtp.OptTLS, Brief: smtp.OptTLS}},
		{"502 what", smtptest.Rcpt, smtp.Doubt{}},
	} {
		with(t, "TLS-4 "+c.reply+", and lost at "+c.lost.String(), abandoned(scripted([]smtptest.Cue{
			{At: smtptest.StartTLS, Reply: c.reply}, {At: c.lost, Then: smtptest.Close},
		}, "STARTTLS")), func(r *rig) {
			r.open()
			e := wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Replied)
			if status := e.Reply.Enhanced; (status == "4.7.0") != (e.Reply.Code == 454) {
				r.t.Errorf("the status is %q", status)
			}
			if res := r.send(message("u@e.test")); res.Doubt != c.want {
				r.t.Errorf("in doubt: %+v, want %+v", res.Doubt, c.want)
			}
		})
	}
	with(t, "TLS-4 3yz to STARTTLS makes no sense", abandoned(scripted([]smtptest.Cue{{At: smtptest.StartTLS, Reply: "354 go on"}}, "STARTTLS")), func(r *rig) {
		r.open()
		e := wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Protocol)
		if e.Doubt.Now != smtp.OptTLS || r.s.Reusable() {
			r.t.Errorf("in doubt: %+v", e.Doubt)
		}
	})
	with(t, "TLS-4 421 to STARTTLS", scripted([]smtptest.Cue{{At: smtptest.StartTLS, Reply: "421 bye"}}, "STARTTLS"), func(r *rig) {
		r.open()
		e := wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Replied)
		if e.Doubt.Now != smtp.OptTLS || r.s.Reusable() {
			r.t.Errorf("in doubt: %+v", e.Doubt)
		}
	})
	with(t, "TLS-3 octets in clear behind the reply end the session", abandoned(scripted([]smtptest.Cue{{At: smtptest.StartTLS, Raw: "220 go\r\n250 x\r\n"}}, "STARTTLS")), func(r *rig) {
		r.open()
		e := wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Security)
		if e.Doubt != (smtp.Doubt{}) {
			r.t.Errorf("in doubt: %+v", e.Doubt)
		}
		wantErr(r.t, r.s.Hello(r.t.Context()), smtp.StageHello, smtp.Closed)
	})
	with(t, "TLS-3 octets ahead of STARTTLS put nothing in doubt", abandoned(scripted([]smtptest.Cue{{At: smtptest.Hello, Raw: "250-h\r\n250 STARTTLS\r\n250 x\r\n"}}, "STARTTLS")), func(r *rig) {
		r.open()
		e := wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageIdle, smtp.Protocol)
		if e.Doubt != (smtp.Doubt{}) {
			r.t.Errorf("in doubt: %+v", e.Doubt)
		}
	})
	with(t, "TLS-4 a handshake that is not answered", abandoned(scripted([]smtptest.Cue{{At: smtptest.Handshake, Then: smtptest.Stall}}, "STARTTLS")), func(r *rig) {
		r.open()
		var e *smtp.Error
		d := took(func() { e = wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageHandshake, smtp.Timeout) })
		if d != 5*time.Minute || e.Doubt.Now != smtp.OptTLS {
			r.t.Errorf("after %v, in doubt: %+v", d, e.Doubt)
		}
	})
	implicit := abandoned(scripted([]smtptest.Cue{{At: smtptest.Hello, Then: smtptest.Close}}))
	implicit.ImplicitTLS = true
	with(t, "TLS-4 a loss at EHLO in TLS from the start is not put down to TLS", implicit, func(r *rig) {
		r.must(r.s.Handshake(r.t.Context(), insecure()))
		if !r.s.Encrypted() {
			r.t.Error("no TLS")
		}
		r.must(r.s.Greet(r.t.Context()))
		if e := wantErr(r.t, r.s.Hello(r.t.Context()), smtp.StageHello, smtp.Closed); e.Doubt.Now|e.Doubt.Next != smtp.OptEHLO {
			r.t.Errorf("in doubt: %+v", e.Doubt)
		}
	})
}

// TestHelloAgain: what an earlier EHLO offered is forgotten.
func TestHelloAgain(t *testing.T) {
	with(t, "EXT-1 EHLO that is refused later", scripted([]smtptest.Cue{{At: smtptest.Hello, Nth: 2, Reply: "421 no"}}, "SIZE 10"), func(r *rig) {
		r.open()
		if r.s.Encrypted() || !r.s.Reusable() {
			r.t.Error("it is of no use, or there is TLS")
		}
		wantErr(r.t, r.s.Hello(r.t.Context()), smtp.StageHello, smtp.Replied)
		if x := r.s.Extensions(); x.ESMTP || x.Size || r.s.Reusable() {
			r.t.Errorf("%+v", x)
		}
	})
	with(t, "EXT-1 HELO says who the host is", &smtptest.Host{Name: "old.e.test", NoEHLO: true}, func(r *rig) {
		r.open()
		if x := r.s.Extensions(); x.Greeting != "old.e.test" || x.ESMTP {
			r.t.Errorf("%+v", x)
		}
	})
	with(t, "3yz makes no sense as a greeting", abandoned(scripted([]smtptest.Cue{{At: smtptest.Banner, Reply: "354 go"}})), func(r *rig) {
		wantErr(r.t, r.s.Greet(r.t.Context()), smtp.StageBanner, smtp.Protocol)
	})
	with(t, "a greeting that refuses leaves QUIT alone", scripted([]smtptest.Cue{{At: smtptest.Banner, Reply: "554 no"}}), func(r *rig) {
		wantErr(r.t, r.s.Greet(r.t.Context()), smtp.StageBanner, smtp.Replied)
		if r.s.Reusable() {
			r.t.Error("still of use")
		}
	})
	with(t, "SMTP-42 a reply too many", abandoned(scripted([]smtptest.Cue{{At: smtptest.Final, Reply: "250 ok\n250 ok"}})), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if r.s.Reusable() {
			r.t.Error("still of use")
		}
	})
	with(t, "without what was found not to work", offering("SIZE", "DSN"), func(r *rig) {
		r.open()
		r.s.DoWithout(smtp.OptSize)
		if r.s.Without() != smtp.OptSize {
			r.t.Errorf("does without %v", r.s.Without())
		}
		r.send(message("u@e.test"))
		r.s.DoWithout(0)
		r.send(message("u@e.test"))
		if got := r.commands(); got[0] != "MAIL FROM:<a@x.test>" || !strings.HasPrefix(got[4], "MAIL FROM:<a@x.test> SIZE=") {
			r.t.Errorf("said %q", got)
		}
	})
}

// TestTraced is what a trace has of a dialogue, and until when.
func TestTraced(t *testing.T) {
	bad := []smtptest.Cue{{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}}
	envelope := []string{"C: MAIL FROM:<a@x.test>", "C: RCPT TO:<u@e.test>"}
	for name, c := range map[string]struct {
		ext  []string
		want []string
	}{
		"lockstep": {nil, []string{
			envelope[0], "S: 250 2.1.0 sender ok", envelope[1], "S: 250 2.1.5 recipient ok", "C: DATA", "S: 354 go on", "C: <25 octets of content>", "S: 250 2.0.0 taken",
		}},
		"grouped": {[]string{"PIPELINING"}, []string{
			envelope[0], envelope[1], "C: DATA", "S: 250 2.1.0 sender ok", "S: 250 2.1.5 recipient ok", "S: 354 go on", "C: <25 octets of content>", "S: 250 2.0.0 taken",
		}},
		"by BDAT": {[]string{"PIPELINING", "CHUNKING"}, []string{
			envelope[0], envelope[1], "S: 250 2.1.0 sender ok", "S: 250 2.1.5 recipient ok", "C: BDAT 25 LAST", "C: <25 octets of content>", "S: 250 2.0.0 taken",
		}},
	} {
		with(t, "all of it, "+name, scripted(bad, c.ext...), func(r *rig) {
			r.open()
			r.said = nil
			r.wantStates(r.send(message("u@e.test")), "delivered")
			if got := sides(r.said); !slices.Equal(codes(got), codes(c.want)) {
				r.t.Errorf("traced\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			var heard []smtp.Line
			r.s.SetTrace(func(l smtp.Line) { heard = append(heard, l) })
			n := len(r.said)
			r.send(message("bad@e.test"))
			if len(r.said) != n || len(heard) < 4 {
				r.t.Errorf("%d lines to the old trace, %d to the new", len(r.said)-n, len(heard))
			}
			heard = nil
			r.s.SetTrace(nil)
			r.send(message("u@e.test"))
			if len(r.said) != n || len(heard) != 0 {
				r.t.Errorf("%d and %d lines to nobody", len(r.said)-n, len(heard))
			}
		})
	}
	with(t, "EXT-9 the dot for nobody", scripted(append(bad, smtptest.Cue{At: smtptest.Data, Times: 1, Reply: "354 go on"}), "PIPELINING"), func(r *rig) {
		r.open()
		r.send(message("bad@e.test"))
		if !slices.Contains(sides(r.said), "C: .") {
			r.t.Errorf("traced %q", sides(r.said))
		}
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if got := r.commands(); !slices.Contains(got, "RSET") {
			r.t.Errorf("said %q", got)
		}
	})
}

// sides are the lines of a trace, with who said them.
func sides(list []smtp.Line) (text []string) {
	for _, l := range list {
		who := "S: "
		if l.Sent {
			who = "C: "
		}
		text = append(text, who+l.Text)
	}
	return text
}

// codes are lines of a trace without the words of replies.
func codes(list []string) []string {
	short := slices.Clone(list)
	for i, l := range short {
		if strings.HasPrefix(l, "S: ") {
			short[i] = l[:6]
		}
	}
	return short
}

// TestDataRefused is who is concerned where DATA is refused for the order of commands.
func TestDataRefused(t *testing.T) {
	with(t, "EXT-8 503 to DATA of a group, and one recipient refused before", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}, {At: smtptest.Data, Grouped: true, Reply: "503 5.5.1 what"},
	}, "PIPELINING"), func(r *rig) {
		r.open()
		tx := message("u@e.test", "bad@e.test")
		r.wantStates(r.send(tx), "not tried", "refused rcpt 550")
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
}

// TestNoneOffered is a message of which no recipient can be offered.
func TestNoneOffered(t *testing.T) {
	with(t, "I18N-5 no address can be said", offering("SIZE"), func(r *rig) {
		r.open()
		tx := message("ü@e.test", "ö@e.test")
		res := r.send(tx)
		if e := wantErr(r.t, res.Err, smtp.StageRcpt, smtp.Unfit); e.Enhanced != "5.6.7" || res.Stale {
			r.t.Errorf("%v, stale: %t", e, res.Stale)
		}
		r.wantStates(res, "not tried", "not tried")
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
}

// TestUnreadGroup is a host that answers a group without reading it. What is still to be
// written is given up, a moment after the last reply, or at once where the session is
// over anyway; and nothing is written once Send has returned.
func TestUnreadGroup(t *testing.T) {
	const n = 4000
	for name, c := range map[string]struct {
		replies string
		want    time.Duration
		kind    smtp.Kind
		fails   bool
	}{
		"refusals":      {"250 ok\r\n" + strings.Repeat("550 no\r\n", n) + "554 none\r\n", time.Second, 0, false},
		"an invitation": {"250 ok\r\n" + strings.Repeat("550 no\r\n", n) + "354 go\r\n", time.Second, 0, false},
		"no sense":      {"250 ok\r\nwhat\r\n", 0, smtp.Protocol, true},
		"its goodbye":   {"421 bye\r\n", 0, smtp.Replied, true},
	} {
		t.Run("EXT-10 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := smtptest.Pipe()
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = io.WriteString(server, "220 h\r\n")
					_, _ = io.ReadFull(server, make([]byte, len("EHLO client.example\r\n")))
					_, _ = io.WriteString(server, "250-h\r\n250 PIPELINING\r\n")
					_, _ = io.ReadFull(server, make([]byte, 10))
					_, _ = io.WriteString(server, c.replies)
				}()
				tapped := tap.New(client)
				s, err := smtp.New(tapped, &smtp.Config{Hello: "client.example"})
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(s.Greet(t.Context()), s.Hello(t.Context())); err != nil {
					t.Fatal(err)
				}
				var res smtp.Result
				d := took(func() { res = s.Send(t.Context(), message(recipients(n)...)) })
				if d != c.want || s.Reusable() || (res.Err != nil) != c.fails || c.fails && res.Err.Kind != c.kind {
					t.Errorf("%v after %v, want %v; still of use: %t", res.Err, d, c.want, s.Reusable())
				}
				written := len(tapped.AllWritten())
				<-done
				go func() { _, _ = io.Copy(io.Discard, server) }()
				synctest.Wait()
				if more := len(tapped.AllWritten()) - written; more != 0 {
					t.Errorf("%d octets were written after Send", more)
				}
				s.Close()
				server.Close()
			})
		})
	}
}

// TestGoodbyeInTwoParts is a 421 that a session finds on its next use, hours after the
// last message, of which a part came with the last reply.
func TestGoodbyeInTwoParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := smtptest.Pipe()
		go func() {
			_, _ = io.WriteString(server, "220 h\r\n")
			lines := bufio.NewScanner(server)
			for _, reply := range []string{"250 h\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"} {
				lines.Scan()
				_, _ = io.WriteString(server, reply)
			}
			for lines.Scan() && lines.Text() != "." {
			}
			_, _ = io.WriteString(server, "250 ok\r\n42")
			time.Sleep(5 * time.Hour)
			_, _ = io.WriteString(server, "1 bye\r\n")
		}()
		s, err := smtp.New(client, &smtp.Config{Hello: "client.example"})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Greet(t.Context()), s.Hello(t.Context())); err != nil {
			t.Fatal(err)
		}
		if res := s.Send(t.Context(), message("u@e.test")); res.Rcpts[0].State != smtp.Delivered {
			t.Fatal(res.Err)
		}
		time.Sleep(6 * time.Hour)
		res := s.Send(t.Context(), message("u@e.test"))
		if e := wantErr(t, res.Err, smtp.StageIdle, smtp.Replied); e.Reply.Code != 421 || !res.Stale || res.Rcpts[0].State != smtp.NotTried {
			t.Errorf("%v, stale: %t, %v", e, res.Stale, res.Rcpts[0].State)
		}
		s.Close()
		server.Close()
	})
}
