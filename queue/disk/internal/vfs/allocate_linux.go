package vfs

import (
	"os"
	"syscall"
)

// allocate has the file system set blocks aside. Not all can: then the error is
// errors.ErrUnsupported too.
func allocate(f *os.File, size int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
		}
	}
}
