package smtp

import "unicode/utf8"

// parseLine splits a reply line into the code, whether it is the last line of its
// reply, and the text (RFC 5321 section 4.2), or returns what is wrong with it. Three
// digits alone are a line; so are three digits and a blank.
func parseLine(line []byte) (code int, last bool, text []byte, bad protocolError) {
	if len(line) < 3 || !isDigit(line[0]) || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, false, nil, errNoCode
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if code < 200 || code > 599 {
		return 0, false, nil, errCodeRange
	}
	if len(line) == 3 {
		return code, true, nil, ""
	}
	switch line[3] {
	case ' ':
		return code, true, line[4:], ""
	case '-':
		return code, false, line[4:], ""
	default:
		return 0, false, nil, errNoCode
	}
}

// enhancedCode is the enhanced status code a reply line's text begins with, if
// it is well formed and of the same class as the reply code (RFC 2034 section
// 4): its length, or 0.
func enhancedCode(code int, text []byte) int {
	if len(text) < 5 || int(text[0]-'0') != code/100 || text[1] != '.' {
		return 0
	}
	i := digits(text, 2)
	if i == 2 || i == len(text) || text[i] != '.' {
		return 0
	}
	j := digits(text, i+1)
	if j == i+1 || j < len(text) && text[j] != ' ' {
		return 0
	}
	return j
}

// digits is the end of at most three digits that begin at i.
func digits(text []byte, i int) int {
	end := min(i+3, len(text))
	for i < end && isDigit(text[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

const hexDigits = "0123456789ABCDEF"

// appendEscaped appends text fit for a log or a report: control characters and
// octets beyond ASCII as \xHH, unless they are valid UTF-8 and that is allowed.
func appendEscaped(dst, text []byte, allowUTF8 bool) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if 0x20 <= c && c < 0x7f {
			dst = append(dst, c)
			i++
			continue
		}
		if c >= 0x80 && allowUTF8 {
			if r, n := utf8.DecodeRune(text[i:]); n > 1 && printable(r) {
				dst = append(dst, text[i:i+n]...)
				i += n
				continue
			}
		}
		dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		i++
	}
	return dst
}

// printable leaves out the control characters of the second half of Latin-1,
// the line and paragraph separators, and the characters that turn the
// direction of the text around them.
func printable(r rune) bool {
	switch {
	case r < 0xa0, r == 0x2028, r == 0x2029, 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069, r == 0xfeff:
		return false
	}
	return true
}
