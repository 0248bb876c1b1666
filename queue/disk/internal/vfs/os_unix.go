//go:build unix

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

func fullErrors() []error { return []error{syscall.ENOSPC, syscall.EDQUOT} }

func exhaustedErrors() []error { return []error{syscall.EMFILE, syscall.ENFILE} }

// unreadableErrors: a bad sector is EIO, on some systems as the device says it;
// file systems that have sums of their own have words of their own for damage.
func unreadableErrors() []error { return append(damageErrors(), syscall.EIO) }

func inUseErrors() []error { return []error{ErrInUse} }

// unsupportedErrors: what a file system answers to a call that it does not have,
// for directories EBADF too.
func unsupportedErrors() []error {
	return []error{syscall.EINVAL, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EBADF}
}

// Deleted reports whether the file has no name any more.
func (f osFile) Deleted() bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	of, ok := info.Sys().(*syscall.Stat_t)
	if !ok || of.Nlink > 0 {
		return false
	}
	named, err := os.Stat(f.Name())
	return err != nil || !os.SameFile(info, named) // some file systems do not count names
}

// lockFile opens the file and locks it, for as long as it is open. Without write it
// may be missing, and the result is nil then.
func lockFile(path string, write bool) (*os.File, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR | os.O_CREATE
	}
	f, err := lockNamed(path, func() (*os.File, error) { return os.OpenFile(path, flags, 0o600) })
	if errors.Is(err, fs.ErrNotExist) { // the directory too, where it was to be made
		return nil, nil
	}
	if err == nil && write {
		if err = giveToOwner(f, filepath.Dir(path)); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// lockNamed opens a file and locks it. The one that is locked must be the one that
// bears the name: another may have deleted it meanwhile.
func lockNamed(path string, open func() (*os.File, error)) (*os.File, error) {
	for {
		f, err := open()
		if err != nil {
			return nil, err
		}
		mine, err := f.Stat()
		if err == nil {
			err = lockError(tryLock(f))
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		if named, _ := os.Stat(path); os.SameFile(mine, named) {
			return f, nil
		}
		_ = f.Close()
	}
}

// lockDir locks a directory if the file system can: some cannot lock what is open
// for reading only. Then the lock of the file has to do.
func lockDir(d *os.File) error {
	if err := lockError(tryLock(d)); errors.Is(err, ErrLocked) {
		return err
	}
	return nil
}

// lockError says what it means that a lock could not be had.
func lockError(err error) error {
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return ErrLocked
	case errors.Is(err, syscall.ENOLCK), isAny(err, unsupportedErrors()):
		return errors.Join(ErrNoLock, err)
	}
	return err
}

func openDir(dir string) (*os.File, error) { return os.Open(dir) }

func syncDir(dir string) error {
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return dirSynced(d.Sync())
}
