package vfs

import "os"

// For tests of decisions that no file system at hand provokes.
var DirSynced = dirSynced

// CloseHandle closes what SyncDir syncs, behind its back.
func CloseHandle(f FS) error { return f.(*osFS).handle.Load().Close() }

// FillUp is what Allocate does where the file system sets no blocks aside.
func FillUp(f *os.File, size int64) error { return fillUp(osFile{f}, size) }

// FileOf is an open file as FS returns it.
func FileOf(f *os.File) File { return osFile{f} }
