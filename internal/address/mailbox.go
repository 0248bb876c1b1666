package address

import (
	"strings"
	"unicode/utf8"
)

// The limits of RFC 5321 section 4.5.3.1. The one on the local part is asked
// for with CheckLength only: longer ones are in use. The one on the whole keeps
// a command line bounded whatever is in it.
const (
	maxLocal   = 64
	maxPath    = 256
	maxMailbox = 998
)

// Mailbox is an address a message can be sent from or to. The zero value is the
// null reverse-path.
type Mailbox struct {
	local   string // its meaning, without quotes
	written string // the domain as it was written, without a trailing dot
	domain  Domain
}

// Parse takes a forward-path: "local@domain", with or without angle brackets.
// The domain is what follows the last unquoted "@"; a source route is dropped
// (RFC 5321 section 3.6.1). The error is an *Error.
func Parse(s string) (Mailbox, error) {
	m, e := parse(s)
	if e != nil {
		return Mailbox{}, e
	}
	return m, nil
}

// ParseReverse takes a reverse-path: a mailbox, or "" or "<>" for the null one.
// The error is an *Error.
func ParseReverse(s string) (Mailbox, error) {
	if s == "" || s == "<>" {
		return Mailbox{}, nil
	}
	m, e := parse(s)
	if e != nil {
		e.Enhanced = badReverse
		return Mailbox{}, e
	}
	return m, nil
}

func parse(s string) (Mailbox, *Error) {
	if len(s) > maxMailbox {
		return Mailbox{}, bad(s, badMailbox, "address too long")
	}
	if reason := controls(s); reason != "" {
		return Mailbox{}, bad(s, badMailbox, reason)
	}
	in := s
	if strings.HasPrefix(in, "<") {
		if !strings.HasSuffix(in, ">") {
			return Mailbox{}, bad(s, badMailbox, "angle bracket without its fellow")
		}
		in = in[1 : len(in)-1]
	}
	in, reason := dropRoute(in)
	if reason != "" {
		return Mailbox{}, bad(s, badMailbox, reason)
	}
	local, written, reason := split(in)
	if reason != "" {
		return Mailbox{}, bad(s, badMailbox, reason)
	}
	d, err := ParseDomain(written)
	if err != nil {
		e := err.(*Error)
		return Mailbox{}, bad(s, e.Enhanced, e.Reason)
	}
	return Mailbox{local, strings.TrimSuffix(written, "."), d}, nil
}

// controls refuses what could end a command line or forge another, and what is
// not UTF-8 (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
func controls(s string) (reason string) {
	ascii := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < 0x20 || c == 0x7f:
			return "control character"
		case c >= 0x80:
			ascii = false
		}
	}
	if ascii {
		return ""
	}
	if !utf8.ValidString(s) {
		return "not UTF-8"
	}
	for _, r := range s {
		if 0x80 <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return "control character"
		}
	}
	return ""
}

// dropRoute reduces "@x,@y:u@d" to "u@d" (RFC 5321 appendix C).
func dropRoute(s string) (rest, reason string) {
	if !strings.HasPrefix(s, "@") {
		return s, ""
	}
	route, rest, ok := strings.Cut(s, ":")
	if !ok {
		return "", "source route without an end"
	}
	for hop := range strings.SplitSeq(route, ",") {
		if !strings.HasPrefix(hop, "@") {
			return "", "not a source route"
		}
		if _, err := ParseDomain(hop[1:]); err != nil {
			return "", "not a source route"
		}
	}
	return rest, ""
}

// split takes a mailbox apart and gives the meaning of its local part.
func split(s string) (local, domain, reason string) {
	if strings.HasPrefix(s, `"`) {
		return splitQuoted(s)
	}
	at := strings.IndexByte(s, '@')
	switch {
	case at < 0:
		return "", "", "no domain"
	case at == 0:
		return "", "", "no local part"
	}
	local = s[:at]
	if !isDotString(local) {
		return "", "", "character that needs quotes"
	}
	return local, s[at+1:], ""
}

// splitQuoted reads a quoted local part (RFC 5321 section 4.1.2).
func splitQuoted(s string) (local, domain, reason string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			i++
			if i == len(s) || s[i] >= 0x80 {
				return "", "", "nothing to quote after a backslash"
			}
			b.WriteByte(s[i])
		case '"':
			if i+1 == len(s) || s[i+1] != '@' {
				return "", "", "no domain after the quoted part"
			}
			if b.Len() == 0 {
				return "", "", "no local part"
			}
			return b.String(), s[i+2:], ""
		default:
			b.WriteByte(c)
		}
	}
	return "", "", "quote without its fellow"
}

// isDotString reports whether a local part needs no quotes.
func isDotString(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '.' {
			if i == 0 || i == len(s)-1 || s[i-1] == '.' {
				return false
			}
		} else if !isAtext(c) {
			return false
		}
	}
	return s != ""
}

// isAtext is RFC 5322's atext, widened by RFC 6531 to all of UTF-8.
func isAtext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// IsNull reports whether m is the null reverse-path.
func (m Mailbox) IsNull() bool { return m.domain.IsZero() }

// Domain is the domain in canonical form.
func (m Mailbox) Domain() Domain { return m.domain }

// Local is the local part's meaning, without quotes.
func (m Mailbox) Local() string { return m.local }

// String is the mailbox as it goes between angle brackets where UTF-8 may: the
// local part with the least quoting (RFC 5321 section 4.1.2), the domain as the
// sender wrote it. Empty for the null reverse-path.
func (m Mailbox) String() string { return string(m.AppendTo(nil)) }

// ASCII is the mailbox for a server without SMTPUTF8, the domain in A-labels
// (RFC 6531 section 3.2). It is false where the local part is not ASCII: nobody
// but the receiving host may rewrite it.
func (m Mailbox) ASCII() (string, bool) {
	return string(m.AppendASCII(nil)), ascii(m.local)
}

// AppendTo appends String.
func (m Mailbox) AppendTo(dst []byte) []byte {
	if m.IsNull() {
		return dst
	}
	return append(append(m.appendLocal(dst), '@'), m.domainOut()...)
}

// AppendASCII appends the first result of ASCII, nothing where the second is
// false.
func (m Mailbox) AppendASCII(dst []byte) []byte {
	switch {
	case m.IsNull() || !ascii(m.local):
		return dst
	case ascii(m.written):
		return m.AppendTo(dst)
	default:
		return append(append(m.appendLocal(dst), '@'), m.domain.String()...)
	}
}

// NeedsUTF8 reports whether only a server with SMTPUTF8 can take the mailbox.
func (m Mailbox) NeedsUTF8() bool { return !ascii(m.local) }

// Key is the same for all spellings of one mailbox: quoting and the domain's
// spelling do not count, the local part's case does (RFC 5321 section 2.4).
func (m Mailbox) Key() Mailbox { return Mailbox{local: m.local, domain: m.domain} }

// CheckLength holds the mailbox against the limits every server must take
// (RFC 5321 section 4.5.3.1). The error is an *Error.
func (m Mailbox) CheckLength() error {
	switch {
	case len(m.local) > maxLocal:
		return bad(m.String(), badMailbox, "local part longer than 64 octets")
	case len(m.String())+len("<>") > maxPath:
		return bad(m.String(), badMailbox, "path longer than 256 octets")
	}
	return nil
}

// domainOut is the domain as written; a literal in its one right form.
func (m Mailbox) domainOut() string {
	if _, literal := m.domain.Literal(); literal {
		return m.domain.String()
	}
	return m.written
}

// appendLocal appends the local part with quotes where it needs them.
func (m Mailbox) appendLocal(dst []byte) []byte {
	if isDotString(m.local) {
		return append(dst, m.local...)
	}
	dst = append(dst, '"')
	for i := 0; i < len(m.local); i++ {
		if c := m.local[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, m.local[i])
	}
	return append(dst, '"')
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
