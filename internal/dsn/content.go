package dsn

import "io"

// content is what is returned of a message, line by line. A message that cannot
// be read on, or turns out other than it was, ends there.
type content struct {
	source   io.ReadCloser
	lines    lines
	returned returned
	length   int // of the line so far
	octets   int // of the header so far
	column   int // of the encoded line
	gap      []byte
}

func newContent(source io.ReadCloser, what returned) *content {
	return &content{source: source, lines: newLines(source), returned: what}
}

func (c *content) close() error { return c.source.Close() }

// next appends more of the content and says whether there may be more again.
func (c *content) next(b []byte) ([]byte, bool) {
	piece, begins, ends, err := c.lines.next()
	if err != nil {
		return b, false
	}
	if begins {
		c.length = 0
	}
	if c.returned != returnMessage {
		c.octets += len(piece) + 2
		if begins && ends && len(piece) == 0 || c.octets > maxHeader {
			return b, false
		}
	}
	if c.returned == returnQuotedHeader {
		return c.quote(b, piece, ends), true
	}
	if c.length += len(piece); c.length > maxLine || !isPlain(piece) {
		return b, false
	}
	b = append(b, piece...)
	if ends {
		b = append(b, "\r\n"...)
	}
	return b, true
}

// maxQuoted is the longest encoded line (RFC 2045 section 6.7).
const maxQuoted = 76

// quote appends a piece of a line as quoted-printable.
func (c *content) quote(b, piece []byte, ends bool) []byte {
	for _, ch := range piece {
		b = c.quoteGap(b, false)
		if ch == ' ' || ch == '\t' {
			c.gap = append(c.gap[:0], ch) // encoded where the line ends after it
			continue
		}
		b = c.put(b, ch, ch <= ' ' || ch >= 0x7f || ch == '=')
	}
	if ends {
		b = append(c.quoteGap(b, true), "\r\n"...)
		c.column = 0
	}
	return b
}

func (c *content) quoteGap(b []byte, encode bool) []byte {
	for _, ch := range c.gap {
		b = c.put(b, ch, encode)
	}
	c.gap = c.gap[:0]
	return b
}

func (c *content) put(b []byte, ch byte, encode bool) []byte {
	const hex = "0123456789ABCDEF"
	width := 1
	if encode {
		width = 3
	}
	if c.column+width >= maxQuoted { // one column is the soft break's
		b = append(b, "=\r\n"...)
		c.column = 0
	}
	// A hyphen at the beginning of a line may look like a boundary.
	if c.column == 0 && ch == '-' {
		encode, width = true, 3
	}
	c.column += width
	if encode {
		return append(b, '=', hex[ch>>4], hex[ch&15])
	}
	return append(b, ch)
}
