package smtpd

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/nexthop-mail/nexthop/queue"
)

// inMemory is up to where content is kept in memory.
const inMemory = 256 << 10

var (
	errTooLarge = errors.New("the message is too large")
	buffers     = sync.Pool{New: func() any { return new(make([]byte, 0, 32<<10)) }}
)

// spool is content on its way in. After its first error it takes what comes and keeps
// nothing.
type spool struct {
	dir    string
	room   int64 // how much more may come
	buffer *[]byte
	file   *os.File
	size   int64
	err    error
}

// newSpool begins with a header field of our own, which does not count for the room.
func newSpool(dir string, header []byte, room int64) *spool {
	p := &spool{dir: dir, room: room, buffer: buffers.Get().(*[]byte)}
	*p.buffer = append((*p.buffer)[:0], header...)
	p.size = int64(len(header))
	return p
}

func (p *spool) write(b []byte) {
	p.room -= int64(len(b))
	if p.room < 0 {
		p.fail(errTooLarge)
	}
	if p.err != nil {
		return
	}
	p.size += int64(len(b))
	if p.file == nil && p.size <= inMemory {
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

// spill goes on in a file, which loses its name at once: it goes with the process.
func (p *spool) spill() {
	f, err := os.CreateTemp(p.dir, "incoming-")
	if err != nil {
		p.fail(err)
		return
	}
	_ = os.Remove(f.Name()) // where the system refuses, discard does it
	p.file = f
	if _, err := f.Write(*p.buffer); err != nil {
		p.fail(err)
	}
}

// fail notes the first error.
func (p *spool) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// content is what has arrived.
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
	if cap(*p.buffer) <= 64<<10 {
		buffers.Put(p.buffer)
	}
	p.file, p.buffer = nil, new([]byte)
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
