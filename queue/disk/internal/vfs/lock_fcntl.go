//go:build aix || (solaris && !illumos)

package vfs

import (
	"os"
	"syscall"
)

// tryLock takes a lock of fcntl, since these systems have no other. It holds
// between processes only, and ends when the process closes any open of the file.
func tryLock(f *os.File) error {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	for {
		err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock)
		if err == syscall.EACCES {
			err = syscall.EAGAIN
		}
		if err != syscall.EINTR {
			return err
		}
	}
}
