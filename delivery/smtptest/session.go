package smtptest

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/tap"
)

// session is one conversation of a Host.
type session struct {
	wire
	host   *Host
	base   net.Conn  // below TLS, with the tap
	tap    *tap.Conn // nil if nothing is captured
	rec    *record
	number int

	counts map[Stage]int // how often each stage was reached
	early  map[*Cue]bool // cues whose reply went out before its command

	// flight numbers the groups of commands that arrived together; a reply
	// given in a flight before the present one is known to the client.
	flight  int
	excused bool // the last reply excuses a client that just closes
	lost    bool // replies no longer match commands: the client is not held to the rules
	said421 int  // the flight in which 421 was sent; 0 if none

	said    string // the command at hand
	saidIn  int    // the flight it came in
	grouped bool   // with the one before

	hello      string
	extended   bool // EHLO, not HELO
	tls        bool // TLS is on
	rehello    bool // TLS is on and EHLO has not followed
	user       string
	extensions extensions
	tx         *transaction
	mailFlight int // of the last MAIL
	begun      int // transactions in this connection
	domains    map[string]bool
	dataDenied bool // the command before was a DATA that was refused
}

// errOver ends a session that has run its course.
var errOver = errors.New("smtptest: session is over")

func newSession(ctx context.Context, h *Host, conn net.Conn) *session {
	s := &session{
		wire: wire{ctx: ctx}, host: h, base: conn,
		counts: map[Stage]int{}, early: map[*Cue]bool{}, domains: map[string]bool{},
	}
	if h.Capture {
		s.tap = tap.New(conn)
		s.base = s.tap
	}
	s.conn = s.base
	s.in = bufio.NewReader(s.base)
	s.patience = h.Patience
	if c, ok := conn.(*Conn); ok {
		s.memory = c
		if s.patience == 0 {
			s.patience = time.Nanosecond
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.number = len(h.conns) + 1
	s.rec = &record{Connection{Number: s.number, Local: conn.LocalAddr(), Remote: conn.RemoteAddr(), Opened: time.Now()}}
	h.conns = append(h.conns, s.rec)
	return s
}

// run holds the conversation.
func (s *session) run() {
	defer s.closeRecord()
	if s.host.ImplicitTLS && s.handshake() != nil {
		return
	}
	if s.greet() != nil {
		return
	}
	for {
		line, err := s.next()
		if err != nil {
			s.ended(line)
			return
		}
		if s.command(line) != nil {
			return
		}
	}
}

func (s *session) closeRecord() {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.rec.Closed = time.Now()
	if s.tap != nil {
		s.rec.Received, s.rec.Sent = s.tap.AllRead(), s.tap.AllWritten()
	}
}

// greet says the banner, when the client has had a chance to talk first.
func (s *session) greet() error {
	if !s.host.ImplicitTLS {
		if more, _ := s.more(); more {
			s.breach(RuleEarlyTalk, s.peeked())
		}
	}
	_, err := s.answer("", "220 "+s.host.name()+" ESMTP", s.now(Banner))
	return err
}

// peeked returns what has arrived and was not read.
func (s *session) peeked() string {
	p, _ := s.in.Peek(s.in.Buffered())
	return string(p)
}

// next reads a line, once all replies are out.
func (s *session) next() (string, error) {
	if more, _ := s.more(); !more {
		if err := s.turn(); err != nil {
			return "", err
		}
	}
	line, err := s.line()
	if err == nil {
		s.log(true, line)
	}
	return line, err
}

// turn hands over to the client: all is answered, a round trip begins.
func (s *session) turn() error {
	if err := s.flush(); err != nil {
		return err
	}
	s.flight++
	if s.flushed {
		s.flushed = false
		s.host.mu.Lock()
		s.rec.RoundTrips++
		s.host.mu.Unlock()
	}
	return nil
}

// known reports whether the client has certainly seen the replies of a flight. If the
// Host cannot tell, it returns false, in favour of the client.
func (s *session) known(flight int) bool {
	return flight > 0 && s.patience > 0 && s.flight > flight
}

// ended looks at how a client closed; rest is a line that was cut off.
func (s *session) ended(rest string) {
	if s.ctx.Err() != nil || s.excused || s.lost || s.said421 > 0 || rest != "" {
		return
	}
	s.breach(RuleNoQuit, s.lastSaid())
}

func (s *session) lastSaid() string {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	for i := len(s.rec.Lines) - 1; i >= 0; i-- {
		if l := s.rec.Lines[i]; l.Client {
			return "after " + l.Text
		}
	}
	return "nothing was said"
}

// log adds to the transcript; a reply may have several lines.
func (s *session) log(client bool, text string) {
	const most = 10_000 // lines of a transcript
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		if len(s.rec.Lines) >= most {
			return
		}
		line = strings.TrimRight(line, "\r")
		s.rec.Lines = append(s.rec.Lines, Line{At: time.Now(), Client: client, Text: line[:min(len(line), maxLine)]})
	}
}
