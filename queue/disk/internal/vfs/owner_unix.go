//go:build unix

package vfs

import (
	"os"
	"syscall"
)

// giveToOwner gives a file of root's to the owner of its directory, so that a command
// run by root leaves nothing in a spool that its program cannot open. For anybody
// else it does nothing: nobody else could.
func giveToOwner(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
