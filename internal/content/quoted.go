package content

import "encoding/base64"

// mustQuote reports whether an octet stands for itself in no quoted-printable text
// (RFC 2045 section 6.7). A blank does, but not at the end of a line.
func mustQuote(c byte) bool { return c >= 0x7F || c == '=' || c < ' ' && c != '\t' }

// maxEncoded is how long an encoded line may be (RFC 2045 section 6.7 and 6.8).
const maxEncoded = 76

// encoder encodes the body of an entity. Its zero value leaves it as it is.
type encoder struct {
	action action

	column int
	blank  byte // quoted-printable: the last octet, a blank that may end the line
	soft   bool // the line goes on one that was too long

	pending []byte // base64: up to two octets that wait for others
	lineEnd bool   // base64: a CRLF that may belong to a delimiter
}

// text appends octets of a line, and ends it if they are its last.
func (e *encoder) text(dst, p []byte, ends bool) []byte {
	switch e.action {
	case quote:
		return e.quoted(dst, p, ends)
	case toBase64:
		if e.lineEnd {
			dst = e.base64(dst, []byte("\r\n"))
		}
		e.lineEnd = ends
		return e.base64(dst, p)
	}
	dst = append(dst, p...)
	if ends {
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// end ends the body. The last line end is the delimiter's, if one follows (RFC
// 2046 section 5.1.1).
func (e *encoder) end(dst []byte, delimited bool) []byte {
	if e.action != toBase64 {
		*e = encoder{}
		return dst
	}
	if e.lineEnd && !delimited {
		dst = e.base64(dst, []byte("\r\n"))
	}
	if len(e.pending) > 0 {
		dst = e.group(dst, e.pending)
	}
	if e.column > 0 {
		dst = append(dst, '\r', '\n')
	}
	*e = encoder{}
	return dst
}

const hexadecimal = "0123456789ABCDEF"

func (e *encoder) quoted(dst, p []byte, ends bool) []byte {
	for _, c := range p {
		if e.blank != 0 {
			dst = e.plain(dst, e.blank)
			e.blank = 0
		}
		switch {
		case c == ' ' || c == '\t':
			e.blank = c
		case mustQuote(c):
			dst = e.escape(dst, c)
		default:
			dst = e.plain(dst, c)
		}
	}
	if !ends {
		return dst
	}
	if e.blank != 0 {
		dst = e.escape(dst, e.blank)
	}
	e.blank, e.column, e.soft = 0, 0, false
	return append(dst, '\r', '\n')
}

// plain appends an octet that stands for itself. A "-" that begins a line which the
// encoding has made does not, for it could be taken for a delimiter.
func (e *encoder) plain(dst []byte, c byte) []byte {
	dst = e.room(dst, 1)
	if c == '-' && e.soft && e.column == 0 {
		return e.escape(dst, c)
	}
	e.column++
	return append(dst, c)
}

func (e *encoder) escape(dst []byte, c byte) []byte {
	dst = e.room(dst, 3)
	e.column += 3
	return append(dst, '=', hexadecimal[c>>4], hexadecimal[c&15])
}

// room breaks the line if n octets more and the mark of a break would not fit.
func (e *encoder) room(dst []byte, n int) []byte {
	if e.column+n <= maxEncoded-1 {
		return dst
	}
	e.column, e.soft = 0, true
	return append(dst, '=', '\r', '\n')
}

func (e *encoder) base64(dst, p []byte) []byte {
	for _, c := range p {
		if e.pending = append(e.pending, c); len(e.pending) == 3 {
			dst = e.group(dst, e.pending)
			e.pending = e.pending[:0]
		}
	}
	return dst
}

// group appends up to three octets.
func (e *encoder) group(dst, p []byte) []byte {
	if e.column == maxEncoded {
		dst = append(dst, '\r', '\n')
		e.column = 0
	}
	e.column += 4
	return base64.StdEncoding.AppendEncode(dst, p)
}
