package compose

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// maxHeader is how many octets a header has at most.
const maxHeader = 1 << 20

// ErrHeader says that a header is too long.
var ErrHeader = errors.New("the header is longer than 1 MiB")

// Header is the header of a message: fields in their order.
type Header struct{ fields []field }

// field is one with its lines, which end with CRLF.
type field struct {
	name string // as it is written
	text string // the whole
}

// is reports whether a field has a name, in any case.
func (f *field) is(name string) bool { return strings.EqualFold(f.name, name) }

// value returns the text after the colon, on one line.
func (f *field) value() string {
	_, value, _ := strings.Cut(f.text, ":")
	return strings.TrimSpace(strings.ReplaceAll(value, "\r\n", ""))
}

// byteOrderMark is what some editors write at the beginning of UTF-8.
const byteOrderMark = "\ufeff"

// ReadHeader reads the header and the empty line after it. What programs leave before the
// first field is left out: lines that begin with "From " or ">From ", as in a mailbox, and a
// byte order mark. A line that cannot be a field is the first line of the body,
// and is not read, because some programs forget the empty line.
func ReadHeader(in *bufio.Reader) (*Header, error) {
	h := &Header{}
	size := 0
	if mark, err := in.Peek(len(byteOrderMark)); err == nil && string(mark) == byteOrderMark {
		_, _ = in.Discard(len(mark)) // was read
	}
	for {
		begin, err := peekLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		ends := len(begin) == 0 || string(begin) == "\n" || string(begin) == "\r\n"
		envelope := len(h.fields) == 0 && bytes.HasPrefix(bytes.TrimPrefix(begin, []byte(">")), []byte("From "))
		folded := !ends && len(h.fields) > 0 && (begin[0] == ' ' || begin[0] == '\t')
		name, isField := fieldName(begin)
		if !ends && !envelope && !folded && !isField {
			return h, nil
		}
		line, err := readLine(in, maxHeader-size)
		if err != nil {
			return nil, err
		}
		size += len(line)
		switch {
		case ends:
			return h, nil
		case envelope:
		case folded:
			h.fields[len(h.fields)-1].text += line
		default:
			h.fields = append(h.fields, field{name, line})
		}
	}
}

// peekLine is the beginning of the next line, as much as the buffer holds.
func peekLine(in *bufio.Reader) ([]byte, error) {
	for n := 1; ; n = min(2*n, in.Size()) {
		b, err := in.Peek(n)
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return b[:i+1], nil
		}
		if err != nil || n == in.Size() {
			return b, err
		}
	}
}

// readLine reads a line of at most so many octets, and ends it with CRLF.
func readLine(in *bufio.Reader, most int) (string, error) {
	var b []byte
	for {
		part, err := in.ReadSlice('\n')
		if b = append(b, part...); len(b) > most {
			return "", ErrHeader
		}
		if err == nil || errors.Is(err, io.EOF) {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
	return string(bytes.TrimRight(b, "\r\n")) + "\r\n", nil
}

// fieldName is the name of the field that a line begins (RFC 5322 section 2.2). Blanks
// before the colon are obsolete, and taken.
func fieldName(line []byte) (string, bool) {
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return "", false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return "", false
		}
	}
	return string(name), true
}

// Has reports whether there is a field.
func (h *Header) Has(name string) bool { return h.find(name) != nil }

// Get is the value of the first field of a name.
func (h *Header) Get(name string) string {
	if f := h.find(name); f != nil {
		return f.value()
	}
	return ""
}

func (h *Header) find(name string) *field {
	for i := range h.fields {
		if h.fields[i].is(name) {
			return &h.fields[i]
		}
	}
	return nil
}

// Remove takes all fields of a name away.
func (h *Header) Remove(name string) {
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !f.is(name) {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}

// Add adds a field at the end. The value must not contain line ends.
func (h *Header) Add(name, value string) {
	h.fields = append(h.fields, field{name, name + ": " + value + "\r\n"})
}

// Set replaces the value of the first field of a name by a list of addresses.
func (h *Header) Set(name, value string) {
	if f := h.find(name); f != nil {
		f.text = fold(f.name+": "+value) + "\r\n"
	}
}

// fold breaks a long line behind commas (RFC 5322 section 2.1.1).
func fold(line string) string {
	const width = 78
	var b strings.Builder
	for length := 0; line != ""; {
		part := line
		if i := strings.Index(line, ", "); i >= 0 {
			part = line[:i+1]
		}
		if length > 0 && length+len(part) > width {
			b.WriteString("\r\n")
			length = 0
		}
		b.WriteString(part)
		length += len(part)
		line = line[len(part):]
	}
	return b.String()
}

// WriteTo writes the header and the empty line behind it.
func (h *Header) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, f := range h.fields {
		b.WriteString(f.text)
	}
	b.WriteString("\r\n")
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
