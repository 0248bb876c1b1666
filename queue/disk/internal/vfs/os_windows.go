package vfs

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	errTooManyOpenFiles = syscall.Errno(4)
	errSharingViolation = syscall.Errno(32)
	errHandleDiskFull   = syscall.Errno(39)
	errDiskFull         = syscall.Errno(112)
)

func fullErrors() []error { return []error{errDiskFull, errHandleDiskFull} }

func exhaustedErrors() []error { return []error{errTooManyOpenFiles} }

// lockFile opens the file without sharing it: the next to open it fails for as
// long as this handle lives, and the system closes it with the process.
func lockFile(path string) (io.Closer, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	const noSharing = 0
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, noSharing, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharingViolation) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// openDir opens nothing: syncDir needs nothing.
func openDir(string) (*os.File, error) { return nil, nil }

// syncDir does nothing: NTFS logs changes of a directory by itself, and
// Windows has no call that flushes one.
func syncDir(string) error { return nil }

// giveToOwner does nothing: files belong to whoever the directory says.
func giveToOwner(*os.File, string) error { return nil }
