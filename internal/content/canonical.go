package content

import "bytes"

// appendCanonical appends data with every line end as CRLF: a CR or LF that is
// not part of one becomes one, and the last line gets one if it has none.
func appendCanonical(dst, data []byte) []byte {
	var n normaliser
	return n.end(n.append(dst, data))
}

// normaliser is appendCanonical over pieces.
type normaliser struct {
	cr   bool // the last octet was a CR, whose line end is out already
	open bool // the last line has no end
}

// append appends the canonical form of the next piece, at most twice as long.
func (n *normaliser) append(dst, p []byte) []byte {
	if n.cr && len(p) > 0 {
		n.cr = false
		if p[0] == '\n' {
			p = p[1:]
		}
	}
	for len(p) > 0 {
		lf := bytes.IndexByte(p, '\n')
		text := p
		if lf >= 0 {
			text = p[:lf]
		}
		cr := bytes.IndexByte(text, '\r')
		switch {
		case cr < 0 && lf < 0:
			n.open = true
			return append(dst, p...)
		case cr < 0:
			dst = append(append(dst, text...), '\r', '\n')
			p = p[lf+1:]
		case cr+1 == lf:
			dst = append(dst, p[:lf+1]...)
			p = p[lf+1:]
		default:
			dst = append(append(dst, p[:cr]...), '\r', '\n')
			p = p[cr+1:]
			n.cr = len(p) == 0
		}
		n.open = false
	}
	return dst
}

// end appends the end of the last line, if it has none.
func (n *normaliser) end(dst []byte) []byte {
	if n.open {
		n.open = false
		dst = append(dst, '\r', '\n')
	}
	return dst
}
