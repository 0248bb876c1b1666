//go:build linux || darwin || freebsd

package vfs

import "syscall"

func capacity(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Blocks) * int64(s.Bsize) //nolint:unconvert // its type is another one on other systems
}
