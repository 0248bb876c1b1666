//go:build linux || darwin || freebsd

package vfs

import "syscall"

func capacity(dir string) int64 {
	var s syscall.Statfs_t
	_ = syscall.Statfs(dir, &s)             // nobody knows: 0
	return int64(s.Blocks) * int64(s.Bsize) //nolint:unconvert // its type is another one on other systems
}
