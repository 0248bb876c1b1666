package smtptest

import "strings"

const maxCommand = 512

// checkOrder checks the time of a command, and what arrives with it.
func (s *session) checkOrder(c command, line string) {
	if len(line) > maxCommand+commandIncrease(c) {
		s.breach(RuleLongCommand, line)
	}
	if s.known(s.said421) && c.verb != "QUIT" {
		s.breach(RuleCommandAfter421, line)
	}
	s.checkASCII(c, line)
	s.checkAhead(c, line)
	if !mailCommand(c.verb) {
		return
	}
	switch {
	case s.hello == "" && !s.rehello:
		s.breach(RuleHelloFirst, line)
	case s.rehello:
		s.breach(RuleHelloAfterTLS, line)
	}
}

func mailCommand(verb string) bool {
	switch verb {
	case "MAIL", "RCPT", "DATA", "BDAT", "AUTH":
		return true
	default:
		return false
	}
}

// checkASCII allows octets beyond ASCII in the paths and parameters of an
// internationalised transaction only.
func (s *session) checkASCII(c command, line string) {
	if isASCII(line) {
		return
	}
	switch {
	case c.verb != "MAIL" && c.verb != "RCPT":
		s.breach(RuleNonASCII, line)
	case c.verb == "MAIL" && !hasParam(c.params, "SMTPUTF8"), c.verb == "RCPT" && (s.tx == nil || !s.tx.utf8):
		s.breach(RuleUTF8Undeclared, line)
	}
}

// checkAhead looks whether the client talks on before it has the reply.
func (s *session) checkAhead(c command, line string) {
	pipelining := s.extended && s.extensions.has("PIPELINING")
	var rule Rule
	switch c.verb {
	case "BDAT":
		return // its octets follow; bdat looks behind them
	case "STARTTLS":
		rule = RulePlaintext
	case "MAIL", "RCPT", "RSET":
		if pipelining {
			return
		}
		rule = RulePipelining
	default:
		rule = RulePipelining
		if pipelining {
			rule = RuleGroupEnd
		}
	}
	if more, ended := s.more(); more {
		s.breach(rule, strings.TrimRight(line, "\r\n")+" and then "+s.peeked())
	} else if ended && c.verb == "QUIT" {
		s.breach(RuleQuitWait, "QUIT")
	}
}

func hasParam(params []string, name string) bool {
	for _, p := range params {
		if key, _, _ := strings.Cut(p, "="); strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}

// param is the value of a parameter.
func param(params []string, name string) string {
	for _, p := range params {
		if key, value, _ := strings.Cut(p, "="); strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}
