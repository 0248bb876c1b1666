package address

import "strings"

// Mailbox is an address a message can be sent from or to. The zero value is the
// null reverse-path. Two spellings of one mailbox are not equal values; their
// keys are.
type Mailbox struct {
	local   string // its meaning, without quotes
	written string // the domain as it was written, without a trailing dot; "" for a literal
	domain  Domain
}

// IsNull reports whether m is the null reverse-path.
func (m Mailbox) IsNull() bool { return m.domain.IsZero() }

// Domain is the domain in canonical form.
func (m Mailbox) Domain() Domain { return m.domain }

// Local is the local part's meaning, without quotes. It is as it was written
// otherwise, in case and in code points: only its host may read more into it
// (RFC 5321 section 2.4, RFC 6531 section 3.2).
func (m Mailbox) Local() string { return m.local }

// String is the mailbox as it goes between angle brackets where UTF-8 may: the
// local part with the least quoting (RFC 5321 section 4.1.2), the domain as the
// sender wrote it, but for a trailing dot; a literal in its canonical form. It
// is empty for the null reverse-path.
func (m Mailbox) String() string { return string(m.AppendTo(nil)) }

// AppendTo appends String to dst.
func (m Mailbox) AppendTo(dst []byte) []byte {
	if m.IsNull() {
		return dst
	}
	dst = append(appendLocal(dst, m.local), '@')
	if m.written == "" {
		return append(dst, m.domain.String()...)
	}
	return append(dst, m.written...)
}

// ASCII is the mailbox for a server without SMTPUTF8: String, with the domain in
// A-labels if it is not ASCII (RFC 6531 section 3.2). It is false if the
// local part is not ASCII, which only its host may rewrite.
func (m Mailbox) ASCII() (string, bool) {
	return string(m.AppendASCII(nil)), isASCII(m.local)
}

// AppendASCII appends to dst what ASCII returns, nothing if that is false.
func (m Mailbox) AppendASCII(dst []byte) []byte {
	switch {
	case !isASCII(m.local):
		return dst
	case isASCII(m.written):
		return m.AppendTo(dst)
	default:
		return append(append(appendLocal(dst, m.local), '@'), m.domain.name...)
	}
}

// NeedsUTF8 reports whether only a server with SMTPUTF8 can take the mailbox.
// One whose domain alone is beyond ASCII has an ASCII form.
func (m Mailbox) NeedsUTF8() bool { return !isASCII(m.local) }

// Key is the same for all spellings of one mailbox: quoting and the domain's
// spelling do not count, the local part's case does (RFC 5321 section 2.4). It
// is a mailbox itself, with its domain written in canonical form.
func (m Mailbox) Key() Mailbox { return Mailbox{local: m.local, domain: m.domain} }

// The limits of RFC 5321 section 4.5.3.1.
const (
	maxLocal = 64
	maxPath  = 256 // with the angle brackets
)

// CheckLength holds the mailbox against the limits that every server must be
// able to take (RFC 5321 section 4.5.3.1). Parse does not: longer ones are in
// use, and a server can speak for itself. The error is an *Error.
func (m Mailbox) CheckLength() error {
	switch {
	case len(m.local) > maxLocal:
		return bad(m.String(), badMailbox, "local part longer than 64 octets")
	case len(m.String())+len("<>") > maxPath:
		return bad(m.String(), badMailbox, "path longer than 256 octets")
	}
	return nil
}

// appendLocal appends a local part, with quotes if it needs them.
func appendLocal(dst []byte, local string) []byte {
	if isDotString(local) {
		return append(dst, local...)
	}
	dst = append(dst, '"')
	for i := 0; i < len(local); i++ {
		if c := local[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, local[i])
	}
	return append(dst, '"')
}

// isDotString reports whether a local part needs no quotes.
func isDotString(s string) bool {
	return isAtoms(s) && s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// isAtoms reports whether a local part is of atoms and dots, wherever these stand.
func isAtoms(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '.' && !isAtext(c) {
			return false
		}
	}
	return true
}

// isAtext is RFC 5322's atext, widened by RFC 6531 section 3.3 to all beyond
// ASCII.
func isAtext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
