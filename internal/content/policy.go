package content

// Policy is a set of the things that are done, or let pass, with octets that
// are not canonical mail. The zero value refuses all of them.
type Policy uint8

const (
	// NormaliseLines makes a bare CR or LF a CRLF. Without it one is refused:
	// no server may be sent it, and some take it for the end of a line (RFC
	// 5321 section 2.3.8).
	NormaliseLines Policy = 1 << iota
	// AllowNUL lets NUL pass (RFC 5321 section 4.5.2 leaves room for doubt), but in a
	// line that would be a single dot without it.
	AllowNUL
	// AllowLongLines lets lines of more than 998 octets pass, which no server
	// need take (RFC 5321 section 4.5.3.1.6).
	AllowLongLines
)

const (
	// Origin is for mail that starts here (RFC 5322 section 2.1.1).
	Origin = NormaliseLines
	// Relay is for mail from elsewhere, which is passed on as it is or not at
	// all (RFC 5321 section 3.6.3). A last line without an end is given one.
	Relay = AllowNUL | AllowLongLines
)

// check holds what was found against the policy.
func (p Policy) check(s *scanner) error {
	switch {
	case p&NormaliseLines == 0 && s.bareLine > 0:
		return refused(s.bareLine, "a CR or LF that is not part of a CRLF")
	case p&AllowNUL == 0 && s.nulLine > 0:
		return refused(s.nulLine, "a NUL character")
	case s.dotLine > 0:
		return refused(s.dotLine, "NUL characters before a dot, which may end the content")
	case p&AllowLongLines == 0 && s.longLine > 0:
		return refused(s.longLine, "longer than 998 octets")
	}
	return nil
}
