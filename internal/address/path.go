package address

import (
	"strings"
	"unicode/utf8"
)

// maxInput keeps a command line bounded, whatever is put into it.
const maxInput = 998

// Parse takes the mailbox of a forward-path: "local@domain", without angle brackets.
// The local part is a dot-string or a quoted string, the domain is all that
// follows its "@" (RFC 5321 section 4.1.2). Dots may also stand where the grammar
// has none, first, last and in a row: there are mailboxes called so, which a
// command names in quotes. A source route before the local part is dropped
// (section 3.6.1). A name without a domain is refused, "postmaster" too, and so
// is any control character, anywhere.
//
// The error is an *Error: 5.1.2 about a domain name, else 5.1.3.
func Parse(s string) (Mailbox, error) {
	m, enhanced, reason := parse(s)
	if reason != "" {
		return Mailbox{}, bad(s, enhanced, reason)
	}
	return m, nil
}

// ParseReverse takes what Parse takes, or "" for the null reverse-path. The error is an *Error with 5.1.7.
func ParseReverse(s string) (Mailbox, error) {
	if s == "" {
		return Mailbox{}, nil
	}
	m, _, reason := parse(s)
	if reason != "" {
		return Mailbox{}, bad(s, badReverse, reason)
	}
	return m, nil
}

func parse(s string) (m Mailbox, enhanced, reason string) {
	if len(s) > maxInput {
		return m, badMailbox, "address longer than 998 octets"
	}
	if reason := checkCharacters(s); reason != "" {
		return m, badMailbox, reason
	}
	if reason := checkBrackets(s); reason != "" {
		return m, badMailbox, reason
	}
	s, reason = dropRoute(s)
	if reason != "" {
		return m, badMailbox, reason
	}
	local, domain, reason := split(s)
	if reason != "" {
		return m, badMailbox, reason
	}
	m.local = local
	if m.domain, enhanced, reason = parseDomain(domain); domain == "" {
		reason = noDomain
	}
	if !m.domain.ip.IsValid() {
		m.written = strings.TrimSuffix(domain, ".")
	}
	return m, enhanced, reason
}

// checkCharacters refuses what could end a command line or forge another, and
// what is not UTF-8 (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
func checkCharacters(s string) (reason string) {
	ascii := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			return "control character"
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	switch {
	case ascii:
		return ""
	case !utf8.ValidString(s):
		return "not UTF-8"
	case strings.ContainsFunc(s, isWideControl):
		return "control character"
	}
	return ""
}

// isWideControl reports whether r is a control character beyond ASCII, or ends a
// line by Unicode's rules.
func isWideControl(r rune) bool {
	return 0x80 <= r && r < 0xa0 || r == 0x2028 || r == 0x2029
}

// checkBrackets refuses what is not a mailbox alone but a path or a header's address. They
// are not cut down to the mailbox, for a queue returns an address as it was put, and who
// compares it with others must find it.
func checkBrackets(s string) (reason string) {
	switch before, _, found := strings.Cut(s, "<"); {
	case !found || !strings.HasSuffix(s, ">"):
		return ""
	case before == "":
		return "has angle brackets; leave them out"
	default:
		return "has a display name; use net/mail.ParseAddress and its Address"
	}
}

// dropRoute reduces "@x,@y:u@d" to "u@d" (RFC 5321 appendix C).
func dropRoute(s string) (rest, reason string) {
	if !strings.HasPrefix(s, "@") {
		return s, ""
	}
	route, rest, ok := strings.Cut(s, ":")
	if !ok {
		return "", noLocal
	}
	for hop := range strings.SplitSeq(route, ",") {
		name, ok := strings.CutPrefix(hop, "@")
		if !ok {
			return "", "not a source route"
		}
		if _, reason := canonical(name, forDomain); reason != "" {
			return "", "not a source route"
		}
	}
	return rest, ""
}

const (
	noDomain = "no domain; an address looks like bob@example.com"
	noLocal  = "no local part; an address looks like bob@example.com"
)

// split takes a mailbox apart and gives the meaning of its local part.
func split(s string) (local, domain, reason string) {
	if strings.HasPrefix(s, `"`) {
		return splitQuoted(s[1:])
	}
	local, domain, ok := strings.Cut(s, "@")
	switch {
	case !ok:
		return "", "", noDomain
	case local == "":
		return "", "", noLocal
	case !isAtoms(local):
		return "", "", "local part that needs quotes"
	}
	return local, domain, ""
}

// splitQuoted reads on after an opening quote (RFC 5321 section 4.1.2).
func splitQuoted(s string) (local, domain, reason string) {
	end := strings.IndexAny(s, `"\`)
	if end >= 0 && s[end] == '"' {
		return afterQuote(s[:end], s[end+1:])
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return afterQuote(b.String(), s[i+1:])
		case '\\':
			i++
			if i == len(s) || s[i] >= utf8.RuneSelf {
				return "", "", "backslash with nothing to quote after it"
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", "quote that is not closed"
}

func afterQuote(local, rest string) (string, string, string) {
	domain, ok := strings.CutPrefix(rest, "@")
	switch {
	case !ok:
		return "", "", "no domain after the quoted part"
	case local == "":
		return "", "", noLocal
	}
	return local, domain, ""
}
