package smtpd

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/nexthop-mail/nexthop/queue"
)

const (
	inMemory    = 256 << 10 // up to where content is kept in memory
	firstBuffer = 32 << 10  // its first size
)

var (
	errTooLarge = errors.New("the message is too large")
	buffers     = sync.Pool{New: func() any { return new(make([]byte, 0, firstBuffer)) }}
)

// spool is content that is being received. After its first error it accepts and
// discards the rest.
type spool struct {
	dir    string
	holder *holder
	room   int64   // how much more may come
	buffer *[]byte // nil if there is no room for one, or not any more
	file   *os.File
	size   int64
	err    error
}

// newSpool begins with a header field of our own, which does not count for the room.
func newSpool(dir string, h *holder, header []byte, room int64) *spool {
	p := &spool{dir: dir, holder: h, room: room}
	if h.hold(firstBuffer) {
		p.buffer = buffers.Get().(*[]byte)
		*p.buffer = (*p.buffer)[:0]
	}
	p.keep(header)
	return p
}

func (p *spool) write(b []byte) {
	p.room -= int64(len(b))
	if p.room < 0 {
		p.fail(errTooLarge)
	}
	if p.err == nil {
		p.keep(b)
	}
}

// keep adds to the content, in memory if it fits.
func (p *spool) keep(b []byte) {
	p.size += int64(len(b))
	if p.fits(len(b)) {
		*p.buffer = append(*p.buffer, b...)
		return
	}
	if p.file == nil {
		p.spill()
	}
	if p.err == nil {
		if _, err := p.file.Write(b); err != nil {
			p.fail(err)
		}
	}
}

// fits makes room for n octets more in memory.
func (p *spool) fits(n int) bool {
	if p.buffer == nil {
		return false
	}
	b := *p.buffer
	if need := len(b) + n; need > cap(b) {
		wider := min(max(2*cap(b), need), inMemory)
		if need > inMemory || !p.holder.hold(int64(wider-cap(b))) {
			return false
		}
		*p.buffer = append(make([]byte, 0, wider), b...)
	}
	return true
}

// spill goes on in a file, which loses its name at once: it goes with the process.
func (p *spool) spill() {
	f, err := os.CreateTemp(p.dir, "incoming-")
	if err != nil {
		p.fail(err)
		return
	}
	_ = os.Remove(f.Name()) // where the system refuses, discard does it
	p.file = f
	if p.buffer == nil {
		return
	}
	if _, err := f.Write(*p.buffer); err != nil {
		p.fail(err)
	}
	p.dropBuffer()
}

// dropBuffer gives the memory back.
func (p *spool) dropBuffer() {
	if p.buffer == nil {
		return
	}
	p.holder.release(int64(cap(*p.buffer)))
	if cap(*p.buffer) == firstBuffer {
		buffers.Put(p.buffer)
	}
	p.buffer = nil
}

// fail notes the first error.
func (p *spool) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// content returns the received content.
func (p *spool) content() queue.Content {
	if p.file == nil {
		return queue.Bytes(*p.buffer)
	}
	return spooled{p.file, p.size}
}

// discard gives everything back; the content is gone.
func (p *spool) discard() {
	if p.file != nil {
		_ = p.file.Close()
		_ = os.Remove(p.file.Name())
	}
	p.dropBuffer()
}

// spooled is content in a file that is open.
type spooled struct {
	file *os.File
	size int64
}

func (s spooled) Size() int64 { return s.size }

func (s spooled) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.file, 0, s.size)), nil
}
