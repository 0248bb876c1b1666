package disk

import (
	"io"
	"io/fs"
	"sync"
)

// smallReader reads a content that is completely in memory. Its buffer goes to another
// reader when it is closed, so it yields nothing afterwards, and it is not reused while
// a writer has it.
type smallReader struct {
	s *Spool

	mu     sync.Mutex
	buf    []byte // to give back; nil once closed
	left   []byte // of the content
	lent   int    // to so many writers
	closed bool
}

func (r *smallReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, fs.ErrClosed
	case len(r.left) == 0:
		return 0, io.EOF
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// WriteTo writes the rest in one piece, for io.Copy.
func (r *smallReader) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return 0, fs.ErrClosed
	}
	p := r.left
	r.left = nil
	r.lent++
	r.mu.Unlock()
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lent--
	if !r.closed {
		r.left = p[n:]
	}
	return int64(n), err
}

// Close gives the buffer to the next reader, unless a writer still has it.
func (r *smallReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && r.lent == 0 {
		r.s.buffers.put(r.buf)
	}
	r.buf, r.left, r.closed = nil, nil, true
	return nil
}

// pools are memory to be used again. They are not a part of the Spool's own memory: the
// system remembers pools, and would keep a spool that has been closed.
type pools struct {
	buffers buffers // for contents
	heads   buffers // for records of deliveries
	drafts  sync.Pool
}

// buffers are what contents were read into, for others to be.
type buffers struct{ pool sync.Pool }

func (p *buffers) get(n int) []byte {
	if b, ok := p.pool.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:n]
	}
	return make([]byte, n, (n+1023)&^1023)
}

func (p *buffers) put(b []byte) { p.pool.Put(&b) }
