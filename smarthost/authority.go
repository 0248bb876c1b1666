package smarthost

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// net/url is of no use for any of this: it refuses [192.0.2.1], which is how mail
// writes an address (RFC 5321 section 4.1.3), and repeats passwords in its errors.

// splitPort splits "host:port". The port is "" if there is none.
func splitPort(s string) (host, port, reason string) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", "unmatched bracket"
		}
		host, s = s[:end+1], s[end+1:]
		if s == "" {
			return host, "", ""
		}
		if s[0] != ':' {
			return "", "", "unexpected text between the bracket and the port"
		}
		s = s[1:]
	} else {
		var ok bool
		if host, s, ok = strings.Cut(s, ":"); !ok {
			return host, "", ""
		}
	}
	if s == "" {
		return "", "", "the port after the colon is missing"
	}
	if strings.Contains(s, ":") {
		return "", "", "more than one colon; write an IPv6 address in brackets"
	}
	return host, s, ""
}

// parsePort reads a port, 1 to 65535. Its errors do not repeat it: in
// smtp://user:password it is where the password stands.
func parsePort(s string) (port uint16, reason string) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || !isDigits(s) {
		return 0, "the port is not a number from 1 to 65535"
	}
	return uint16(n), ""
}

// parseUserinfo reads "user:password", each percent-encoded (RFC 3986 section
// 3.2.1).
func parseUserinfo(s string) (user, password, reason string) {
	user, password, ok := strings.Cut(s, ":")
	if !ok {
		return "", "", "the user has no password"
	}
	if user, reason = unescape(user); reason != "" {
		return "", "", reason
	}
	if password, reason = unescape(password); reason != "" {
		return "", "", reason
	}
	switch {
	case user == "":
		return "", "", "the user name is empty"
	case password == "":
		return "", "", "the password is empty"
	}
	return user, password, ""
}

// unescape undoes percent-encoding. The result is text without control characters,
// because not all mechanisms can carry them.
func unescape(s string) (text, reason string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", "the user name or password has a percent sign without two hexadecimal digits"
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", "the user name or password has a percent sign without two hexadecimal digits"
			}
			c = byte(n)
			i += 2
		}
		if c < ' ' || c == 0x7f {
			return "", "the user name or password has a control character"
		}
		b.WriteByte(c)
	}
	if !utf8.ValidString(b.String()) {
		return "", "the user name or password is not UTF-8"
	}
	return b.String(), ""
}

// escape is the inverse of unescape; it escapes everything except the unreserved
// characters of RFC 3986 section 2.3.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; isUnreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
