package content

import (
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"sync"
)

const (
	// pieceSize is how much of a stream is looked at together.
	pieceSize = 32 << 10
	// maxKept is the longest buffer that is kept for the next content.
	maxKept = 4 << 20
	// spare is how much longer than twice its content a buffer may be that is kept with it.
	spare = 512
)

// buffer is memory for content that cannot stay where it is. nil is none.
type buffer struct{ octets []byte }

// buffers hold no state that anybody could see.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// borrow returns an empty buffer with room for n octets.
func borrow(n int) *buffer {
	b := buffers.Get().(*buffer)
	b.octets = slices.Grow(b.octets[:0], n)
	return b
}

// borrowSnug is borrow for content that is kept: of a buffer that an earlier content has
// made long, most would lie idle.
func borrowSnug(n int) *buffer {
	b := buffers.Get().(*buffer)
	if cap(b.octets) > 2*n+spare {
		buffers.Put(b)
		b = new(buffer)
	}
	b.octets = slices.Grow(b.octets[:0], n)
	return b
}

func (b *buffer) giveBack() {
	if b == nil || cap(b.octets) > maxKept {
		return
	}
	buffers.Put(b)
}

// readFrom reads r to its end, or until there is more than may be in memory.
func (b *buffer) readFrom(r io.Reader) error {
	for len(b.octets) <= maxInMemory {
		if len(b.octets) == cap(b.octets) {
			b.octets = slices.Grow(b.octets, max(pieceSize, len(b.octets)))
		}
		n, err := readPiece(r, b.octets[len(b.octets):cap(b.octets)])
		b.octets = b.octets[:len(b.octets)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errReader = errors.New("the reader says it has read what there is no room for")

// readPiece reads some octets into p and holds the reader to the contract of
// io.Reader: it is a stranger's, and must not hang or crash us.
func readPiece(r io.Reader, p []byte) (int, error) {
	for range 100 {
		n, err := r.Read(p)
		switch {
		case n < 0 || n > len(p):
			return 0, errReader
		case n > 0 || err != nil:
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// checksum tells octets from others that take their place by accident.
type checksum uint32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *checksum) add(p []byte) { *s = checksum(crc32.Update(uint32(*s), castagnoli, p)) }
