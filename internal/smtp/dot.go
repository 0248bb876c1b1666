package smtp

import (
	"bytes"
	"errors"
)

var errBareLine = errors.New("CR or LF alone in the content")

// stuffer finds where content needs an additional dot (RFC 5321 section 4.5.2). It
// separates lines by CRLF only and lets no bare CR or LF pass, so that nothing but the
// end can be taken for the end (section 2.3.8). The zero value is at the start of the
// content.
type stuffer struct{ at place }

type place uint8

const (
	lineStart place = iota
	inLine
	afterCR
)

// next examines src, which follows what was examined before. The first n octets can be
// sent as they are. If dot is true, a dot is sent before the rest, which must be passed
// to next again.
func (d *stuffer) next(src []byte) (n int, dot bool, err error) {
	n = d.plain(src)
	for n < len(src) {
		switch d.at {
		case lineStart:
			d.at = inLine
			if src[n] == '.' {
				return n, true, nil
			}
		case afterCR:
			if src[n] != '\n' {
				return n, false, errBareLine
			}
			d.at = lineStart
			n++
		default:
			k, err := d.line(src[n:])
			n += k
			if err != nil {
				return n, false, err
			}
		}
	}
	return n, false, nil
}

// plain passes over the lines that src begins with, up to the first that needs a dot, has
// no end, or is not in order. It looks for CRs in all of them at once.
func (d *stuffer) plain(src []byte) int {
	if d.at == afterCR {
		return 0
	}
	n, lines, begins := 0, 0, d.at == lineStart
	for n < len(src) && !(begins && src[n] == '.') {
		lf := bytes.IndexByte(src[n:], '\n')
		if lf < 1 || src[n+lf-1] != '\r' {
			break
		}
		n += lf + 1
		lines++
		begins = true
	}
	if n == 0 || bytes.Count(src[:n], []byte{'\r'}) != lines {
		return 0 // next finds which line it is
	}
	d.at = lineStart
	return n
}

// line passes over the rest of a line.
func (d *stuffer) line(src []byte) (n int, err error) {
	lf := bytes.IndexByte(src, '\n')
	seg := src
	if lf >= 0 {
		seg = src[:lf]
	}
	cr := bytes.IndexByte(seg, '\r')
	switch {
	case cr < 0 && lf < 0:
		return len(src), nil
	case cr < 0, cr < len(seg)-1:
		return 0, errBareLine
	case lf < 0:
		d.at = afterCR
		return len(src), nil
	default:
		d.at = lineStart
		return lf + 1, nil
	}
}

// end returns the end of the content: the final dot, on a line of its own (RFC 5321
// section 4.1.1.4).
func (d *stuffer) end() (string, error) {
	switch d.at {
	case lineStart:
		return ".\r\n", nil
	case inLine:
		return "\r\n.\r\n", nil
	default:
		return "", errBareLine
	}
}
