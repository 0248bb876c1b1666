package smtpd

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Limits between two messages, after which a session is ended.
const (
	maxMistakes = 20        // commands that were wrong
	maxRejected = 100       // recipients of a stranger that were refused
	maxIdle     = 1000      // commands of a stranger without a result
	maxWait     = time.Hour // of a stranger
)

// session is the dialogue on one connection.
type session struct {
	server   *Server
	wire     *wire
	holder   *holder
	client   netip.Addr
	trusted  bool
	begun    bool   // EHLO or HELO was said
	hello    string // as the client calls itself
	extended bool   // EHLO, not HELO
	secure   bool
	user     string       // the logged-in user; "" if there is none
	refused  int          // logins
	tx       *Transaction // nil outside a mail transaction
	envelope int64        // octets held for it
	body     *spool       // content that has arrived by BDAT
	halfEnd  bool         // and ends with a CR so far
	mistakes int
	rejected int
	idle     int
	since    time.Time // the last message was taken
	over     bool
}

func (s *session) run(ctx context.Context) {
	defer s.reset()
	s.since = time.Now()
	if !s.handshake() {
		return
	}
	s.say(220, "", s.server.Name+" ESMTP")
	for !s.over {
		line, err := s.wire.line(s.server.idle())
		if err != nil {
			s.farewell(err)
			return
		}
		if !s.command(ctx, string(line)) {
			s.farewell(errOther)
			return
		}
		if s.mistakes > maxMistakes || s.idle > maxIdle && !s.known() {
			s.say(421, "4.7.0", "too many errors, or commands that lead nowhere")
			return
		}
		if !s.known() && time.Since(s.since) > maxWait {
			s.say(421, "4.4.2", "too long without a message")
			return
		}
	}
}

// known reports whether the client is trusted or logged in.
func (s *session) known() bool { return s.trusted || s.user != "" }

// farewell says why a session ends that the client did not end.
func (s *session) farewell(err error) {
	switch {
	case errors.Is(err, errStopping):
		s.say(421, "4.3.2", s.server.Name+" is shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errTooSlow):
		s.say(421, "4.4.2", "timeout")
	case errors.Is(err, errBareEnd):
		s.say(521, "5.5.2", "a line must end with CRLF")
	case errors.Is(err, errOther):
		s.say(521, "5.5.2", "this is not a mail client")
	case errors.Is(err, errLineTooLong):
		s.say(500, "5.5.2", "line too long")
	}
}

// command does what a line asks for. It is false where the line is another
// protocol's.
func (s *session) command(ctx context.Context, line string) bool {
	word, argument := line, ""
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		word, argument = line[:i], trim(line[i:])
	}
	verb := strings.ToUpper(word)
	known := s.mailCommand(ctx, verb, argument) || s.otherCommand(verb, argument)
	if isOther(verb, line, known, s.begun) {
		return false
	}
	if !known {
		s.refuse(500, "5.5.2", "command not known")
	}
	return true
}

// mailCommand does a command of which mail consists.
func (s *session) mailCommand(ctx context.Context, verb, argument string) (known bool) {
	switch verb {
	case "MAIL":
		s.mail(ctx, argument)
	case "RCPT":
		s.rcpt(ctx, argument)
	case "DATA":
		s.data(ctx, argument)
	case "BDAT":
		s.bdat(ctx, argument)
	default:
		return false
	}
	return true
}

// otherCommand does a command that mail does without.
func (s *session) otherCommand(verb, argument string) (known bool) {
	switch verb {
	case "EHLO":
		s.ehlo(argument)
	case "HELO":
		s.helo(argument)
	case "STARTTLS":
		s.startTLS(argument)
	case "AUTH":
		if s.server.Logins == nil {
			return false
		}
		s.auth(argument)
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
		return false
	}
	s.idle++
	return true
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
	s.holder.release(s.envelope)
	s.envelope = 0
	if s.body != nil {
		s.body.discard()
		s.body, s.halfEnd = nil, false
	}
}
