package smtptest

import "strings"

// command answers one command.
func (s *session) command(line string) error {
	s.grouped = s.said != "" && s.saidIn == s.flight
	s.said, s.saidIn = strings.TrimRight(line, "\r\n"), s.flight
	c := parseCommand(line)
	if s.unasked(c, line) {
		return s.reply(Other, "500 5.5.2 that looks like content")
	}
	for _, f := range c.found {
		s.breach(f.rule, f.detail)
	}
	s.checkOrder(c, line)
	if c.broken {
		return s.reply(stageOf(c.verb, s.rehello), "501 5.5.4 syntax error")
	}
	switch c.verb {
	case "EHLO", "HELO":
		return s.sayHello(c)
	case "STARTTLS":
		return s.startTLS()
	case "AUTH":
		return s.auth(c)
	case "MAIL":
		return s.mail(c)
	case "RCPT":
		return s.rcpt(c)
	case "DATA":
		return s.data()
	case "BDAT":
		return s.bdat(c)
	case "RSET":
		return s.reset()
	case "QUIT":
		return s.quit()
	case "NOOP":
		return s.reply(Other, "250 2.0.0 ok")
	case "VRFY":
		return s.reply(Other, "252 2.0.0 send some mail")
	case "HELP":
		return s.reply(Other, "214 2.0.0 see RFC 5321")
	default:
		s.breach(RuleUnknownCommand, line)
		return s.reply(Other, "500 5.5.1 unknown command")
	}
}

// unasked recognises content sent after a DATA that was refused.
func (s *session) unasked(c command, line string) bool {
	denied := s.dataDenied
	if !denied {
		return false
	}
	if stageOf(c.verb, false) != Other || c.verb == "NOOP" || c.verb == "VRFY" || c.verb == "HELP" {
		s.dataDenied = false
		return false
	}
	s.breach(RuleContentUnasked, line)
	return true
}

// reply answers a command to which no cue applies.
func (s *session) reply(at Stage, usual string) error {
	_, err := s.answer("", usual, s.now(at))
	return err
}

func stageOf(verb string, secure bool) Stage {
	switch verb {
	case "EHLO", "HELO":
		if secure {
			return HelloTLS
		}
		return Hello
	case "STARTTLS":
		return StartTLS
	case "AUTH":
		return Auth
	case "MAIL":
		return Mail
	case "RCPT":
		return Rcpt
	case "DATA":
		return Data
	case "BDAT":
		return Chunk
	case "RSET":
		return Rset
	case "QUIT":
		return Quit
	default:
		return Other
	}
}
