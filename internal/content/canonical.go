package content

import (
	"bytes"
	"io"
)

// appendCanonical appends data with every line end as CRLF: a CR or LF that is
// not part of one becomes one, and the last line gets one if it has none.
func appendCanonical(dst, data []byte) []byte {
	for len(data) > 0 {
		i := bytes.IndexAny(data, "\r\n")
		if i < 0 {
			dst = append(dst, data...)
			break
		}
		dst = append(dst, data[:i]...)
		dst = append(dst, '\r', '\n')
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
	if n := len(dst); n > 0 && dst[n-1] != '\n' {
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// canonicalReader is appendCanonical over a stream, and holds it to the size
// that was announced for it.
type canonicalReader struct {
	from io.ReadCloser
	left int64 // octets that may still come
	raw  []byte
	out  []byte // canonical octets not yet handed out
	buf  []byte
	cr   bool // the last raw octet was a CR, whose line end is out already
	open bool // the last line has no end
	err  error
}

// Read yields canonical octets. The last of them come only once the source has
// ended where it should: what was announced falsely fails before.
func (r *canonicalReader) Read(p []byte) (int, error) {
	for {
		// One octet stays back until the end is known.
		if n := len(r.out) - 1; n > 0 || r.err == io.EOF && len(r.out) > 0 {
			if r.err == io.EOF {
				n++
			}
			n = copy(p, r.out[:n])
			r.out = r.out[n:]
			return n, nil
		}
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
	}
}

// Close closes the source.
func (r *canonicalReader) Close() error { return r.from.Close() }

// fill takes the next piece of the source.
func (r *canonicalReader) fill() {
	if r.raw == nil {
		r.raw = make([]byte, 32<<10)
		r.buf = make([]byte, 0, 64<<10+4)
	}
	kept := append(r.buf[:0], r.out...)
	n, err := r.from.Read(r.raw)
	before := len(kept)
	kept = r.convert(kept, r.raw[:n])
	if err == io.EOF && r.open {
		kept = append(kept, '\r', '\n')
		r.open = false
	}
	r.left -= int64(len(kept) - before)
	r.out, r.buf = kept, kept[:0]
	switch {
	case r.left < 0, err == io.EOF && r.left > 0:
		r.err, r.out = errLength, nil
	case err == io.EOF:
		r.err = io.EOF
	case err != nil:
		r.err, r.out = unreadable(err), nil
	}
}

// convert appends the canonical form of a piece.
func (r *canonicalReader) convert(dst, p []byte) []byte {
	for len(p) > 0 {
		if r.cr {
			r.cr = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		i := bytes.IndexAny(p, "\r\n")
		if i < 0 {
			r.open = true
			return append(dst, p...)
		}
		dst = append(append(dst, p[:i]...), '\r', '\n')
		r.cr, r.open = p[i] == '\r', false
		p = p[i+1:]
	}
	return dst
}
