package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	errTooManyOpenFiles = syscall.Errno(4)
	errSharingViolation = syscall.Errno(32)
	errCRC              = syscall.Errno(23)
	errSectorNotFound   = syscall.Errno(27)
	errReadFault        = syscall.Errno(30)
	errIODevice         = syscall.Errno(1117)
	errHandleDiskFull   = syscall.Errno(39)
	errDiskFull         = syscall.Errno(112)
)

func fullErrors() []error { return []error{errDiskFull, errHandleDiskFull} }

func exhaustedErrors() []error { return []error{errTooManyOpenFiles} }

func unreadableErrors() []error {
	return []error{errCRC, errSectorNotFound, errReadFault, errIODevice, syscall.EIO}
}

func inUseErrors() []error { return []error{ErrInUse, errSharingViolation} }

func unsupportedErrors() []error { return nil }

// lockFile opens the file without sharing it: the next to open it fails for as
// long as this handle lives, nobody can delete it meanwhile, and the system closes
// it with the process. Without write it may be missing, and the result is nil then.
func lockFile(path string, write bool) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	const noSharing = 0
	access, how := uint32(syscall.GENERIC_READ), uint32(syscall.OPEN_EXISTING)
	if write {
		access, how = syscall.GENERIC_READ|syscall.GENERIC_WRITE, syscall.OPEN_ALWAYS
	}
	h, err := syscall.CreateFile(name, access, noSharing, nil, how, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, errSharingViolation):
		return nil, ErrLocked
	case !write && errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// lockDir does nothing: the file cannot be deleted.
func lockDir(*os.File) error { return nil }

// openDir opens nothing: syncDir needs nothing.
func openDir(string) (*os.File, error) { return nil, nil }

// syncDir does nothing: NTFS logs changes of a directory by itself, and
// Windows has no call that flushes one.
func syncDir(string) error { return nil }

// giveToOwner does nothing: files belong to whoever the directory says.
func giveToOwner(*os.File, string) error { return nil }
