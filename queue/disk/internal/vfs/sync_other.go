//go:build !linux

package vfs

import "os"

// syncData is the strongest the system has; on macOS Sync is F_FULLFSYNC.
func syncData(f *os.File) error { return f.Sync() }
