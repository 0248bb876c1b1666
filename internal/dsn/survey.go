package dsn

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

const (
	// maxLine is the longest line of a report, without its end (RFC 5322 section
	// 2.1.1).
	maxLine = 998
	// maxHeader is how much is returned of a header that goes on and on.
	maxHeader = 128 << 10
	// maxID is how long a Message-ID may be to be referred to.
	maxID = 900
)

// facts are what must be known of a message to return it.
type facts struct {
	readable bool  // to its end
	octets   int64 // with CRLF line ends
	header   plain
	whole    plain
	id       string // of its Message-ID field, with angle brackets
	taken    uint16 // digits that follow the token at the beginning of a line
}

// plain is whether octets can be mailed as they are: 7-bit, no NUL or bare CR,
// no long lines.
type plain bool

// returned is what of a message is returned.
type returned uint8

const (
	returnNothing returned = iota
	returnMessage
	returnHeader
	returnQuotedHeader // its header, which is not plain
)

// survey reads the message once.
func survey(open func() (io.ReadCloser, error), token string) (f facts) {
	if open == nil {
		return f
	}
	source, err := open()
	if err != nil {
		return f
	}
	defer source.Close()
	var (
		l      = newLines(source)
		body   bool
		length int
		field  idField
		mark   = "--" + token
	)
	f.header, f.whole = true, true
	for {
		piece, begins, ends, err := l.next()
		if err != nil {
			f.readable = errors.Is(err, io.EOF)
			f.id = field.value()
			return f
		}
		if begins {
			length = 0
			f.see(piece, mark)
		}
		length += len(piece)
		ok := plain(length <= maxLine && isPlain(piece))
		f.whole = f.whole && ok
		f.octets += int64(len(piece))
		if ends {
			f.octets += 2
		}
		switch {
		case body:
		case begins && ends && len(piece) == 0:
			body = true
		default:
			f.header = f.header && ok
			field.add(piece, begins)
		}
	}
}

// see notes whether a line begins like one of the boundaries.
func (f *facts) see(line []byte, mark string) {
	if rest, ok := bytes.CutPrefix(line, []byte(mark)); ok && len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
		f.taken |= 1 << (rest[0] - '0')
	}
}

// boundary is one that no line of the message begins with. There is always one
// but for a message made of all of them, which is not returned.
func (f *facts) boundary(token string) string {
	for digit := range 10 {
		if f.taken&(1<<digit) == 0 {
			return token + string(rune('0'+digit))
		}
	}
	f.readable = false
	return token + "x"
}

// returned is what of the message is returned, whole up to max octets.
func (f *facts) returned(max int64) returned {
	switch {
	case !f.readable:
		return returnNothing
	case bool(f.whole) && f.octets <= max:
		return returnMessage
	case bool(f.header):
		return returnHeader
	default:
		return returnQuotedHeader
	}
}

func isPlain(p []byte) bool {
	for _, c := range p {
		if c >= 0x80 || c == 0 || c == '\r' {
			return false
		}
	}
	return true
}

// idField finds the Message-ID field among the lines of a header.
type idField struct {
	text  []byte
	open  bool // the last line was of the field
	found bool
}

func (d *idField) add(piece []byte, begins bool) {
	const name = "message-id:"
	switch {
	case begins && len(piece) > 0 && (piece[0] == ' ' || piece[0] == '\t'):
	case begins:
		d.open = !d.found && len(piece) >= len(name) && strings.EqualFold(string(piece[:len(name)]), name)
		if d.open {
			d.found = true
			piece = piece[len(name):]
		}
	}
	if d.open && len(d.text) <= maxID {
		d.text = append(d.text, piece...)
	}
}

// value is the Message-ID, if it can be repeated in a field of ours.
func (d *idField) value() string {
	id := strings.Trim(string(d.text), " \t")
	if len(id) < len("<x>") || len(id) > maxID || id[0] != '<' || id[len(id)-1] != '>' {
		return ""
	}
	for _, c := range []byte(id[1 : len(id)-1]) {
		if c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return ""
		}
	}
	return id
}
