package smtp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/internal/tap"
)

// rig is one session with one scripted host, over a connection in memory and in
// a bubble of its own.
type rig struct {
	t    *testing.T
	host *smtptest.Host
	cfg  smtp.Config
	s    *smtp.Session
	tap  *tap.Conn
	said []smtp.Line
}

// with runs f as a subtest in a bubble, with a session that has not begun. What
// the host saw is held to the standards afterwards.
func with(t *testing.T, name string, host *smtptest.Host, f func(r *rig)) {
	t.Helper()
	withConfig(t, name, host, smtp.Config{}, f)
}

func withConfig(t *testing.T, name string, host *smtptest.Host, cfg smtp.Config, f func(r *rig)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &rig{t: t, host: host, cfg: cfg}
			if r.cfg.Hello == "" {
				r.cfg.Hello = "client.example"
			}
			r.cfg.Trace = func(l smtp.Line) { r.said = append(r.said, l) }
			r.dial()
			f(r)
			r.s.Quit(t.Context())
			synctest.Wait()
			host.Check(t)
		})
	})
}

// dial makes a new session with the host.
func (r *rig) dial() {
	r.t.Helper()
	client, server := smtptest.Pipe()
	r.tap = tap.New(client)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.host.Serve(ctx, server)
	}()
	r.t.Cleanup(func() { cancel(); <-done })
	var err error
	if r.s, err = smtp.New(r.tap, &r.cfg); err != nil {
		r.t.Fatal(err)
	}
}

// open brings the session to where it can send mail.
func (r *rig) open() *rig {
	r.t.Helper()
	r.must(r.s.Greet(r.t.Context()))
	r.must(r.s.Hello(r.t.Context()))
	return r
}

// warm is open, with a message sent before.
func (r *rig) warm() *rig {
	r.t.Helper()
	r.open()
	if res := r.send(message("first@e.test")); res.Rcpts[0].State != smtp.Delivered {
		r.t.Fatalf("the first message: %+v, %v", res.Rcpts[0], res.Err)
	}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) send(tx *smtp.Transaction) smtp.Result {
	return r.s.Send(r.t.Context(), tx)
}

// sendAll offers what is to be offered again until nothing is.
func (r *rig) sendAll(tx *smtp.Transaction) []smtp.RcptResult {
	r.t.Helper()
	all := make([]smtp.RcptResult, len(tx.To))
	left := make([]int, len(tx.To))
	for i := range left {
		left[i] = i
	}
	for rounds := 0; len(left) > 0; rounds++ {
		if rounds > len(tx.To) {
			r.t.Fatal("offered again and again")
		}
		if !r.s.Reusable() {
			r.s.Quit(r.t.Context())
			r.dial()
			r.open()
		}
		part := *tx
		part.To = nil
		for _, i := range left {
			part.To = append(part.To, tx.To[i])
		}
		res := r.send(&part)
		var again []int
		for k, i := range left {
			all[i] = res.Rcpts[k]
			if all[i].State == smtp.NotTried && (all[i].Err == nil || all[i].Err.Kind == smtp.Exhausted) {
				again = append(again, i)
			}
		}
		left = again
	}
	return all
}

// trips are the round trips so far, once the host has found that nothing more
// is coming.
func (r *rig) trips() int {
	<-time.After(time.Millisecond)
	synctest.Wait()
	return r.host.RoundTrips()
}

// commands are what the host heard after EHLO.
func (r *rig) commands() []string {
	synctest.Wait()
	var list []string
	for _, c := range r.host.Commands() {
		if !strings.HasPrefix(c, "EHLO ") {
			list = append(list, c)
		}
	}
	return list
}

func (r *rig) wantCommands(want ...string) {
	r.t.Helper()
	if got := strings.Join(r.commands(), "\n"); got != strings.Join(want, "\n") {
		r.t.Errorf("the host heard\n%s\nwanted\n%s", got, strings.Join(want, "\n"))
	}
}

// wantStates holds the recipients' states against a list such as "delivered,
// refused rcpt 550".
func (r *rig) wantStates(res smtp.Result, want ...string) {
	r.t.Helper()
	r.wantRcpts(res.Rcpts, want...)
}

func (r *rig) wantRcpts(rcpts []smtp.RcptResult, want ...string) {
	r.t.Helper()
	var got []string
	for _, rr := range rcpts {
		s := rr.State.String()
		if rr.State == smtp.Refused {
			s += " " + rr.Stage.String() + " " + rr.Reply.String()
		}
		got = append(got, s)
	}
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		r.t.Errorf("recipients: %q, wanted %q", got, want)
	}
}

// wantErr holds an error against a stage and a kind.
func wantErr(t *testing.T, err error, stage smtp.Stage, kind smtp.Kind) *smtp.Error {
	t.Helper()
	var e *smtp.Error
	if !errors.As(err, &e) || e == nil {
		t.Fatalf("error %v, wanted an *smtp.Error at %v: %v", err, stage, kind)
	}
	if e.Stage != stage || e.Kind != kind {
		t.Errorf("error %v (%v, %v), wanted %v at %v", e, e.Stage, e.Kind, kind, stage)
	}
	return e
}

// body is content in memory.
type body []byte

func (b body) Size() int64                  { return int64(len(b)) }
func (b body) Bytes() []byte                { return b }
func (b body) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(b))), nil }

// stream is content that has to be read; size may be a lie.
type stream struct {
	size int64
	open func() (io.ReadCloser, error)
}

func (s stream) Size() int64                  { return s.size }
func (s stream) Bytes() []byte                { return nil }
func (s stream) Open() (io.ReadCloser, error) { return s.open() }

func streamOf(text string) stream {
	return stream{int64(len(text)), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

const hello = "Subject: hello\r\n\r\nworld\r\n"

func mailbox(s string) address.Mailbox {
	m, err := address.ParseReverse(s)
	if err != nil {
		panic(err)
	}
	return m
}

func message(to ...string) *smtp.Transaction {
	tx := &smtp.Transaction{From: mailbox("a@x.test"), Body: body(hello)}
	for _, a := range to {
		tx.To = append(tx.To, smtp.Rcpt{To: mailbox(a)})
	}
	return tx
}

// pipelining and the like are what a host offers.
func offering(extensions ...string) *smtptest.Host { return &smtptest.Host{Extensions: extensions} }

func scripted(script []smtptest.Cue, extensions ...string) *smtptest.Host {
	return &smtptest.Host{Extensions: extensions, Script: script}
}

// modes are the three ways a transaction can be spoken.
func modes() map[string][]string {
	return map[string][]string{
		"lockstep": nil,
		"grouped":  {"PIPELINING"},
		"chunked":  {"PIPELINING", "CHUNKING"},
	}
}

// took is how long f takes on the bubble's clock, to the millisecond.
func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began).Round(time.Millisecond)
}

var _ net.Conn = (*tap.Conn)(nil)
