package smtpd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestStopInContent: told to stop, the server lets content arrive to its end, by DATA
// and by BDAT, and reads no command behind it.
func TestStopInContent(t *testing.T) {
	for _, c := range []struct{ name, begin, rest string }{
		{"DATA", "DATA\r\ntext", "\r\n.\r\nNOOP\r\n"},
		{"BDAT", "BDAT 6 LAST\r\ntext", "\r\nNOOP\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, &Server{})
			idle := r.begin(t)
			halfway := r.begin(t)
			halfway.say(c.begin)
			eventually(func() bool { return r.inContent() == 1 })
			r.stop()
			idle.want("421 4.3.2", "")
			eventually(r.allStopping)
			select {
			case <-r.done:
				t.Error("it does not wait for content that is under way")
			default:
			}
			halfway.say(c.rest)
			if c.name == "DATA" {
				halfway.want("354")
			}
			halfway.want("250 2.0.0 taken", "421 4.3.2", "")
			<-r.done
		})
	}
}

// TestStopWhileAccepting: a client whose connection was accepted when the server was told
// to stop is told to come back later, as the others are.
func TestStopWhileAccepting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := startOn(t, &Server{}, func(l listener) listener { return &late{listener: l, last: accepted} })
	halfway := r.begin(t) // is told twice to stop
	halfway.say("DATA\r\ntext")
	eventually(func() bool { return r.inContent() == 1 })
	r.stop()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	said, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(said), "421 4.3.2 ") {
		t.Errorf("it is told %q, %v", said, err)
	}
	halfway.say("\r\n.\r\n")
	halfway.want("354", "250 2.0.0 taken", "421 4.3.2", "")
	<-r.done
}

// late has a last connection once it is closed.
type late struct {
	listener
	last net.Conn
}

func (l *late) Accept() (net.Conn, error) {
	conn, err := l.listener.Accept()
	if err != nil && l.last != nil {
		conn, err, l.last = l.last, nil, nil
	}
	return conn, err
}

// allStopping is whether every session that is left knows that the server is to stop.
func (r *rig) allStopping() bool {
	r.Server.mu.Lock()
	defer r.Server.mu.Unlock()
	for w := range r.open {
		w.mu.Lock()
		stopping := w.stopping
		w.mu.Unlock()
		if !stopping {
			return false
		}
	}
	return true
}

// inContent is how many sessions have read content, but not all of it.
func (r *rig) inContent() int {
	r.Server.mu.Lock()
	defer r.Server.mu.Unlock()
	n := 0
	for w := range r.open {
		w.mu.Lock()
		if w.content {
			n++
		}
		w.mu.Unlock()
	}
	return n
}

// TestStopAtOnce: who comes when the server is told to stop is told so, and nobody
// waits for a command then.
func TestStopAtOnce(t *testing.T) {
	s := &Server{Name: "relay.example"}
	s.stop()
	late := &one{in: strings.NewReader("NOOP\r\n")}
	s.serve(t.Context(), late)
	if got := late.out.String(); got != "421 4.3.2 relay.example is shutting down\r\n" {
		t.Errorf("who comes late is told %q", got)
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		began, w := time.Now(), newWire(theirs)
		w.stop()
		if err := w.fill(time.Minute); err != errStopping || time.Since(began) != 0 {
			t.Errorf("%v after %v, want %v at once", err, time.Since(began), errStopping)
		}
		w.inContent(true)
		go func() { _, _ = io.WriteString(ours, "text") }()
		if err := w.fill(time.Minute); err != nil || string(w.buffered()) != "text" {
			t.Errorf("%q, %v, want content that is still let in", w.buffered(), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		began, w := time.Now(), newWire(theirs)
		w.reply(Reply{250, "2.0.0", "ok"})
		w.stop()
		if err := w.fill(time.Minute); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v, want replies that nobody takes to wait for a minute", err, time.Since(began))
		}
	})
	w := newWire(&one{in: strings.NewReader("")})
	w.stop()
	w.inContent(true)
	if err := w.fill(time.Minute); err != io.EOF {
		t.Errorf("a client that goes in content: %v, want %v", err, io.EOF)
	}
}

// TestGrace: what is under way when the grace is over is cut off: content that does not
// arrive, and whoever takes a message.
func TestGrace(t *testing.T) {
	for name, said := range map[string]string{
		"a client in content":  envelope + "DATA\r\ntext",
		"a message on its way": envelope + "BDAT 0 LAST\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			taking := make(chan struct{})
			r := &rig{Server: &Server{Name: "relay.example", TempDir: t.TempDir()}, addr: l.Addr().String()}
			r.Data = func(ctx context.Context, _ *Transaction, _ queue.Content) Reply {
				close(taking)
				<-ctx.Done()
				return Reply{451, "4.3.2", "cut off"}
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- r.Serve(ctx, l, time.Millisecond) }()
			c := r.dial(t)
			c.say(said)
			if strings.Contains(said, "BDAT") {
				<-taking
			} else {
				eventually(func() bool { return r.inContent() == 1 })
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// script is a listener with what it is to answer.
type script struct {
	answers []any // error, net.Conn, or func()
	asked   []time.Time
	closed  chan struct{}
}

func (s *script) Addr() net.Addr { return &net.TCPAddr{} }
func (s *script) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func (s *script) Accept() (net.Conn, error) {
	s.asked = append(s.asked, time.Now())
	if len(s.answers) == 0 {
		<-s.closed
		return nil, net.ErrClosed
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	if do, ok := next.(func() net.Conn); ok {
		next = do()
	}
	if err, ok := next.(error); ok {
		return nil, err
	}
	return next.(net.Conn), nil
}

// gone is a connection whose client has gone; it knows whether it was closed.
type gone struct {
	one
	closed bool
}

func (g *gone) Close() error { g.closed = true; return nil }

// TestTroubleAccepting: where no connection can be accepted the server waits a little,
// longer each time, and from the beginning once it goes well.
func TestTroubleAccepting(t *testing.T) {
	trouble := errors.New("too many open files")
	t.Run("for a while", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			l := &script{closed: make(chan struct{}), answers: []any{
				trouble, trouble, trouble, &gone{one: one{in: strings.NewReader("")}}, trouble,
			}}
			done := make(chan error)
			s := &Server{Name: "relay.example"}
			go func() { done <- s.Serve(ctx, l, time.Minute) }()
			time.Sleep(time.Second)
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			var waits []time.Duration
			for i := 1; i < len(l.asked); i++ {
				waits = append(waits, l.asked[i].Sub(l.asked[i-1]))
			}
			const ms = time.Millisecond
			if want := []time.Duration{5 * ms, 10 * ms, 20 * ms, 0, 5 * ms}; !equal(waits, want) {
				t.Errorf("it waits %v, want %v", waits, want)
			}
		})
	})
	t.Run("a listener that somebody closed", func(t *testing.T) {
		l := &script{closed: make(chan struct{}), answers: []any{net.ErrClosed}}
		if err := new(Server).Serve(t.Context(), l, time.Minute); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the error is %v, want %v", err, net.ErrClosed)
		}
	})
	t.Run("a connection that comes as the server stops", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		conn := &gone{one: one{in: strings.NewReader("")}}
		l := &script{closed: make(chan struct{}), answers: []any{func() net.Conn { stop(); return conn }}}
		if err := new(Server).Serve(ctx, l, time.Minute); err != nil || !conn.closed {
			t.Errorf("%v, want a connection that is closed", err)
		}
	})
}

func equal(a, b []time.Duration) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestDeaf: a client that does not read what it is told is not waited for longer than
// one that says nothing.
func TestDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		began := time.Now()
		(&Server{Name: "relay.example"}).serve(t.Context(), theirs)
		if took := time.Since(began); took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("the session ends after %v, want 5 minutes and a little", took)
		}
	})
}

// severed is a connection whose client has said everything, and hears the first replies
// only.
type severed struct {
	one
	writes int
}

func (s *severed) Write(p []byte) (int, error) {
	if s.writes++; s.writes > 1 {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// TestSevered: where replies do not get through no further command is done.
func TestSevered(t *testing.T) {
	asked := 0
	s := &Server{Name: "relay.example", TempDir: t.TempDir(), Trusted: everybody, Rcpt: func(context.Context, *Transaction, *queue.Recipient, string) Reply {
		asked++
		return Reply{550, "5.7.1", strings.Repeat(strings.Repeat("n", 390)+"\n", 10)}
	}}
	s.serve(t.Context(), &severed{one: one{in: strings.NewReader("EHLO me\r\nMAIL FROM:<>\r\n" + rcpts(500, "x.example"))}})
	if most := outBuffer/3900 + 2; asked == 0 || asked > most {
		t.Errorf("%d commands are done, want %d at most", asked, most)
	}
}

// TestRepliesBeforeData: more data is read once the waiting replies are sent, and none if
// they cannot be.
func TestRepliesBeforeData(t *testing.T) {
	conn := &one{in: strings.NewReader("NOOP\r\n")}
	w := newWire(conn)
	w.reply(Reply{250, "2.0.0", "ok"})
	if err := w.fill(time.Minute); err != nil || conn.out.String() != "250 2.0.0 ok\r\n" || string(w.buffered()) != "NOOP\r\n" {
		t.Errorf("%v, %q is sent and %q read, want the reply and the next command", err, conn.out.String(), w.buffered())
	}
	w = newWire(&severed{one: one{in: strings.NewReader("NOOP\r\n")}, writes: 1})
	w.reply(Reply{250, "2.0.0", "ok"})
	if err := w.fill(time.Minute); !errors.Is(err, net.ErrClosed) || len(w.buffered()) != 0 {
		t.Errorf("%v, and %q is read, want %v and nothing", err, w.buffered(), net.ErrClosed)
	}
}

// nothing is a reader that reads nothing, for ever.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// TestNoProgress: a connection that gives nothing and no error is over.
func TestNoProgress(t *testing.T) {
	conn := &one{in: io.MultiReader(strings.NewReader("NOOP\r\n"), nothing{})}
	(&Server{Name: "relay.example"}).serve(t.Context(), conn)

	if got := conn.out.String(); !strings.HasSuffix(got, "250 2.0.0 ok\r\n") {
		t.Errorf("the replies are %q", got)
	}
}

// TestReceivedIPv6: a client with an IPv6 address stands in the Received field in the
// form of RFC 5321 section 4.1.3.
func TestReceivedIPv6(t *testing.T) {
	tx := &Transaction{Client: netip.MustParseAddr("2001:db8::1"), Hello: "me", ID: "1"}
	if got, want := string(tx.received("relay.example", time.Now())), "Received: from me ([IPv6:2001:db8::1])\r\n"; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
