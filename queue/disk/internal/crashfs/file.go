package crashfs

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// inode is a file: what the program sees, what the disk holds, and the changes
// between the two that the next Sync would save.
type inode struct {
	seen    []byte
	durable []byte
	pending []change
	saved   int // how many changes are not pending any more
	bad     []extent
}

// extent is a range of a file.
type extent struct{ from, to int64 }

// Spoil makes a range of a file unreadable for good, as a bad sector is: whatever
// is written there, a read of any of it fails with EIO.
func (f *FS) Spoil(name string, from, to int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[name]
	n.bad = append(n.bad, extent{from, to})
}

// Mend makes all of a file readable again.
func (f *FS) Mend(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[name].bad = nil
}

// readable is how many of size bytes at off can be read before the first bad one.
func (n *inode) readable(off int64, size int) int {
	for _, b := range n.bad {
		if off < b.to && off+int64(size) > b.from {
			size = int(max(0, b.from-off))
		}
	}
	return size
}

func (n *inode) clone() *inode {
	return &inode{bytes.Clone(n.seen), bytes.Clone(n.durable), slices.Clone(n.pending), n.saved, slices.Clone(n.bad)}
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
	b = slices.Grow(b, int(n)-old)[:n]
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
	if f.fs.off || f.closed {
		return 0, err
	}
	if err == nil && off >= int64(len(f.inode.seen)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.seen[min(off, int64(len(f.inode.seen))):])
	if err != nil { // some of it may have been read
		return f.fs.rng.IntN(n + 1), err
	}
	if ok := f.inode.readable(off, n); ok < n {
		return ok, pathError("read", f.name, syscall.EIO)
	}
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
	if f.closed || f.fs.off && !f.fs.cutting {
		return 0, err
	}
	n := f.fs.fits(f.inode, off, len(p))
	if n < len(p) && err == nil {
		err = pathError("write", f.name, syscall.ENOSPC)
	}
	if err != nil { // none of it was done, some, or all that there was room for
		switch f.fs.rng.IntN(3) {
		case 0:
			return 0, err
		case 1:
			n = f.fs.rng.IntN(n + 1)
		}
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

func (f *file) Allocate(size int64) error {
	have, err := f.Size()
	if err == nil && have < size {
		_, err = f.WriteAt(make([]byte, size-have), have)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err == nil && f.fs.device.AtSync && f.fs.free() < 0 {
		err = pathError("allocate", f.name, syscall.ENOSPC)
	}
	return err
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
	if err == nil && f.fs.device.AtSync && f.fs.free() < 0 {
		err = pathError("sync", f.name, syscall.ENOSPC)
	}
	if err != nil {
		n.durable = f.fs.survivors(n, false)
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
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	f.fs.descriptors--
	if f.fs.open[f.inode]--; f.fs.open[f.inode] == 0 {
		delete(f.fs.open, f.inode)
	}
	return nil
}
