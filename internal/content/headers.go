package content

import (
	"bytes"
	"sync"
)

const (
	// maxField is how much of a header field is kept to be looked at.
	maxField = 4096
	// maxDepth is how deep parts within parts are followed.
	maxDepth = 64
)

// headerScanner follows the structure of a message line by line, as far as is
// needed to know which lines are headers: those at its beginning, those after a
// boundary that was announced, and those at the beginning of an enclosed
// message. It decodes nothing. Its input is canonical.
type headerScanner struct {
	topOnly bool // only the message's own header is of interest

	utf8     bool // an octet of 0x80 or above was in a header
	mime     bool
	received int
	tlsNo    int // fields TLS-Required that say No
	tlsElse  int // and those that say something else

	lost      bool        // parts cannot be told from text any more
	nested    bool        // beyond the message's own header
	body      bool        // not in a header
	encloses  bool        // a message follows this header
	delimited []multipart // the multiparts we are in, outermost first
	reading   reading     // what the field is, if it is looked at as a whole
	field     []byte      // which goes like this so far, folds undone
	cut       bool        // and something was left out of it
	line      []byte      // of a line that began in an earlier piece, the beginning
}

// reading is a field that is looked at as a whole.
type reading uint8

const (
	noField reading = iota
	contentType
	tlsRequired // of the message's own header
)

// multipart is what ends with a boundary.
type multipart struct {
	boundary []byte
	digest   bool // its parts are messages unless they say otherwise
}

// headerScanners hold no state that anybody could see.
var headerScanners = sync.Pool{New: func() any { return new(headerScanner) }}

func borrowHeaders() *headerScanner {
	h := headerScanners.Get().(*headerScanner)
	*h = headerScanner{delimited: h.delimited[:0], field: h.field[:0], line: h.line[:0]}
	return h
}

func (h *headerScanner) giveBack() { headerScanners.Put(h) }

// add scans the next piece.
func (h *headerScanner) add(p []byte) {
	for len(p) > 0 && !h.done() {
		lf := bytes.IndexByte(p, '\n')
		if lf < 0 {
			h.keep(p)
			return
		}
		line := p[:lf]
		if len(h.line) > 0 {
			h.keep(line)
			line = h.line
		}
		h.addLine(bytes.TrimSuffix(line, []byte("\r")))
		h.line = h.line[:0]
		p = p[lf+1:]
	}
}

// done reports whether nothing that follows can tell anything new.
func (h *headerScanner) done() bool {
	return h.nested && (h.topOnly || h.utf8 || h.body && len(h.delimited) == 0 && !h.lost)
}

// keep remembers the beginning of a line, as much as matters of it.
func (h *headerScanner) keep(p []byte) {
	h.utf8 = h.utf8 || (!h.body || h.lost) && hasHighBit(p)
	room := maxField + 1 - len(h.line) // one more, to see that it is too long
	h.line = append(h.line, p[:min(room, len(p))]...)
}

// tell ends the content and adds what was found.
func (h *headerScanner) tell(f *Facts) {
	if len(h.line) > 0 && !h.done() {
		h.addLine(h.line)
	}
	h.endField() // of a message without a body
	f.MIME, f.Received, f.UTF8Header = h.mime, h.received, h.utf8
	f.TLSOptional = h.tlsNo > 0 && h.tlsElse == 0
}

// addLine takes a line without its end.
func (h *headerScanner) addLine(line []byte) {
	if (!h.body || h.lost) && hasHighBit(line) {
		h.utf8 = true
	}
	switch {
	case h.isDelimiter(line):
	case h.body:
	case len(line) > 0:
		h.headerLine(line)
	default: // the end of a header, which that of an enclosed message may follow
		h.endField()
		h.nested = true
		h.body, h.encloses = !h.encloses, false
	}
}

// headerLine takes a line of a header: a new field, or more of the last one.
func (h *headerScanner) headerLine(line []byte) {
	if line[0] != ' ' && line[0] != '\t' {
		h.endField()
		h.beginField(line)
	}
	if h.reading == noField {
		return
	}
	if room := maxField - len(h.field); room < len(line) {
		h.cut = true
		line = line[:room]
	}
	h.field = append(h.field, line...)
}

// beginField looks at the name of a field.
func (h *headerScanner) beginField(line []byte) {
	switch line[0] {
	case 'C', 'c':
		if isNamed(line, "content-type") {
			h.reading = contentType
		}
	case 'R', 'r':
		if !h.nested && isNamed(line, "received") {
			h.received++
		}
	case 'M', 'm':
		h.mime = h.mime || !h.nested && isNamed(line, "mime-version")
	case 'T', 't':
		if !h.nested && isNamed(line, "tls-required") {
			h.reading = tlsRequired
		}
	}
}

// isNamed reports whether a field has a name. Blanks may stand before the colon
// (RFC 5322 section 4.5).
func isNamed(line []byte, name string) bool {
	rest, ok := cutFold(line, name)
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte(":"))
}

// isDelimiter takes a line that ends a part, and may begin another (RFC 2046
// section 5.1). The end of an outer multipart is that of those within.
func (h *headerScanner) isDelimiter(line []byte) bool {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return false
	}
	rest := bytes.TrimRight(line[2:], " \t")
	for i := len(h.delimited) - 1; i >= 0; i-- {
		m := h.delimited[i]
		after, ok := bytes.CutPrefix(rest, m.boundary)
		if !ok || len(after) > 0 && string(after) != "--" {
			continue
		}
		if !h.body {
			h.endField() // of a part without a body
		}
		if last := len(after) > 0; last {
			h.body, h.encloses, h.delimited = true, false, h.delimited[:i]
		} else {
			h.body, h.encloses, h.delimited = false, m.digest, h.delimited[:i+1]
		}
		return true
	}
	return false
}

// endField looks at a field that was read as a whole: what a Content-Type says of what
// follows, and whether TLS-Required says No.
func (h *headerScanner) endField() {
	if h.reading == noField {
		return
	}
	_, value, _ := bytes.Cut(h.field, []byte(":"))
	switch {
	case h.reading == contentType:
		h.contentType(value, h.cut)
	case !h.cut && bytes.EqualFold(bytes.Trim(value, " \t"), []byte("no")):
		h.tlsNo++
	default:
		h.tlsElse++
	}
	h.reading, h.field, h.cut = noField, h.field[:0], false
}
