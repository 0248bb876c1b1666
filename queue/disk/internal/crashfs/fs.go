// Package crashfs is a file system in memory that loses power and fails on
// purpose. It promises a program no more than the strictest reading of the
// rules of package vfs does:
//
//   - Of what was written to a file since its last successful Sync, any part
//     may be lost at a power cut: each sector for itself, in any order, cut
//     anywhere, with the file's size changed or not and with old rubbish where
//     nothing was written.
//   - Of what was done to the directory since the last SyncDir, any part may
//     be lost, each operation for itself.
//   - A Sync saves what was written before it began; of what is written while it
//     runs, any part may be lost.
//   - A Sync that fails leaves a random part of the bytes on the disk and
//     forgets the rest: reads still show them, a later Sync does not save them.
//   - A write that fails has done nothing, some of it or all, and a read that
//     fails may have returned some bytes.
//
// A Device adds what depends on the machine: how much room there is and when a
// lack of it shows, how many files may be open, whether an open one can be
// removed, and whether a power cut harms what was saved in the same block.
// Spoil makes sectors unreadable for good. A Tree loses directories.
package crashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// FS is the file system. Its methods are safe for concurrent use.
type FS struct {
	mu      sync.Mutex
	rng     *rand.Rand
	names   map[string]*inode // what the program sees
	durable map[string]*inode // what the disk holds
	pending []dirOp           // since the last SyncDir, in order
	locked  map[string]bool
	inject  Injector
	device  Device
	open    map[*inode]int // how often each file is open

	descriptors int // in use

	meanwhile func() // called while a Sync is under way

	writes int // operations that change something, so far
	cutAt  int // the power is cut before this one; 0 is never
	off    bool

	cutting bool // the operation under way is the one at which the power is cut
}

var _ vfs.FS = (*FS)(nil)

// ErrPowerCut is the answer to everything after the power was cut.
var ErrPowerCut = errors.New("crashfs: the power is off")

// New returns an empty directory whose chances are drawn from seed.
func New(seed uint64) *FS {
	return &FS{
		rng:     rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)),
		names:   map[string]*inode{},
		durable: map[string]*inode{},
		locked:  map[string]bool{},
		open:    map[*inode]int{},

		meanwhile: runtime.Gosched,
	}
}

type dirOp struct {
	kind     Op
	name, to string
	inode    *inode
}

func (o dirOp) apply(dir map[string]*inode) {
	switch o.kind {
	case OpCreate:
		dir[o.name] = o.inode
	case OpRemove:
		delete(dir, o.name)
	case OpRename:
		if dir[o.name] == o.inode {
			delete(dir, o.name)
		}
		dir[o.to] = o.inode
	}
}

func (f *FS) change(op dirOp) {
	op.apply(f.names)
	f.pending = append(f.pending, op)
}

// Create implements vfs.FS.
func (f *FS) Create(name string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.before(OpCreate, name); err != nil {
		return nil, err
	}
	if f.names[name] != nil {
		return nil, pathError("create", name, fs.ErrExist)
	}
	if err := f.descriptor(OpCreate, name); err != nil {
		return nil, err
	}
	if f.free() < NameSize {
		return nil, pathError("create", name, syscall.ENOSPC)
	}
	f.take(NameSize)
	n := &inode{}
	f.change(dirOp{kind: OpCreate, name: name, inode: n})
	return f.openInode(name, n, true), nil
}

func (f *FS) openInode(name string, n *inode, write bool) *file {
	f.open[n]++
	f.descriptors++
	return &file{fs: f, name: name, inode: n, write: write}
}

// Open implements vfs.FS.
func (f *FS) Open(name string, write bool) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.before(OpOpen, name); err != nil {
		return nil, err
	}
	n := f.names[name]
	if n == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	if err := f.descriptor(OpOpen, name); err != nil {
		return nil, err
	}
	return f.openInode(name, n, write), nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.before(OpRename, from); err != nil {
		return err
	}
	n := f.names[from]
	if n == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	for _, name := range []string{from, to} {
		if err := f.kept(OpRename, name); err != nil {
			return err
		}
	}
	f.change(dirOp{kind: OpRename, name: from, to: to, inode: n})
	return nil
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.before(OpRemove, name); err != nil {
		return err
	}
	if f.names[name] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if err := f.kept(OpRemove, name); err != nil {
		return err
	}
	f.change(dirOp{kind: OpRemove, name: name})
	return nil
}

// List implements vfs.FS.
func (f *FS) List() ([]vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.before(OpList, ""); err != nil {
		return nil, err
	}
	if err := f.descriptor(OpList, ""); err != nil {
		return nil, err
	}
	var list []vfs.Info
	for name, n := range f.names {
		list = append(list, vfs.Info{Name: name, Size: int64(len(n.seen))})
	}
	slices.SortFunc(list, func(a, b vfs.Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.before(OpSyncDir, ""); err != nil {
		return err
	}
	f.saveNames()
	return nil
}

func (f *FS) saveNames() {
	for _, op := range f.pending {
		op.apply(f.durable)
	}
	f.pending = nil
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string, _ bool) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.before(OpLock, name); err != nil {
		return nil, err
	}
	if err := f.descriptor(OpLock, name); err != nil {
		return nil, err
	}
	if f.locked[name] {
		return nil, fmt.Errorf("lock %s: %w", name, vfs.ErrLocked)
	}
	f.locked[name] = true
	f.descriptors++
	return unlock(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.locked, name)
		f.descriptors--
	}), nil
}

type unlock func()

func (u unlock) Close() error {
	u()
	return nil
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}
