//go:build unix && !linux

package main

import (
	"os"
	"syscall"
)

// syncAll makes a file's new name durable. Its directory cannot be opened for that by those
// who may not list it, so all file systems are synced.
func syncAll(f *os.File) error {
	syscall.Sync()
	return f.Sync()
}
