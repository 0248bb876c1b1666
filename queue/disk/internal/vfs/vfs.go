// Package vfs is everything the spool asks of a file system: a few files in
// one directory. The spool reaches the disk through it alone, so that a file
// system that loses power or fails on purpose runs the same code in process.
package vfs

import (
	"errors"
	"io"
	"slices"
)

// FS is one flat directory.
//
//   - A name holds no separator. Files are made with mode 0600.
//   - What Create, Rename and Remove did to the directory survives a power cut
//     only once SyncDir has returned nil.
//   - Every method is safe for concurrent use.
type FS interface {
	// Create makes a file that must not exist and opens it for reading and
	// writing.
	Create(name string) (File, error)
	// Open opens a file for reading, and for writing where write is set.
	Open(name string, write bool) (File, error)
	// Rename gives a file another name, replacing what bore it.
	Rename(from, to string) error
	// Remove takes a name away. Files open under it stay readable, or it fails
	// with an error that IsInUse knows.
	Remove(name string) error
	// List returns the files, in the order of their names.
	List() ([]Info, error)
	// Capacity is how many bytes the device has for everybody together, zero where
	// that is not known.
	Capacity() int64
	// SyncDir makes creations, renames and removals durable.
	SyncDir() error
	// Lock takes the named lock until the closer is closed or the process
	// ends, or fails with ErrLocked at once, or with ErrNoLock. For as long as it
	// is held, SyncDir needs no descriptor. Without write it changes nothing in the
	// directory.
	Lock(name string, write bool) (io.Closer, error)
}

// File is an open file. Its methods are safe for concurrent use.
//
//   - What WriteAt and Truncate did survives a power cut only once Sync has
//     returned nil.
//   - After a Sync that failed nobody knows which of the bytes are on the
//     disk, whatever ReadAt shows: only writing them again and a Sync that
//     succeeds settles it.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Allocate makes the file at least so long, with room on the device for all of
	// it, whatever a Sync would say. Where it fails it may have done some of that.
	Allocate(size int64) error
	Sync() error
	Size() (int64, error) // in bytes, with what is not synced yet
}

// Deleted reports whether an open file has no name any more, so that nobody can open it
// again. Where the system does not tell, the answer is no.
func Deleted(f File) bool {
	d, ok := f.(interface{ Deleted() bool })
	return ok && d.Deleted()
}

// Info is one entry of the directory.
type Info struct {
	Name string
	Size int64
}

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("vfs: locked by another process")

// ErrNoLock says that the file system has no locks.
var ErrNoLock = errors.New("vfs: the file system cannot lock files")

// ErrInUse is what a file system in memory answers where the system does not take
// the name of an open file away.
var ErrInUse = errors.New("vfs: the file is open")

// IsInUse reports whether err says that a name cannot be taken away for as long as
// its file is open.
func IsInUse(err error) bool { return isAny(err, inUseErrors()) }

// IsExhausted reports whether err says that the process or the system has no
// descriptor left. It passes when others are closed.
func IsExhausted(err error) bool { return isAny(err, exhaustedErrors()) }

// IsFull reports whether err says that there is no space left, or none left
// for this user.
func IsFull(err error) bool { return isAny(err, fullErrors()) }

func isAny(err error, list []error) bool {
	return slices.ContainsFunc(list, func(e error) bool { return errors.Is(err, e) })
}

// IsUnreadable reports whether err says that the device cannot read what it
// should hold at that place: a bad sector, or bytes that fail the file system's
// own sums. It may well read other places.
func IsUnreadable(err error) bool { return isAny(err, unreadableErrors()) }
