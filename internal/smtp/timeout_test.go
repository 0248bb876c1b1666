package smtp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// lateCue answers at a stage after d.
func lateCue(at smtptest.Stage, d time.Duration) []smtptest.Cue {
	return []smtptest.Cue{{At: at, Nth: 1, Delay: d}}
}

// abandoned lets a host be left without QUIT, as one that does not answer is.
func abandoned(h *smtptest.Host) *smtptest.Host {
	h.Allow = append(h.Allow, smtptest.RuleNoQuit)
	return h
}

func TestPhases(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		row   string
		at    smtptest.Stage
		stage smtp.Stage
		limit time.Duration
		state string // where the limit is passed
	}{
		{"SMTP-36", smtptest.Banner, smtp.StageBanner, 5 * time.Minute, ""},
		{"SMTP-41", smtptest.Hello, smtp.StageHello, 5 * time.Minute, ""},
		{"SMTP-37", smtptest.Mail, smtp.StageMail, 5 * time.Minute, "failed"},
		{"SMTP-37", smtptest.Rcpt, smtp.StageRcpt, 5 * time.Minute, "failed"},
		{"SMTP-38", smtptest.Data, smtp.StageData, 2 * time.Minute, "failed"},
		{"SMTP-40", smtptest.Final, smtp.StageFinal, 10 * time.Minute, "unknown"},
	} {
		with(t, c.row+" in time at "+c.at.String(), scripted(lateCue(c.at, c.limit-second)), func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test")), "delivered")
		})
		with(t, c.row+" too late at "+c.at.String(), abandoned(scripted(lateCue(c.at, c.limit+second))), func(r *rig) {
			var err error
			d := took(func() {
				if err = r.s.Greet(r.t.Context()); err != nil {
					return
				}
				if err = r.s.Hello(r.t.Context()); err != nil {
					return
				}
				res := r.send(message("u@e.test"))
				r.wantStates(res, c.state)
				err = res.Err
			})
			wantErr(r.t, err, c.stage, smtp.Timeout)
			if d != c.limit {
				r.t.Errorf("ended after %v", d)
			}
			if c.at < smtptest.Final && strings.Contains(string(r.tap.AllWritten()), "world") {
				r.t.Error("content was sent")
			}
		})
	}
	with(t, "SMTP-40 the last BDAT", scripted(lateCue(smtptest.Final, 9*time.Minute+30*second), "PIPELINING", "CHUNKING"), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
	for name, ext := range modes() {
		with(t, "SMTP-37 a hundred RCPTs of a minute each, "+name, scripted([]smtptest.Cue{{At: smtptest.Rcpt, Delay: time.Minute}}, ext...), func(r *rig) {
			r.open()
			res := r.send(message(recipients(100)...))
			if res.Rcpts[99].State != smtp.Delivered {
				r.t.Errorf("%+v, %v", res.Rcpts[99], res.Err)
			}
		})
	}
}

func TestShortPhases(t *testing.T) {
	every := smtp.Timeouts{Greeting: time.Second, Hello: time.Second, StartTLS: time.Second, Mail: time.Second,
		Rcpt: time.Second, Data: time.Second, Final: time.Second, Reset: time.Second, Quit: time.Second}
	for _, c := range []struct {
		at    smtptest.Stage
		stage smtp.Stage
	}{
		{smtptest.Hello, smtp.StageHello},
		{smtptest.StartTLS, smtp.StageStartTLS},
		{smtptest.Handshake, smtp.StageHandshake},
		{smtptest.Rset, smtp.StageReset},
	} {
		for name, cue := range map[string]smtptest.Cue{
			"silence": {At: c.at, Then: smtptest.Stall},
			"a drip":  {At: c.at, Reply: "250 half a second each", Drip: 500 * time.Millisecond},
		} {
			if c.at == smtptest.Handshake && name == "a drip" {
				continue
			}
			host := abandoned(scripted([]smtptest.Cue{cue, {At: smtptest.Rcpt, Reply: "550 no"}}, "STARTTLS"))
			withConfig(t, "SMTP-41 "+name+" at "+c.at.String(), host, smtp.Config{Timeouts: every}, func(r *rig) {
				r.must(r.s.Greet(r.t.Context()))
				var err error
				d := took(func() {
					switch c.at {
					case smtptest.Hello:
						err = r.s.Hello(r.t.Context())
					case smtptest.Rset:
						r.must(r.s.Hello(r.t.Context()))
						r.wantStates(r.send(message("u@e.test")), "refused")
						err = r.send(message("u@e.test")).Err
					default:
						r.must(r.s.Hello(r.t.Context()))
						err = r.s.StartTLS(r.t.Context(), insecure())
					}
				})
				wantErr(r.t, err, c.stage, smtp.Timeout)
				if d != time.Second {
					r.t.Errorf("ended after %v", d)
				}
			})
		}
	}
}

func TestSlowContent(t *testing.T) {
	long := body(strings.Repeat("0123456789abcdef\r\n", 60_000))
	for name, ext := range modes() {
		// 64 KiB each 170 s: no block stalls for long, and the whole takes most of
		// an hour.
		with(t, "SMTP-34, SMTP-39 a host that reads 64 KiB in 170 s, "+name,
			scripted([]smtptest.Cue{{At: smtptest.Content, Every: 64 << 10, Delay: 170 * time.Second}}, ext...), func(r *rig) {
				r.open()
				tx := message("u@e.test")
				tx.Body = long
				d := took(func() { r.wantStates(r.send(tx), "delivered") })
				if d < 40*time.Minute {
					r.t.Errorf("took %v", d)
				}
			})
		with(t, "SMTP-39 a host that does not read for long, "+name,
			abandoned(scripted([]smtptest.Cue{{At: smtptest.Content, After: 64 << 10, Then: smtptest.StopReading}}, ext...)), func(r *rig) {
				r.open()
				tx := message("u@e.test")
				tx.Body = long
				var res smtp.Result
				d := took(func() { res = r.send(tx) })
				r.wantStates(res, "failed")
				wantErr(r.t, res.Err, smtp.StageContent, smtp.Timeout)
				if d < 3*time.Minute || d > 3*time.Minute+12*time.Second {
					r.t.Errorf("took %v", d)
				}
			})
		with(t, "a host that reads an octet a minute, "+name,
			abandoned(scripted([]smtptest.Cue{{At: smtptest.Content, Every: 1, Delay: time.Minute}}, ext...)), func(r *rig) {
				r.open()
				tx := message("u@e.test")
				tx.Body = long
				var res smtp.Result
				d := took(func() { res = r.send(tx) })
				if res.Err == nil || res.Err.Kind != smtp.Timeout {
					r.t.Errorf("error %v", res.Err)
				}
				if most := 4*time.Hour + time.Duration(len(long)/256+2)*time.Second; d > most {
					r.t.Errorf("took %v, more than %v", d, most)
				}
			})
	}
}

func TestCancel(t *testing.T) {
	long := strings.Repeat("0123456789abcdef\r\n", 20_000)
	gone := errors.New("no time left")
	for _, c := range []struct {
		name  string
		cue   smtptest.Cue
		state string
	}{
		{"waiting for MAIL", smtptest.Cue{At: smtptest.Mail, Nth: 2, Then: smtptest.Stall}, "failed"},
		{"waiting for RCPT", smtptest.Cue{At: smtptest.Rcpt, Address: "u@e.test", Then: smtptest.Stall}, "failed"},
		{"in the middle of the content", smtptest.Cue{At: smtptest.Content, After: 100_000, Then: smtptest.StopReading}, "failed"},
		{"waiting for the verdict", smtptest.Cue{At: smtptest.Final, Nth: 2, Then: smtptest.Stall}, "unknown"},
	} {
		for name, ext := range modes() {
			with(t, "SMTP-34 canceled "+c.name+", "+name, abandoned(scripted([]smtptest.Cue{c.cue}, ext...)), func(r *rig) {
				r.warm()
				tx := message("u@e.test")
				tx.Body = body(long)
				ctx, cancel := context.WithCancelCause(r.t.Context())
				time.AfterFunc(5*time.Second, func() { cancel(gone) })
				var res smtp.Result
				d := took(func() { res = r.s.Send(ctx, tx) })
				r.wantStates(res, c.state)
				if res.Err.Kind != smtp.Canceled || !errors.Is(res.Err, gone) || d != 5*time.Second {
					r.t.Errorf("%v after %v", res.Err, d)
				}
				if r.s.Reusable() {
					r.t.Error("still of use")
				}
			})
		}
	}
	with(t, "SMTP-34 canceled before it began", offering("PIPELINING"), func(r *rig) {
		r.warm()
		ctx, cancel := context.WithCancel(r.t.Context())
		cancel()
		res := r.s.Send(ctx, message("u@e.test"))
		r.wantStates(res, "not tried")
		if res.Err.Kind != smtp.Canceled || !r.s.Reusable() {
			r.t.Errorf("%v", res.Err)
		}
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
	with(t, "a context that ends after the answer costs nothing", offering("PIPELINING"), func(r *rig) {
		r.open()
		for range 3 {
			ctx, cancel := context.WithCancel(r.t.Context())
			r.wantStates(r.s.Send(ctx, message("u@e.test")), "delivered")
			cancel()
		}
	})
}
