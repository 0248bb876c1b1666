package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
)

// OS returns the directory dir of the operating system's file system, which
// must exist.
func OS(dir string) FS { return &osFS{dir: dir} }

type osFS struct {
	dir    string
	handle atomic.Pointer[os.File] // of the directory, while the lock is held
}

func (o *osFS) path(name string) string { return filepath.Join(o.dir, name) }

func (o *osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(o.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := giveToOwner(f, o.dir); err != nil {
		return nil, errors.Join(err, f.Close(), o.Remove(name))
	}
	return osFile{f}, nil
}

func (o *osFS) Open(name string, write bool) (File, error) {
	if write {
		return openOS(o.path(name), os.O_RDWR)
	}
	return openOS(o.path(name), os.O_RDONLY)
}

func openOS(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (o *osFS) Rename(from, to string) error { return os.Rename(o.path(from), o.path(to)) }

func (o *osFS) Remove(name string) error { return os.Remove(o.path(name)) }

func (o *osFS) List() ([]Info, error) {
	entries, err := os.ReadDir(o.dir) // by name
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, Info{Name: e.Name(), Size: info.Size()})
	}
	return list, nil
}

func (o *osFS) Capacity() int64 { return capacity(o.dir) }

func (o *osFS) SyncDir() error {
	if d := o.handle.Load(); d != nil {
		return dirSynced(d.Sync())
	}
	return syncDir(o.dir)
}

func (o *osFS) Lock(name string, write bool) (io.Closer, error) {
	l, err := o.lock(name, write)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", o.path(name), err)
	}
	return l, nil
}

// lock locks the file, and the directory too: whoever deletes the file lets nobody
// else in by that.
func (o *osFS) lock(name string, write bool) (*lock, error) {
	l := &lock{fs: o}
	var err error
	if l.file, err = lockFile(o.path(name), write); err != nil {
		return nil, err
	}
	d, err := openDir(o.dir)
	if err == nil {
		o.handle.Store(d)
		if d != nil {
			err = lockDir(d)
		}
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// lock is the lock with what is kept open for as long as it is held.
type lock struct {
	fs   *osFS
	file *os.File // nil if there is none
}

func (l *lock) Close() error {
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	_ = l.fs.handle.Swap(nil).Close() // nil where there is none
	return err
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

func (f osFile) Allocate(size int64) error {
	err := allocate(f.File, size)
	if errors.Is(err, errors.ErrUnsupported) {
		return fillUp(f, size)
	}
	return err
}

// fillUp makes a file so long with bytes that take room.
func fillUp(f osFile, size int64) error {
	have, err := f.Size()
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(uint64(have), uint64(size)))
	for b := make([]byte, 64<<10); have < size; have += int64(len(b)) {
		for i := range b { // what can be compressed takes no room everywhere
			b[i] = byte(rng.Uint32())
		}
		if _, err := f.WriteAt(b[:min(int64(len(b)), size-have)], have); err != nil {
			return err
		}
	}
	return f.Sync()
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
