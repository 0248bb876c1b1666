package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncAll makes a file's new name durable. Its directory cannot be opened for that by those
// who may not list it, so the whole file system is synced.
func syncAll(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
