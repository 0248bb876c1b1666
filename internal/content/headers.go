package content

import "bytes"

// headersHaveUTF8 reports whether a header of a message, or of one of its parts
// at any depth, has an octet of 0x80 or above. Only servers with SMTPUTF8 may be
// sent one (RFC 6531 section 3.5).
func headersHaveUTF8(data []byte) bool {
	var h headerScanner
	h.add(data)
	h.end()
	return h.found
}

const (
	maxHeaderLine = 1024 // of a line, what is looked at for a boundary
	maxBoundaries = 64   // of a message; more are not told apart from text
)

// headerScanner follows the structure of a message line by line, as far as is
// needed to know which lines are headers: those at its beginning, those after a
// boundary that was announced, and those at the beginning of an enclosed
// message. It decodes nothing.
type headerScanner struct {
	found bool

	line       []byte // what there is of the line so far
	high       bool   // it has an octet of 0x80 or above
	body       bool   // not in a header
	encloses   bool   // the header announced a message
	field      []byte // of the header, the field so far, folds undone
	boundaries [][]byte
}

func (h *headerScanner) add(p []byte) {
	for len(p) > 0 && !h.found {
		lf := bytes.IndexByte(p, '\n')
		piece := p
		if lf >= 0 {
			piece = p[:lf]
		}
		if room := maxHeaderLine - len(h.line); room > 0 {
			h.line = append(h.line, piece[:min(room, len(piece))]...)
		}
		h.high = h.high || hasHighBit(piece)
		if lf < 0 {
			return
		}
		h.endLine()
		p = p[lf+1:]
	}
}

func (h *headerScanner) end() {
	if len(h.line) > 0 && !h.found {
		h.endLine()
	}
}

func (h *headerScanner) endLine() {
	line := bytes.TrimSuffix(h.line, []byte("\r"))
	switch {
	case h.body:
		if h.isBoundary(line) {
			h.body = false
		}
	case len(line) == 0:
		h.endField()
		// The header of an enclosed message follows that of its part.
		h.body, h.encloses = !h.encloses, false
	case h.isBoundary(line): // a part without a body
		h.endField()
		h.encloses = false
	default:
		h.found = h.found || h.high
		h.fieldLine(line)
	}
	h.line, h.high = h.line[:0], false
}

// fieldLine takes a line of a header: a new field, or more of the last one.
func (h *headerScanner) fieldLine(line []byte) {
	if line[0] != ' ' && line[0] != '\t' {
		h.endField()
	}
	if len(h.field)+len(line) <= 4*maxHeaderLine {
		h.field = append(h.field, line...)
	}
}

// endField looks whether the field announces parts or a message.
func (h *headerScanner) endField() {
	field := h.field
	h.field = h.field[:0]
	const name = "content-type:"
	if len(field) < len(name) || !bytes.EqualFold(field[:len(name)], []byte(name)) {
		return
	}
	value := bytes.TrimSpace(field[len(name):])
	lower := bytes.ToLower(value)
	h.encloses = bytes.HasPrefix(lower, []byte("message/rfc822")) || bytes.HasPrefix(lower, []byte("message/global"))
	at := bytes.Index(lower, []byte("boundary"))
	if at < 0 || len(h.boundaries) == maxBoundaries {
		return
	}
	after := bytes.TrimLeft(value[at+len("boundary"):], " \t")
	if len(after) > 0 && after[0] == '=' {
		if b := parameter(bytes.TrimLeft(after[1:], " \t")); len(b) > 0 {
			h.boundaries = append(h.boundaries, bytes.Clone(b))
		}
	}
}

// parameter is a parameter's value, out of its quotes.
func parameter(s []byte) []byte {
	if len(s) > 0 && s[0] == '"' {
		if end := bytes.IndexByte(s[1:], '"'); end >= 0 {
			return s[1 : 1+end]
		}
		return nil
	}
	if end := bytes.IndexAny(s, "; \t("); end >= 0 {
		return s[:end]
	}
	return s
}

// isBoundary reports whether a line opens a part.
func (h *headerScanner) isBoundary(line []byte) bool {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return false
	}
	rest := bytes.TrimRight(line[2:], " \t")
	for _, b := range h.boundaries {
		if bytes.Equal(rest, b) {
			return true
		}
	}
	return false
}
