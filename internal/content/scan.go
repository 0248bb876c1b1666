package content

import (
	"bytes"
	"encoding/binary"
)

// scanner goes through content once, in pieces of any size, and counts what
// matters of it.
type scanner struct {
	octets   int64
	eightBit bool
	bare     int64 // CRs and LFs that are not part of a CRLF
	bareLine int   // the first line with one
	nulLine  int
	longLine int

	lines  int  // line ends so far
	length int  // of the line so far
	cr     bool // the last octet was a CR
	open   bool // the last line has no end
}

// add scans the next piece.
func (s *scanner) add(p []byte) {
	if len(p) == 0 {
		return
	}
	s.octets += int64(len(p))
	s.eightBit = s.eightBit || hasHighBit(p)
	nul := bytes.IndexByte(p, 0) >= 0
	if s.cr {
		p = s.afterCR(p)
	}
	for len(p) > 0 {
		lf := bytes.IndexByte(p, '\n')
		line := p
		if lf >= 0 {
			line = p[:lf]
		}
		if nul && s.nulLine == 0 && bytes.IndexByte(line, 0) >= 0 {
			s.nulLine = s.lines + 1
		}
		if lf < 0 {
			s.rest(line)
			return
		}
		s.line(line)
		p = p[lf+1:]
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

// line takes a line up to its LF.
func (s *scanner) line(line []byte) {
	n := len(line)
	ended := n > 0 && line[n-1] == '\r'
	if ended {
		line = line[:n-1]
	}
	s.text(line)
	if ended {
		s.endLine()
	} else {
		s.bareEnd()
	}
}

// rest takes the beginning of a line whose LF is yet to come.
func (s *scanner) rest(line []byte) {
	if n := len(line); line[n-1] == '\r' {
		s.cr = true
		line = line[:n-1]
	}
	s.text(line)
	s.open = true
}

// text takes the octets of a line, in which any CR is bare and ends it.
func (s *scanner) text(line []byte) {
	for {
		cr := bytes.IndexByte(line, '\r')
		if cr < 0 {
			break
		}
		s.measure(cr)
		s.bareEnd()
		line = line[cr+1:]
	}
	s.measure(len(line))
	s.open = s.open || len(line) > 0
}

func (s *scanner) measure(n int) {
	s.length += n
	if s.length > maxLine && s.longLine == 0 {
		s.longLine = s.lines + 1
	}
}

func (s *scanner) endLine() {
	s.lines++
	s.length, s.open = 0, false
}

func (s *scanner) bareEnd() {
	s.bare++
	if s.bareLine == 0 {
		s.bareLine = s.lines + 1
	}
	s.endLine()
}

// end is the end of the content.
func (s *scanner) end() {
	if s.cr {
		s.cr = false
		s.bareEnd()
	}
}

// canonical reports whether the content can go as it is.
func (s *scanner) canonical() bool { return s.bare == 0 && !s.open }

func (s *scanner) facts() Facts {
	f := Facts{Octets: s.octets + s.bare, EightBit: s.eightBit}
	if s.open {
		f.Octets += 2
	}
	return f
}

// check holds the content against the policy.
func (s *scanner) check(p Policy) error {
	switch {
	case p == Relay && s.bareLine > 0:
		return refused(s.bareLine, "a CR or LF that is not part of a CRLF")
	case p == Origin && s.nulLine > 0:
		return refused(s.nulLine, "a NUL character")
	case p == Origin && s.longLine > 0:
		return refused(s.longLine, "longer than 998 octets")
	}
	return nil
}

// hasHighBit looks at eight octets at a time.
func hasHighBit(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 32 {
		q := p[:32]
		if (binary.LittleEndian.Uint64(q)|binary.LittleEndian.Uint64(q[8:])|
			binary.LittleEndian.Uint64(q[16:])|binary.LittleEndian.Uint64(q[24:]))&high != 0 {
			return true
		}
		p = p[32:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
