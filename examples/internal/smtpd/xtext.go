package smtpd

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeOriginal decodes the value of ORCPT: a type, and an address of that type (RFC
// 3461 section 4.2). The type is an atom, and kept in the case it has.
func decodeOriginal(value string) (kind, address string, ok bool) {
	kind, address, ok = strings.Cut(value, ";")
	if !ok || len(value) > 500 || kind == "" || !isAtom(kind) {
		return "", "", false
	}
	if address, ok = decodeXtext(address); ok && strings.EqualFold(kind, "utf-8") {
		address, ok = decodeUTF8Address(address)
	}
	return kind, address, ok && address != "" && isPrintable(address)
}

// isAtom lets letters, digits and hyphens be: the types that exist have no others.
func isAtom(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !isLetter(r) && !(r >= '0' && r <= '9') && r != '-' })
}

// decodeUTF8Address decodes an address of type utf-8, in which `\x{F6}` stands for a
// character that may not stand there itself (RFC 6533 section 3).
func decodeUTF8Address(s string) (string, bool) {
	var b strings.Builder
	for {
		before, after, more := strings.Cut(s, `\`)
		b.WriteString(before)
		if !more {
			return b.String(), utf8.ValidString(b.String())
		}
		digits, rest, ok := strings.Cut(strings.TrimPrefix(after, "x{"), "}")
		n, err := strconv.ParseUint(digits, 16, 32)
		if !ok || err != nil || !strings.HasPrefix(after, "x{") || len(digits) > 6 || !utf8.ValidRune(rune(n)) {
			return "", false
		}
		b.WriteRune(rune(n))
		s = rest
	}
}

// decodeXtext decodes the xtext of RFC 3461 section 4: "+2B" is a plus sign. So is
// "+2b", which gateways to other kinds of mail write though only capitals are allowed.
func decodeXtext(s string) (string, bool) {
	if !strings.Contains(s, "+") {
		return s, !strings.Contains(s, "=")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '=':
			return "", false
		case s[i] != '+':
			b.WriteByte(s[i])
		case i+2 >= len(s):
			return "", false
		default:
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(n))
			i += 2
		}
	}
	return b.String(), true
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
