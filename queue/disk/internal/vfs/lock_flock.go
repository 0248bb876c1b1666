//go:build unix && !aix && (!solaris || illumos)

package vfs

import (
	"os"
	"syscall"
)

// tryLock takes flock, which ends with the process and is not shared with another
// open of the same file, not even in this process.
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			return err
		}
	}
}
