package smtpd

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/login"
)

const (
	maxRefused  = 3          // logins of a session
	maxResponse = 12<<10 + 2 // octets of a line of AUTH, with its end (RFC 4954 section 4)
)

var errNoResponse = errors.New("the client has no response")

// auth is a login (RFC 4954). It is slow for clients whose logins fail (login.Guard), and
// a session ends with the third that does.
func (s *session) auth(argument string) {
	mechanism, initial, given := strings.Cut(argument, " ")
	switch {
	case !s.secure:
		s.refuse(538, "5.7.11", "STARTTLS first")
		return
	case !s.extended:
		s.refuse(503, "5.5.1", "EHLO first")
		return
	case s.user != "":
		s.refuse(503, "5.5.1", "you are logged in")
		return
	case s.tx != nil:
		s.refuse(503, "5.5.1", "not in a transaction")
		return
	case mechanism == "":
		s.refuse(501, "5.5.4", "a mechanism is required")
		return
	}
	exchange := s.server.Logins().Begin(strings.ToUpper(mechanism), func(user string, decide func() bool) error {
		return s.server.guard.Try(s.client, user, s.pause, decide)
	})
	if exchange == nil {
		s.refuse(504, "5.5.4", "the mechanisms are "+login.Mechanisms)
		return
	}
	s.loggedIn(exchange, s.exchange(exchange, initial, given))
}

// exchange carries challenges and responses until the user is logged in or an error
// occurs.
func (s *session) exchange(e *login.Exchange, initial string, given bool) error {
	response, challenge := []byte(initial), e.Opening()
	for first := true; e.User() == nil; first = false {
		var err error
		if !first || !given {
			s.say(334, "", base64.StdEncoding.EncodeToString(challenge))
			response, err = s.wire.lineOf(maxResponse, func(byte) bool { return true }, s.server.idle())
			if err != nil {
				s.over = true
				return err
			}
		}
		plain, err := decodeResponse(response, first && given)
		if err != nil {
			return err
		}
		challenge, err = e.Next(plain)
		clear(plain)
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeResponse decodes what a client says, a line without its end. "*" ends the
// exchange; an empty initial response is "=" (RFC 4954 section 4).
func decodeResponse(line []byte, initial bool) ([]byte, error) {
	switch {
	case initial && string(line) == "=":
		return nil, nil
	case !initial && string(line) == "*":
		return nil, errNoResponse
	}
	plain := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Strict().Decode(plain, line)
	if err != nil {
		return nil, login.ErrMalformed
	}
	return plain[:n], nil
}

// loggedIn answers a login.
func (s *session) loggedIn(e *login.Exchange, err error) {
	switch {
	case err == nil:
		s.user = e.User().Name
		s.say(235, "2.7.0", "welcome")
	case errors.Is(err, login.ErrTooMany):
		s.say(454, "4.7.0", err.Error())
		s.over = true
	case errors.Is(err, login.ErrRefused):
		s.say(535, "5.7.8", err.Error())
		if s.refused++; s.refused >= maxRefused {
			s.over = true
		}
	case errors.Is(err, errNoResponse):
		s.refuse(501, "5.7.0", "as you wish")
	case errors.Is(err, login.ErrMalformed):
		s.refuse(501, "5.5.2", err.Error())
	default:
		s.farewell(err)
	}
}

// pause makes the client wait, after sending the waiting replies.
func (s *session) pause(d time.Duration) bool {
	return s.wire.flush(s.server.idle()) == nil && s.wire.pause(d)
}
