package crashfs

import (
	"io"
	"io/fs"
)

// inode is a file: what the program sees, what the disk holds, and the changes
// between the two that the next Sync would save.
type inode struct {
	seen    []byte
	durable []byte
	pending []change
	saved   int // how many changes are not pending any more
}

// change is a write, or a truncation where data is nil.
type change struct {
	off  int64
	data []byte
}

func (c change) apply(to []byte) []byte {
	if c.data == nil {
		return resize(to, c.off)
	}
	to = resize(to, max(int64(len(to)), c.off+int64(len(c.data))))
	copy(to[c.off:], c.data)
	return to
}

// resize gives b the length n, with zeros where it grows.
func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	old := len(b)
	for int64(cap(b)) < n {
		b = append(b[:cap(b)], 0)
	}
	b = b[:n]
	clear(b[old:])
	return b
}

func (n *inode) change(c change) {
	n.seen = c.apply(n.seen)
	n.pending = append(n.pending, c)
}

// file is an open inode.
type file struct {
	fs     *FS
	name   string
	inode  *inode
	write  bool
	closed bool
}

// begin takes the lock; the caller releases it.
func (f *file) begin(op Op) error {
	f.fs.mu.Lock()
	if f.closed {
		return pathError(op.String(), f.name, fs.ErrClosed)
	}
	return f.fs.before(op, f.name)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	err := f.begin(OpRead)
	defer f.fs.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off >= int64(len(f.inode.seen)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.seen[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	err := f.begin(OpWrite)
	defer f.fs.mu.Unlock()
	if !f.write {
		return 0, pathError("write", f.name, fs.ErrPermission)
	}
	n := len(p)
	if err != nil {
		if f.fs.rng.IntN(2) == 0 {
			return 0, err
		}
		n = f.fs.rng.IntN(len(p) + 1) // a write that fails may have done some of it
	}
	if n > 0 {
		f.inode.change(change{off, append([]byte(nil), p[:n]...)})
	}
	return n, err
}

func (f *file) Truncate(size int64) error {
	err := f.begin(OpTruncate)
	defer f.fs.mu.Unlock()
	if err != nil {
		return err
	}
	f.inode.change(change{off: size})
	return nil
}

// Sync saves what was written before it began. Others go on meanwhile, and what
// they write is for the next Sync.
func (f *file) Sync() error {
	err := f.begin(OpSync)
	n, meanwhile := f.inode, f.fs.meanwhile
	until := n.saved + len(n.pending)
	f.fs.mu.Unlock()
	if err == nil {
		meanwhile()
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.off {
		return ErrPowerCut
	}
	if err != nil {
		n.durable = f.fs.survivors(n)
		n.save(len(n.pending))
		return err
	}
	count := max(0, until-n.saved) // another Sync may have saved some
	for _, c := range n.pending[:count] {
		n.durable = c.apply(n.durable)
	}
	n.save(count)
	return nil
}

// save takes changes off those that the next Sync would save.
func (n *inode) save(count int) {
	n.saved += count
	n.pending = append([]change(nil), n.pending[count:]...)
}

func (f *file) Size() (int64, error) {
	err := f.begin(OpSize)
	defer f.fs.mu.Unlock()
	return int64(len(f.inode.seen)), err
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.closed = true
	return nil
}
