//go:build unix

package vfs

var LockNamed = lockNamed
