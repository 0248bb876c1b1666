package smtpd

import (
	"strconv"
	"strings"
)

func (s *session) ehlo(name string) {
	if !s.greet(name, true) {
		return
	}
	lines := []string{
		s.server.Name, "PIPELINING", "SIZE " + strconv.FormatInt(s.server.maxSize(), 10),
		"8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN",
	}
	switch {
	case s.secure:
		lines = append(lines, "REQUIRETLS")
	case s.server.TLS != nil:
		lines = append(lines, "STARTTLS")
	}
	s.say(250, "", strings.Join(lines, "\n"))
}

func (s *session) helo(name string) {
	if s.greet(name, false) {
		s.say(250, "", s.server.Name)
	}
}

// greet notes who the client says it is, and forgets a transaction (RFC 5321 section
// 4.1.4).
func (s *session) greet(name string, extended bool) bool {
	if !isHelloName(name) {
		s.refuse(501, "5.5.4", "a domain or an address literal is required")
		return false
	}
	s.reset()
	s.hello, s.extended = name, extended
	return true
}

// isHelloName lets in what stands in a Received field without harm: a name is not
// refused for not being one (RFC 5321 section 4.1.4).
func isHelloName(name string) bool {
	for _, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c >= 0x80
		if !letter && !strings.ContainsRune("-._[]:", rune(c)) {
			return false
		}
	}
	return name != "" && len(name) <= 255
}
