package content

import (
	"bytes"
	"encoding/binary"
)

// maxLine is the longest line an originator may send, without its CRLF (RFC 5322
// section 2.1.1).
const maxLine = 998

// scanner goes through content once, in pieces of any size, and counts what
// matters of it. A bare CR or LF ends a line.
type scanner struct {
	octets   int64
	eightBit bool
	bare     int64 // CRs and LFs that are not part of a CRLF
	bareLine int   // the first line with one
	nulLine  int
	dotLine  int // the first line of a dot and NULs, a NUL first
	longLine int
	longest  int

	lines  int  // line ends so far
	length int  // of the line so far
	cr     bool // the last octet was a CR
	open   bool // the last line has no end
	veil   veil // of the line so far
}

// veil is how near a line is to being a dot that NULs hide. Dots at the beginning of
// a line are doubled, and this one is not at the beginning; a server that leaves NULs
// out would take it for the end of the content.
type veil uint8

const (
	unveiled  veil = iota // it has something else, or nothing
	veiledNUL             // NULs
	veiledDot             // NULs, and one dot among or behind them
)

// add goes on with the next octets of a line, of which the first is at its beginning
// if begins is true.
func (v veil) add(p []byte, begins bool) veil {
	if v == unveiled && !(begins && p[0] == 0) {
		return unveiled
	}
	for _, c := range p {
		switch {
		case c == 0:
			v = max(v, veiledNUL)
		case c == '.' && v == veiledNUL:
			v = veiledDot
		default:
			return unveiled
		}
	}
	return v
}

// add scans the next piece.
func (s *scanner) add(p []byte) {
	if len(p) == 0 {
		return
	}
	s.octets += int64(len(p))
	s.eightBit = s.eightBit || hasHighBit(p)
	if s.veil == unveiled && bytes.IndexByte(p, 0) < 0 && s.addRegular(p) {
		return
	}
	s.addAny(p)
}

// addRegular scans a piece in which every CR is part of a CRLF and no line is too
// long. For any other it returns false and has done nothing.
func (s *scanner) addRegular(p []byte) bool {
	crs := bytes.Count(p, []byte{'\r'}) // those not met yet
	lines, length, longest, bare, bareLine := s.lines, s.length, s.longest, s.bare, s.bareLine
	rest := p
	if s.cr {
		if p[0] != '\n' {
			return false
		}
		lines, length, rest = lines+1, 0, p[1:]
	}
	for {
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			break
		}
		next := rest[n+1:]
		lines++
		if n > 0 && rest[n-1] == '\r' {
			crs--
			n--
		} else if bare++; bareLine == 0 {
			bareLine = lines
		}
		longest = max(longest, length+n)
		length, rest = 0, next
	}
	cr := len(rest) > 0 && rest[len(rest)-1] == '\r'
	if cr {
		crs--
		rest = rest[:len(rest)-1]
	}
	length += len(rest)
	longest = max(longest, length)
	if crs != 0 || longest > maxLine {
		return false
	}
	s.lines, s.length, s.longest, s.bare, s.bareLine = lines, length, longest, bare, bareLine
	s.cr, s.open = cr, length > 0
	return true
}

// addAny scans any piece, line by line.
func (s *scanner) addAny(p []byte) {
	if s.cr {
		p = s.afterCR(p)
	}
	for len(p) > 0 {
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			s.text(p)
			return
		}
		if end > 0 {
			s.text(p[:end])
		}
		switch {
		case p[end] == '\n':
			s.bareEnd()
		case end+1 == len(p):
			s.cr = true
		case p[end+1] == '\n':
			s.endLine()
			end++
		default:
			s.bareEnd()
		}
		p = p[end+1:]
	}
}

// afterCR decides about a CR at the end of the piece before.
func (s *scanner) afterCR(p []byte) []byte {
	s.cr = false
	if p[0] == '\n' {
		s.endLine()
		return p[1:]
	}
	s.bareEnd()
	return p
}

// text takes octets of a line, none of which ends it.
func (s *scanner) text(p []byte) {
	s.open = true
	s.veil = s.veil.add(p, s.length == 0)
	s.length += len(p)
	s.longest = max(s.longest, s.length)
	if s.length > maxLine && s.longLine == 0 {
		s.longLine = s.lines + 1
	}
	if s.nulLine == 0 && bytes.IndexByte(p, 0) >= 0 {
		s.nulLine = s.lines + 1
	}
}

func (s *scanner) endLine() {
	s.lines++
	s.endVeil()
	s.length, s.open = 0, false
}

func (s *scanner) bareEnd() {
	s.bare++
	if s.bareLine == 0 {
		s.bareLine = s.lines + 1
	}
	s.endLine()
}

func (s *scanner) endVeil() {
	if s.veil == veiledDot && s.dotLine == 0 {
		s.dotLine = s.lines
	}
	s.veil = unveiled
}

// end is the end of the content.
func (s *scanner) end() {
	if s.cr {
		s.cr = false
		s.bareEnd()
	}
	if s.open {
		s.lines++
		s.endVeil()
		s.lines--
	}
}

// canonical reports whether the content can go as it is.
func (s *scanner) canonical() bool { return s.bare == 0 && !s.open }

// facts are what is known when the end is reached.
func (s *scanner) facts() Facts {
	f := Facts{Octets: s.octets + s.bare, EightBit: s.eightBit, NUL: s.nulLine > 0, LongestLine: s.longest}
	if s.open {
		f.Octets += int64(len("\r\n"))
	}
	return f
}

// hasHighBit looks at many octets at a time.
func hasHighBit(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 64 {
		q := p[:64]
		if (binary.LittleEndian.Uint64(q)|binary.LittleEndian.Uint64(q[8:])|
			binary.LittleEndian.Uint64(q[16:])|binary.LittleEndian.Uint64(q[24:])|
			binary.LittleEndian.Uint64(q[32:])|binary.LittleEndian.Uint64(q[40:])|
			binary.LittleEndian.Uint64(q[48:])|binary.LittleEndian.Uint64(q[56:]))&high != 0 {
			return true
		}
		p = p[64:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
