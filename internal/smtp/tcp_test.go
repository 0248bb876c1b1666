package smtp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// overTCP opens a session with a host on loopback.
func overTCP(t *testing.T, host *smtptest.Host) *smtp.Session {
	t.Helper()
	conn, err := net.Dial("tcp", host.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := smtp.New(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Greet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSockets sends over real sockets, where writing and looking are done by
// other means than in memory.
func TestSockets(t *testing.T) {
	long := dotted(700 << 10)
	for mode, ext := range modes() {
		for _, secure := range []bool{false, true} {
			name := mode + " in clear"
			if secure {
				name = mode + " in TLS"
			}
			t.Run(name, func(t *testing.T) {
				host := offering(append(ext, "STARTTLS")...)
				s := overTCP(t, host)
				if secure {
					if err := s.StartTLS(t.Context(), insecure()); err != nil {
						t.Fatal(err)
					}
					if err := s.Hello(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				for i, text := range []string{hello, hello, long, dotted(100 << 10), long, hello} {
					if err := s.Check(); err != nil {
						t.Fatal(err)
					}
					tx := message("u@e.test", "v@e.test")
					tx.Body = body(text)
					if i == 4 {
						tx.Body = streamOf(text)
					}
					if res := s.Send(t.Context(), tx); res.Rcpts[1].State != smtp.Delivered {
						t.Fatalf("message %d: %+v, %v", i, res.Rcpts[1], res.Err)
					}
					m := host.Messages()[i]
					if string(m.Content) != text {
						t.Errorf("message %d: %d octets arrived, %d were sent", i, len(m.Content), len(text))
					}
				}
				s.Quit(t.Context())
				host.Check(t)
			})
		}
	}
	t.Run("SMTP-5 the name of a socket is its address", func(t *testing.T) {
		host := offering()
		overTCP(t, host).Quit(t.Context())
		if got := host.Commands()[0]; got != "EHLO [127.0.0.1]" {
			t.Errorf("said %q", got)
		}
	})
}

func TestIdleSocket(t *testing.T) {
	for name, cue := range map[string]smtptest.Cue{
		"421":       {At: smtptest.Final, Reply: "250 taken\n421 idle", Then: smtptest.Close},
		"the end":   {At: smtptest.Final, Reply: "250 taken", Then: smtptest.Close},
		"a reset":   {At: smtptest.Final, Reply: "250 taken", Then: smtptest.Reset},
		"a message": {At: smtptest.Final, Reply: "250 taken\n250 and more"},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " in TLS"}[secure], func(t *testing.T) {
				s := overTCP(t, abandoned(scripted([]smtptest.Cue{cue}, "STARTTLS")))
				if secure {
					if err := s.StartTLS(t.Context(), insecure()); err != nil {
						t.Fatal(err)
					}
					if err := s.Hello(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Check(); err != nil {
					t.Fatal(err)
				}
				if res := s.Send(t.Context(), message("u@e.test")); res.Rcpts[0].State != smtp.Delivered {
					t.Fatal(res.Err)
				}
				// What the server says next is under way.
				for end := time.Now().Add(10 * time.Second); ; {
					err := s.Check()
					if err == nil && time.Now().Before(end) {
						continue
					}
					var e *smtp.Error
					if !errors.As(err, &e) || e.Stage != smtp.StageIdle {
						t.Fatalf("error %v", err)
					}
					if name == "421" && e.Kind == smtp.Replied && e.Reply.Code != 421 {
						t.Errorf("reply %+v", e.Reply)
					}
					break
				}
			})
		}
	}
}

func TestCancelSocket(t *testing.T) {
	for _, at := range []smtptest.Stage{smtptest.Mail, smtptest.Content, smtptest.Final} {
		t.Run("SMTP-34 canceled at "+at.String(), func(t *testing.T) {
			cue := smtptest.Cue{At: at, Then: smtptest.StopReading}
			if at == smtptest.Content {
				cue.After = 100_000
			}
			s := overTCP(t, abandoned(scripted([]smtptest.Cue{cue}, "PIPELINING")))
			tx := message("u@e.test")
			if at == smtptest.Content {
				tx.Body = body(make(zeros, 30<<20).Bytes())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			res := s.Send(ctx, tx)
			want := smtp.Failed
			if at == smtptest.Final {
				want = smtp.Unknown
			}
			if res.Rcpts[0].State != want || res.Err.Kind != smtp.Canceled || !errors.Is(res.Err, context.DeadlineExceeded) {
				t.Errorf("%+v, %v", res.Rcpts[0], res.Err)
			}
		})
	}
}

// TestUnreadSocket is a server with a small window that stops to read in the middle of a
// group and says why: that is heard, however much was to be written.
func TestUnreadSocket(t *testing.T) {
	for _, size := range []int{1 << 10, 7 << 10, 16 << 10, 40 << 10, 100 << 10, 10 << 20} {
		t.Run(fmt.Sprintf("EXT-10 with a content of %d octets", size), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ended := make(chan struct{})
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
				line := make([]byte, 128)
				_, _ = io.WriteString(conn, "220 x\r\n")
				_, _ = conn.Read(line)
				_, _ = io.WriteString(conn, "250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
				_, _ = conn.Read(line)
				_, _ = io.WriteString(conn, "421 enough\r\n")
				<-ended
			}()
			defer close(ended)
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			s, err := smtp.New(conn, &smtp.Config{Hello: "client.example"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := errors.Join(s.Greet(t.Context()), s.Hello(t.Context())); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			tx := message("u@e.test")
			tx.Body = body(dotted(size))
			if res := s.Send(ctx, tx); res.Err == nil || res.Err.Kind != smtp.Replied || res.Err.Reply.Code != 421 {
				t.Errorf("%v, want what the server said", res.Err)
			}
		})
	}
}
