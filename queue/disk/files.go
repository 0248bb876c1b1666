package disk

import (
	"io/fs"
	"slices"
	"sync"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// files are the files of the log that are open. Each is opened when it is needed
// and stays open until another needs its descriptor: the one used longest ago
// gives its up. The one that is written to keeps its own.
type files struct {
	fs   vfs.FS
	most int

	mu    sync.Mutex
	idle  sync.Cond // a descriptor may be had
	open  []*logFile
	taken int // descriptors, of open files and of those that are being opened
	uses  uint64
}

func newFiles(fs vfs.FS, most int) *files {
	f := &files{fs: fs, most: most}
	f.idle.L = &f.mu
	return f
}

// logFile is the file of one segment, open or not. Its methods are safe for
// concurrent use.
type logFile struct {
	files  *files
	name   string
	file   vfs.File // nil if it is not open
	kept   bool     // it does not give its descriptor up
	users  int
	used   uint64 // when it was, in uses of all files
	closed bool
}

var _ vfs.File = (*logFile)(nil)

// file is a file that is there, to be read.
func (p *files) file(name string) *logFile { return &logFile{files: p, name: name} }

// create makes a file that keeps its descriptor until release.
func (p *files) create(name string) (*logFile, error) {
	file, err := p.descriptor(func() (vfs.File, error) { return p.fs.Create(name) })
	if err != nil {
		return nil, err
	}
	f := &logFile{files: p, name: name, file: file, kept: true}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, f)
	return f, nil
}

// descriptor opens a file when a descriptor is available. Files that are not in use are
// closed for it, because of the limit or because the system has none left.
func (p *files) descriptor(open func() (vfs.File, error)) (vfs.File, error) {
	p.mu.Lock()
	for p.taken >= p.most {
		if old := p.giveUp(); old != nil {
			p.mu.Unlock()
			_ = p.close(old)
			p.mu.Lock()
			continue
		}
		p.idle.Wait()
	}
	p.taken++
	p.mu.Unlock()
	file, err := p.another(open)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		p.idle.Signal()
	}
	return file, err
}

// another opens a file outside the limit. If the system has no descriptor left, a file
// that is not in use is closed for it.
func (p *files) another(open func() (vfs.File, error)) (vfs.File, error) {
	for {
		file, err := open()
		if !vfs.IsExhausted(err) {
			return file, err
		}
		p.mu.Lock()
		old := p.giveUp()
		p.mu.Unlock()
		if old == nil {
			return nil, err
		}
		_ = p.close(old)
	}
}

// giveUp takes the descriptor of the file used longest ago, nil where all are in
// use. The lock is held.
func (p *files) giveUp() vfs.File {
	at := -1
	for i, f := range p.open {
		if f.users == 0 && !f.kept && (at < 0 || f.used < p.open[at].used) {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	return p.take(p.open[at])
}

// take takes a file's descriptor, to be closed, nil where it has none. The lock is held.
func (p *files) take(f *logFile) vfs.File {
	p.open = slices.DeleteFunc(p.open, func(o *logFile) bool { return o == f })
	file := f.file
	f.file = nil
	return file
}

// close closes a file whose descriptor was taken. Only then may another file use it.
func (p *files) close(file vfs.File) error {
	err := file.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.idle.Signal()
	return err
}

// begin opens the file if it is not open, and keeps it so until end.
func (f *logFile) begin() (vfs.File, error) {
	p := f.files
	for {
		p.mu.Lock()
		if f.closed {
			p.mu.Unlock()
			return nil, &fs.PathError{Op: "use", Path: f.name, Err: fs.ErrClosed}
		}
		if f.file != nil {
			f.users++
			p.uses++
			f.used = p.uses
			file := f.file
			p.mu.Unlock()
			return file, nil
		}
		p.mu.Unlock()
		file, err := p.descriptor(func() (vfs.File, error) { return p.fs.Open(f.name, false) })
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		extra := f.file != nil || f.closed // another caller was faster
		if !extra {
			f.file = file
			p.open = append(p.open, f)
		}
		p.mu.Unlock()
		if extra {
			_ = p.close(file)
		}
	}
}

func (f *logFile) end() {
	p := f.files
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.users--; f.users == 0 {
		p.idle.Signal()
	}
}

// release has a file that was created give its descriptor up like any other.
func (f *logFile) release() {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	f.kept = false
	f.files.idle.Signal()
}

func (f *logFile) ReadAt(b []byte, off int64) (int, error) {
	file, err := f.begin()
	if err != nil {
		return 0, err
	}
	defer f.end()
	return file.ReadAt(b, off)
}

func (f *logFile) WriteAt(b []byte, off int64) (int, error) {
	file, err := f.begin()
	if err != nil {
		return 0, err
	}
	defer f.end()
	return file.WriteAt(b, off)
}

func (f *logFile) Truncate(size int64) error {
	file, err := f.begin()
	if err != nil {
		return err
	}
	defer f.end()
	return file.Truncate(size)
}

func (f *logFile) Allocate(size int64) error {
	file, err := f.begin()
	if err != nil {
		return err
	}
	defer f.end()
	return file.Allocate(size)
}

func (f *logFile) Sync() error {
	file, err := f.begin()
	if err != nil {
		return err
	}
	defer f.end()
	return file.Sync()
}

// deleted reports whether the file has no name any more.
func (f *logFile) deleted() bool {
	file, err := f.begin()
	if err != nil {
		return false
	}
	defer f.end()
	return vfs.Deleted(file)
}

func (f *logFile) Size() (int64, error) {
	file, err := f.begin()
	if err != nil {
		return 0, err
	}
	defer f.end()
	return file.Size()
}

// Close closes the descriptor. The file must not be used any more.
func (f *logFile) Close() error {
	p := f.files
	p.mu.Lock()
	f.closed = true
	file := p.take(f)
	p.mu.Unlock()
	if file == nil {
		return nil
	}
	return p.close(file)
}
