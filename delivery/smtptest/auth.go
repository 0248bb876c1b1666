package smtptest

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

const maxAuthLine = 12288

// How an exchange ends without a decision.
var (
	errCanceled = errors.New("smtptest: AUTH was cancelled")
	errNoBase64 = errors.New("smtptest: response is not base64")
	errScripted = errors.New("smtptest: the script decided")
)

// auth holds the exchange of an AUTH command (RFC 4954 section 4).
func (s *session) auth(c command) error {
	name, initial, given := strings.Cut(c.arg, " ")
	name = strings.ToUpper(name)
	if refusal := s.checkAuth(name); refusal != "" {
		return s.reply(Auth, refusal)
	}
	if cue := s.cue("", s.now(Auth)); cue != nil {
		if !cue.usual() {
			return s.scriptedAuth(cue, Auth)
		}
		if _, err := s.perform(cue, Auth, ""); err != nil {
			return err
		}
	}
	var first []byte
	if given {
		decoded, err := s.decode(initial)
		if err != nil {
			return s.conclude("", false, err)
		}
		first = decoded
	}
	e := &exchange{s: s, initial: first, given: given}
	user, ok, err := mechanisms()[name].run(e)
	return s.conclude(user, ok, err)
}

// checkAuth is the refusal of an AUTH that is out of place, or empty.
func (s *session) checkAuth(name string) string {
	m, known := mechanisms()[name]
	offered := strings.Fields(strings.ToUpper(s.extensions["AUTH"]))
	if m.clear && !s.tls {
		s.breach(RuleAuthClear, "AUTH "+name)
	}
	switch {
	case s.hello == "":
		return "503 5.5.1 EHLO first"
	case !s.extended || !s.extensions.has("AUTH"):
		s.breach(RuleNotOffered, "AUTH "+name)
		return "502 5.5.1 not implemented"
	case s.tx != nil:
		s.breach(RuleAuthTransaction, "AUTH "+name)
		return "503 5.5.1 not now"
	case s.user != "":
		s.breach(RuleAuthAgain, "AUTH "+name)
		return "503 5.5.1 that is done"
	case !slices.Contains(offered, name):
		s.breach(RuleAuthMechanism, "AUTH "+name)
		return "504 5.5.4 no such mechanism"
	case !known:
		return "504 5.5.4 no such mechanism"
	default:
		return ""
	}
}

// conclude gives the last reply of an exchange.
func (s *session) conclude(user string, ok bool, err error) error {
	s.excused = false
	switch {
	case errors.Is(err, errScripted):
		return nil
	case errors.Is(err, errCanceled):
		return s.say("501 5.7.0 cancelled\r\n")
	case errors.Is(err, errNoBase64):
		return s.say("501 5.5.2 not base64\r\n")
	case err != nil:
		return err
	case !ok:
		return s.say("535 5.7.8 credentials invalid\r\n")
	}
	s.user = user
	return s.say("235 2.7.0 welcome\r\n")
}

// scriptedAuth follows the script for as long as it asks for more.
func (s *session) scriptedAuth(c *Cue, at Stage) error {
	text, err := s.perform(c, at, "")
	for err == nil && strings.HasPrefix(text, "334") {
		var line string
		if line, err = s.next(); err != nil {
			return err
		}
		usual := "535 5.7.8 credentials invalid"
		if strings.TrimRight(line, "\r\n") == "*" {
			usual = "501 5.7.0 cancelled"
		} else if _, bad := s.decode(strings.TrimRight(line, "\r\n")); bad != nil {
			usual = "501 5.5.2 not base64"
		}
		text, err = s.play("", usual, s.now(AuthReply))
	}
	if err == nil && strings.HasPrefix(text, "235") {
		s.user = "somebody"
	}
	return err
}

// decode reads a response; "=" is an empty one.
func (s *session) decode(text string) ([]byte, error) {
	if len(text)+2 > maxAuthLine {
		s.breach(RuleAuthLine, text)
	}
	if text == "=" {
		return []byte{}, nil
	}
	p, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		s.breach(RuleAuthEncoding, text)
		return nil, errNoBase64
	}
	return p, nil
}

// exchange is a mechanism at work.
type exchange struct {
	s       *session
	initial []byte
	given   bool // there was an initial response, perhaps an empty one
}

// first returns the initial response, after asking for it if there was none.
func (e *exchange) first() ([]byte, error) {
	if e.given {
		return e.initial, nil
	}
	return e.ask(nil)
}

// ask sends a challenge and returns the response.
func (e *exchange) ask(challenge []byte) ([]byte, error) {
	s := e.s
	if err := s.say("334 " + base64.StdEncoding.EncodeToString(challenge) + "\r\n"); err != nil {
		return nil, err
	}
	line, err := s.next()
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if cue := s.cue("", s.now(AuthReply)); cue != nil {
		if !cue.usual() {
			if err := s.scriptedAuth(cue, AuthReply); err != nil {
				return nil, err
			}
			return nil, errScripted
		}
		if _, err := s.perform(cue, AuthReply, ""); err != nil {
			return nil, err
		}
	}
	if line == "*" {
		return nil, errCanceled
	}
	return s.decode(line)
}
