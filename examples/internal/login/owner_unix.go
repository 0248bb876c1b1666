//go:build unix

package login

import (
	"os"
	"syscall"
)

// keepOwner gives a file the owner of another, so that a server that could read the one
// can read the other.
func keepOwner(f *os.File, of string) error {
	info, err := os.Stat(of)
	if err != nil {
		return nil //nolint:nilerr // there is no file yet
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		return f.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}
