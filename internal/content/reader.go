package content

import "io"

// reader yields the canonical form of a stream, and holds it to what was found
// when it was scanned.
type reader struct {
	from  io.ReadCloser
	left  int64 // octets that may still come
	want  checksum
	sum   checksum
	lines normaliser
	raw   *buffer
	buf   *buffer
	out   []byte // of buf, what is not handed out yet
	err   error  // what follows out; io.EOF only if all is as it should be
}

func newReader(from io.ReadCloser, size int64, sum uint32) *reader {
	return &reader{from: from, left: size, want: checksum(sum), raw: borrow(pieceSize), buf: borrow(2*pieceSize + 2)}
}

// Read yields canonical octets. The last of them comes only once the source has
// ended where it should; content that has changed fails before.
func (r *reader) Read(p []byte) (int, error) {
	for {
		ready := len(r.out)
		if r.err == nil {
			ready-- // one stays back until the end is known
		}
		if ready > 0 {
			n := copy(p, r.out[:ready])
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
func (r *reader) Close() error {
	if r.raw == nil {
		return nil
	}
	r.raw.giveBack()
	r.buf.giveBack()
	r.raw, r.buf, r.out, r.err = nil, nil, nil, io.ErrClosedPipe
	return r.from.Close()
}

// fill takes the next piece of the source.
func (r *reader) fill() {
	n, err := readPiece(r.from, r.raw.octets[:pieceSize-1])
	piece := r.raw.octets[:n]
	r.sum.add(piece)
	out := append(r.buf.octets[:0], r.out...)
	before := len(out)
	out = r.lines.append(out, piece)
	if err == io.EOF {
		out = r.lines.end(out)
	}
	r.left -= int64(len(out) - before)
	r.out = out
	switch {
	case err != nil && err != io.EOF:
		r.fail(unreadable(err))
	case r.left < 0, err == io.EOF && (r.left > 0 || r.sum != r.want):
		r.fail(errChanged)
	default:
		r.err = err
	}
}

func (r *reader) fail(err error) { r.out, r.err = nil, err }
