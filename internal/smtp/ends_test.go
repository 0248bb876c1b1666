package smtp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// TestClosed is a session that has been closed.
func TestClosed(t *testing.T) {
	with(t, "in clear", abandoned(offering("SIZE")), func(r *rig) {
		r.open()
		if err := r.s.Close(); err != nil || r.s.Reusable() {
			r.t.Errorf("%v, still of use: %t", err, r.s.Reusable())
		}
		if err := r.s.Check(); !errors.Is(err, net.ErrClosed) {
			r.t.Errorf("%v", err)
		}
	})
	written := func(r *rig) (n int) {
		for _, e := range r.tap.Events() {
			if e.Written {
				n++
			}
		}
		return n
	}
	with(t, "in TLS it says goodbye there", abandoned(offering("STARTTLS")), func(r *rig) {
		r.open()
		r.must(r.s.StartTLS(r.t.Context(), insecure()))
		r.must(r.s.Hello(r.t.Context()))
		r.wantStates(r.send(message("u@e.test")), "delivered")
		time.Sleep(6 * time.Hour)
		n := written(r)
		if r.must(r.s.Close()); written(r) != n+1 {
			r.t.Errorf("%d writes, want 1", written(r)-n)
		}
	})
	with(t, "in TLS, of no more use", abandoned(scripted([]smtptest.Cue{{At: smtptest.HelloTLS, Reply: "354 what"}}, "STARTTLS")), func(r *rig) {
		r.open()
		r.must(r.s.StartTLS(r.t.Context(), insecure()))
		wantErr(r.t, r.s.Hello(r.t.Context()), smtp.StageHello, smtp.Protocol)
		n := written(r)
		if r.s.Close(); written(r) != n {
			r.t.Errorf("%d writes, want none", written(r)-n)
		}
	})
}

// TestEndedAtTheEnd: a context that ends with the last reply does nothing to what comes
// next.
func TestEndedAtTheEnd(t *testing.T) {
	with(t, "SMTP-20 canceled as the last reply comes", offering("SIZE"), func(r *rig) {
		r.must(r.s.Greet(r.t.Context()))
		for range 20 {
			ctx, cancel := context.WithCancel(r.t.Context())
			r.s.SetTrace(func(l smtp.Line) {
				if !l.Sent {
					cancel()
				}
			})
			if err := r.s.Hello(ctx); err != nil && !errors.Is(err, context.Canceled) {
				r.t.Fatal(err)
			}
			r.s.SetTrace(nil)
			if res := r.send(message("u@e.test")); res.Rcpts[0].State != smtp.Delivered {
				r.t.Fatalf("%v, %v", res.Rcpts[0].State, res.Err)
			}
		}
	})
}

// TestGoneWhileIdle is a host that goes away, in one way or another, long after the last
// message.
func TestGoneWhileIdle(t *testing.T) {
	for name, c := range map[string]struct {
		last string
		kind smtp.Kind
	}{
		"it closes":                          {"", smtp.Closed},
		"it closes in the middle of a reply": {"42", smtp.Closed},
		"it says so and closes":              {"421 bye\r\n", smtp.Replied},
		"it says so by 221 and closes":       {"221 bye\r\n", smtp.Closed},
		"it says what makes no sense":        {"250 x\r\n", smtp.Protocol},
	} {
		t.Run("SMTP-42 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Allow: []smtptest.Rule{smtptest.RuleNoQuit}}
				client, server := smtptest.Pipe()
				front, back := smtptest.Pipe()
				go host.Serve(t.Context(), back)
				go func() { _, _ = io.Copy(front, server) }()
				go func() {
					_, _ = io.Copy(server, front)
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
				if err := s.Check(); err != nil {
					t.Errorf("%v before it goes", err)
				}
				_, _ = io.WriteString(server, c.last)
				server.Close()
				time.Sleep(time.Second)
				wantErr(t, s.Check(), smtp.StageIdle, c.kind)
				s.Close()
				front.Close()
			})
		})
	}
}

// TestUnwritten is a host that can no longer be written to, and may have said why.
func TestUnwritten(t *testing.T) {
	for name, c := range map[string]struct {
		said string
		kind smtp.Kind
		code int
	}{
		"it has said nothing":      {"", smtp.Closed, 0},
		"it has said goodbye":      {"421 bye\r\n", smtp.Replied, 421},
		"it has ended the session": {"221 bye\r\n", smtp.Closed, 0},
		"it has refused":           {"554 no\r\n", smtp.Replied, 554},
		"it has said all is well":  {"250 ok\r\n", smtp.Closed, 0},
	} {
		t.Run("SMTP-20 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := smtptest.Pipe()
				f := &failing{Conn: client}
				s, err := smtp.New(f, &smtp.Config{Hello: "client.example"})
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(server, "220 h\r\n")
				if err := s.Greet(t.Context()); err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(server, c.said)
				var e *smtp.Error
				d := took(func() { e = wantErr(t, s.Hello(t.Context()), smtp.StageHello, c.kind) })
				if e.Reply.Code != c.code || d > time.Second || s.Reusable() {
					t.Errorf("%v after %v", e, d)
				}
				s.Close()
				server.Close()
			})
		})
	}
}
