package dsn

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// foldAt is how long lines get if they can be folded (RFC 5322 section
	// 2.1.1), and breakAt where a word is broken that cannot.
	foldAt  = 78
	breakAt = 900
	// maxGap is how many spaces stay between two words.
	maxGap = 8
)

// appendField appends a field, its value folded. A line break in the value stays
// one, with an indent. No line of it is blank, and its octets are printable.
func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ':')
	column := len(name) + 1
	for line := range strings.SplitSeq(value, "\n") {
		if column == 0 {
			b = append(b, "\r\n"...)
		}
		b = appendWords(b, line, column, " ")
		column = 0
	}
	return append(b, "\r\n"...)
}

// appendWhole appends a field with an address or a name, which has no line breaks, on
// one line if that is long enough for it. Many programs that read reports expect that,
// though all know that a reply is continued; and blanks between quotes must stay.
func appendWhole(b []byte, name, value string) []byte {
	if len(name)+len(": ")+len(value) > maxLine {
		return appendField(b, name, value)
	}
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

// appendWords appends text, folded if it gets long. A line that it begins
// starts with the indent, which has a space at least.
func appendWords(b []byte, text string, column int, indent string) []byte {
	gap := 1
	for word := range strings.SplitSeq(text, " ") {
		if word == "" {
			gap = min(gap+1, maxGap)
			continue
		}
		for word != "" {
			part := word[:min(len(word), breakAt)]
			word = word[len(part):]
			if column > 0 && column+gap+len(part) > foldAt {
				b, column = append(b, "\r\n"...), 0
			}
			if column == 0 {
				b, column = append(b, indent...), len(indent)
			} else {
				b, column = append(b, "        "[:gap]...), column+gap
			}
			b, column = append(b, part...), column+len(part)
			gap = 1
		}
	}
	return b
}

// printable is text in printable ASCII: all else as \x{E9}, but for line breaks
// and tabs, which become spaces.
func printable(s string) string {
	return escape(s, func(r rune) bool { return r >= ' ' || r == '\n' })
}

// encoded is an address in the form that RFC 6533 section 3 gives those beyond
// ASCII where 8 bits are not to be had.
func encoded(s string) string {
	return escape(s, func(r rune) bool { return r > ' ' && r != '\\' && r != '+' && r != '=' })
}

// escape replaces what is not ASCII, DEL, and what keep does not keep.
func escape(s string, keep func(rune) bool) string {
	keeps := func(r rune) bool { return r < 0x7f && keep(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !keeps(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			r = rune(s[0])
		}
		s = s[n:]
		switch {
		case keeps(r):
			b.WriteRune(r)
		case r == '\t':
			b.WriteByte(' ')
		default:
			code := strings.ToUpper(strconv.FormatInt(int64(r), 16))
			if len(code) == 1 {
				code = "0" + code
			}
			b.WriteString(`\x{` + code + `}`)
		}
	}
	return b.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
