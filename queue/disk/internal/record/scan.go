package record

import (
	"io"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// scanBuffer is how much a Scanner reads at a time.
const scanBuffer = 256 << 10

// Scanner reads the frames of a file in order and skips damage: bytes that differ from
// what was written, and bytes that cannot be read.
type Scanner struct {
	r    io.ReaderAt
	salt uint64
	size int64
	buf  []byte // bytes of the file from base
	base int64

	off   int64 // where to go on
	frame Frame
	at    int64
	gaps  []Gap
	bad   []Gap // ranges that could not be read
	err   error
}

// Gap is a range of a file that holds no frame. Err is what reading some of it
// failed with, nil if it could be read.
type Gap struct {
	From, To int64
	Err      error
}

// NewScanner returns a scanner of the frames of r, which is size bytes long,
// from off on.
func NewScanner(r io.ReaderAt, size int64, salt uint64, off int64) *Scanner {
	return &Scanner{r: r, salt: salt, size: size, off: off}
}

// Next goes to the next intact frame and reports whether there is one. Bodies
// are verified and not kept.
func (s *Scanner) Next() bool {
	for s.off < s.size {
		h, ok := s.header(s.off)
		end := s.off + Align
		if ok {
			end = s.off + h.Len()
		}
		if ok && end <= s.size && s.load(h) {
			s.at, s.off = s.off, end
			return true
		}
		if s.err != nil {
			break
		}
		s.gap(s.off, end)
		s.off = end
	}
	return false
}

// Frame is the frame Next went to; its Head is valid until the next call, its
// Body is nil.
func (s *Scanner) Frame() *Frame { return &s.frame }

// Offset and End are where the frame begins and ends.
func (s *Scanner) Offset() int64 { return s.at }

// End is where the frame ends.
func (s *Scanner) End() int64 { return s.off }

// Gaps are the ranges stepped over so far.
func (s *Scanner) Gaps() []Gap { return s.gaps }

// Err is what reading failed with, if that ended it.
func (s *Scanner) Err() error { return s.err }

func (s *Scanner) gap(from, to int64) {
	to = min(to, s.size)
	if n := len(s.gaps); n == 0 || s.gaps[n-1].To != from {
		s.gaps = append(s.gaps, Gap{From: from, To: to})
	}
	g := &s.gaps[len(s.gaps)-1]
	g.To = to
	for _, b := range s.bad {
		if b.From < to && b.To > from {
			g.Err = b.Err
		}
	}
}

func (s *Scanner) header(off int64) (FrameHeader, bool) {
	return ParseFrameHeader(s.bytes(off, FrameSize), s.salt, off)
}

// load reads and verifies the frame at s.off.
func (s *Scanner) load(h FrameHeader) bool {
	off := s.off + FrameSize
	head := s.bytes(off, h.HeadLen)
	if Sum(head) != h.HeadSum {
		return false
	}
	s.frame = Frame{Kind: h.Kind, Flags: h.Flags, Mark: h.Mark, BodySum: h.BodySum}
	if h.BodyLen == 0 {
		s.frame.Head = head
		return true
	}
	s.frame.Head = append([]byte(nil), head...)
	off += int64(h.HeadLen)
	sum := uint32(0)
	for left := h.BodyLen; left > 0; {
		b := s.bytes(off, min(left, scanBuffer))
		if len(b) == 0 {
			return false
		}
		sum = AddSum(sum, b)
		off, left = off+int64(len(b)), left-len(b)
	}
	return sum == h.BodySum
}

// bytes returns up to n bytes at off, valid until the next call. It goes back by no
// more than one call.
func (s *Scanner) bytes(off int64, n int) []byte {
	if off+int64(n) > s.base+int64(len(s.buf)) {
		want := max(n, int(min(scanBuffer, s.size)))
		if cap(s.buf) < want {
			s.buf = make([]byte, want)
		}
		s.buf = s.buf[:cap(s.buf)]
		got, err := s.r.ReadAt(s.buf, off)
		if vfs.IsUnreadable(err) {
			got, err = s.readPieces(off)
		}
		if err != nil && err != io.EOF {
			s.err = err
			got = 0
		}
		s.buf, s.base = s.buf[:got], off
	}
	b := s.buf[off-s.base:]
	return b[:min(n, len(b))]
}

// piece is the least that a device fails to read.
const piece = 512

// readPieces fills the buffer from an offset at which reading it as a whole fails.
// Bytes that cannot be read become zeros.
func (s *Scanner) readPieces(off int64) (int, error) {
	for done := 0; done < len(s.buf); {
		at := off + int64(done)
		b := s.buf[done:min(len(s.buf), done+int(piece-at%piece))]
		n, err := s.r.ReadAt(b, at)
		if n < len(b) && !vfs.IsUnreadable(err) {
			return done + n, err
		}
		if n < len(b) {
			clear(b[n:])
			s.bad = append(s.bad, Gap{at + int64(n), at + int64(len(b)), err})
		}
		done += len(b)
	}
	return len(s.buf), nil
}
