package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"strings"
)

const maxMistakes = 20 // commands refused in a session before it is ended

// session is the dialogue on one connection.
type session struct {
	server   *Server
	wire     *wire
	client   netip.Addr
	hello    string // as the client calls itself; empty before EHLO
	extended bool   // EHLO, not HELO
	secure   bool
	tx       *Transaction // nil outside a mail transaction
	body     *spool       // content that has arrived by BDAT
	halfEnd  bool         // and ends with a CR so far
	mistakes int
	over     bool
}

func (s *session) run(ctx context.Context) {
	defer s.reset()
	s.say(220, "", s.server.Name+" ESMTP")
	for !s.over {
		line, err := s.wire.line(s.server.idle())
		if err != nil {
			s.farewell(err)
			return
		}
		verb, argument, _ := strings.Cut(string(line), " ")
		s.command(ctx, strings.ToUpper(verb), strings.TrimSpace(argument))
		if s.mistakes > maxMistakes {
			s.say(421, "4.7.0", "too many errors")
			return
		}
	}
}

// farewell says why a session ends that the client did not end.
func (s *session) farewell(err error) {
	switch {
	case errors.Is(err, errStopping):
		s.say(421, "4.3.2", s.server.Name+" is shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errTooSlow):
		s.say(421, "4.4.2", "timeout")
	case errors.Is(err, errBareEnd):
		s.say(521, "5.5.2", "a line must end with CRLF")
	case errors.Is(err, errLineTooLong):
		s.say(500, "5.5.2", "line too long")
	}
}

func (s *session) command(ctx context.Context, verb, argument string) {
	switch verb {
	case "EHLO":
		s.ehlo(argument)
	case "HELO":
		s.helo(argument)
	case "MAIL":
		s.mail(argument)
	case "RCPT":
		s.rcpt(ctx, argument)
	case "DATA":
		s.data(ctx, argument)
	case "BDAT":
		s.bdat(ctx, argument)
	case "STARTTLS":
		s.startTLS(argument)
	case "RSET":
		s.reset()
		s.say(250, "2.0.0", "reset")
	case "NOOP":
		s.say(250, "2.0.0", "ok")
	case "VRFY":
		s.say(252, "2.5.0", "send some mail and see")
	case "HELP":
		s.say(214, "2.0.0", "RFC 5321")
	case "QUIT":
		s.say(221, "2.0.0", "bye")
		s.over = true
	default:
		s.refuse(500, "5.5.2", "command not known")
	}
}

func (s *session) say(code int, enhanced, text string) { s.wire.reply(Reply{code, enhanced, text}) }

// refuse answers a command that was a mistake.
func (s *session) refuse(code int, enhanced, text string) {
	s.mistakes++
	s.say(code, enhanced, text)
}

// reset forgets the transaction.
func (s *session) reset() {
	s.tx = nil
	if s.body != nil {
		s.body.discard()
		s.body, s.halfEnd = nil, false
	}
}

func (s *session) startTLS(argument string) {
	switch {
	case s.server.TLS == nil || s.secure:
		s.refuse(502, "5.5.1", "not offered")
		return
	case argument != "":
		s.refuse(501, "5.5.4", "no argument is allowed")
		return
	case len(s.wire.buffered()) > 0:
		// What came in clear is not the client's word once TLS is on.
		s.say(501, "5.5.1", "nothing may follow STARTTLS before its reply")
		s.over = true
		return
	}
	s.say(220, "2.0.0", "go ahead")
	if s.wire.flush(s.server.idle()) != nil || s.wire.ready(s.server.idle()) != nil {
		s.over = true
		return
	}
	conn := tls.Server(s.wire.raw, s.server.TLS)
	if err := conn.Handshake(); err != nil {
		s.over = true
		return
	}
	s.wire.conn, s.secure = conn, true
	s.hello = ""
	s.reset()
}
