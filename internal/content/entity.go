package content

import "bytes"

// lineKind is what a line of a message is.
type lineKind uint8

const (
	headerLine  lineKind = iota
	headerEnd            // the empty line behind a header
	delimiter            // the line between the parts of a multipart, or behind the last
	bodyLine             // a line of the body of a part that has no parts itself
	besideParts          // a line of a multipart before its first part, or behind the last
)

// encoding is how the body of a part is encoded (RFC 2045 section 6).
type encoding uint8

const (
	identity encoding = iota // 7bit, 8bit or binary, or nothing is said
	encoded                  // anything else, two encodings among it
)

// entity is what the header of a message or of one of its parts says.
type entity struct {
	number    int    // in the order in which they begin, from 0
	mediaType []byte // in lower case; empty if there is no Content-Type
	encoding  encoding
	eightBit  bool // its encoding is said to be 8bit or binary
	encodings int  // fields that say so
	version   bool // it has a MIME-Version field
	signed    bool // it is within a multipart/signed or multipart/encrypted, or is one
	container bool // its body is parts, or a message
	digest    bool // it is a part of a multipart/digest: a message unless it says otherwise
	dkim      bool // it has a signature over the message's octets: DKIM-Signature or ARC-Seal
}

// structure follows the structure of a message line by line and says what each
// line is. Unlike a headerScanner it keeps what the header of each part says.
// Its input is canonical.
type structure struct {
	entity
	lost bool // parts cannot be told from text: nothing may be changed

	inBody  bool
	message bool // the header of an enclosed message comes next
	outside bool // of the parts of the innermost multipart
	within  []nested
	began   int // entities

	name  fieldName // of the field we are in
	field []byte    // its value so far, folds undone
	cut   bool      // and something was left out of it
}

// nested is a multipart we are in.
type nested struct {
	boundary []byte
	digest   bool
	signed   bool
}

// fieldName is a field of which the value matters.
type fieldName uint8

const (
	otherField fieldName = iota
	typeField
	encodingField
)

func newStructure() *structure { return &structure{began: 1} }

// line takes a line without its end, and says what it is.
func (s *structure) line(line []byte) lineKind {
	if s.message {
		s.begin(false)
	}
	if s.delimits(line) {
		return delimiter
	}
	switch {
	case s.inBody && s.outside:
		return besideParts
	case s.inBody:
		return bodyLine
	case len(line) > 0:
		s.header(line)
		return headerLine
	}
	s.endField()
	s.endHeader()
	return headerEnd
}

// header takes a line of a header: a new field, or more of the last one.
func (s *structure) header(line []byte) {
	if line[0] != ' ' && line[0] != '\t' {
		s.endField()
		s.name = otherField
		switch {
		case isNamed(line, "content-type"):
			s.name = typeField
		case isNamed(line, "content-transfer-encoding"):
			s.name = encodingField
		case isNamed(line, "mime-version"):
			s.version = true
		case isNamed(line, "dkim-signature"), isNamed(line, "arc-seal"):
			s.dkim = true
		}
	}
	if s.name == otherField {
		return
	}
	if room := maxField - len(s.field); room < len(line) {
		s.cut = true
		line = line[:room]
	}
	s.field = append(s.field, line...)
}

// endField notes what the field says that has just ended.
func (s *structure) endField() {
	_, value, _ := bytes.Cut(s.field, []byte(":"))
	switch s.name {
	case typeField:
		s.contentType(value)
	case encodingField:
		s.contentEncoding(value)
	}
	s.name, s.field, s.cut = otherField, s.field[:0], false
}

func (s *structure) contentType(value []byte) {
	mediaType, params, _ := bytes.Cut(value, []byte(";"))
	again := len(s.mediaType) > 0
	s.mediaType = bytes.ToLower(bytes.TrimSpace(mediaType))
	_, parts := cutFold(s.mediaType, "multipart/")
	if again || s.cut || bytes.IndexByte(s.mediaType, '(') >= 0 {
		s.lost = true
	}
	if !parts {
		return
	}
	boundary, ok := boundaryOf(params)
	if !ok || len(boundary) == 0 || len(s.within) == maxDepth {
		s.lost = true
		return
	}
	signed := s.signed || isFold(s.mediaType, "multipart/signed") || isFold(s.mediaType, "multipart/encrypted")
	s.signed, s.container = signed, true
	s.within = append(s.within, nested{bytes.Clone(boundary), isFold(s.mediaType, "multipart/digest"), signed})
}

func (s *structure) contentEncoding(value []byte) {
	s.encodings++
	value = bytes.TrimSpace(value)
	switch {
	case s.encodings == 1 && isFold(value, "7bit"):
	case s.encodings == 1 && (isFold(value, "8bit") || isFold(value, "binary")):
		s.eightBit = true
	default:
		s.encoding = encoded
	}
}

// endHeader goes on to the body, or to the header of an enclosed message. One that
// is encoded, though none may be, is not looked into.
func (s *structure) endHeader() {
	s.inBody, s.outside = true, s.container
	enclosed := isFold(s.mediaType, "message/rfc822") || s.digest && len(s.mediaType) == 0
	if enclosed && s.encoding == identity {
		s.container, s.message = true, true
	}
}

// begin begins a new entity: a part, or an enclosed message.
func (s *structure) begin(digest bool) {
	signed := len(s.within) > 0 && s.within[len(s.within)-1].signed
	s.entity = entity{number: s.began, signed: signed, digest: digest, mediaType: s.mediaType[:0]}
	s.began++
	s.inBody, s.outside, s.message = false, false, false
}

// delimits takes a line that ends a part, and may begin another (RFC 2046
// section 5.1). The end of an outer multipart is that of those within.
func (s *structure) delimits(line []byte) bool {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return false
	}
	rest := bytes.TrimRight(line[2:], " \t")
	for i := len(s.within) - 1; i >= 0; i-- {
		after, ok := bytes.CutPrefix(rest, s.within[i].boundary)
		if !ok || len(after) > 0 && string(after) != "--" {
			continue
		}
		if !s.inBody {
			s.endField() // of a part without a body
		}
		if len(after) > 0 {
			s.within = s.within[:i]
			s.inBody, s.outside, s.message = true, true, false
			return true
		}
		s.within = s.within[:i+1]
		s.begin(s.within[i].digest)
		return true
	}
	return false
}
