package smtpd

import (
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/examples/internal/login"
)

func (s *session) ehlo(name string) {
	if !s.greet(name, true) {
		return
	}
	lines := []string{
		s.server.answer(), "PIPELINING", "SIZE " + strconv.FormatInt(s.server.maxSize(), 10),
		"8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN",
	}
	switch {
	case s.secure:
		lines = append(lines, "REQUIRETLS")
		if s.server.Logins != nil {
			lines = append(lines, "AUTH "+login.Mechanisms)
		}
	case s.server.TLS != nil:
		lines = append(lines, "STARTTLS")
	}
	s.say(250, "", strings.Join(lines, "\n"))
}

func (s *session) helo(name string) {
	if s.greet(name, false) {
		s.say(250, "", s.server.answer())
	}
}

// greet records the client's name, and ends a transaction (RFC 5321 section 4.1.4).
// From a trusted client any name is accepted, even none.
func (s *session) greet(name string, extended bool) bool {
	if !s.trusted && !isHelloName(name) {
		s.refuse(501, "5.5.4", "a domain or an address literal is required")
		return false
	}
	s.reset()
	s.begun, s.hello, s.extended = true, strings.Clone(name[:min(len(name), maxHello)]), extended
	return true
}

const maxHello = 255

// isHelloName accepts anything similar to a name or a literal: an invalid one is not a
// reason to refuse mail (RFC 5321 section 4.1.4).
func isHelloName(name string) bool {
	for _, c := range []byte(name) {
		if !isPlain(c) && c < 0x80 {
			return false
		}
	}
	return name != "" && len(name) <= maxHello
}

// isPlain reports whether an octet can stand in a name of our Received field.
func isPlain(c byte) bool {
	return isLetter(rune(c)) || c >= '0' && c <= '9' || strings.IndexByte("-._[]:", c) >= 0
}
