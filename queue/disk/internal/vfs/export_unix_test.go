//go:build unix

package vfs

var (
	LockNamed = lockNamed
	LockDir   = lockDir
	LockError = lockError
	TryLock   = tryLock
)
