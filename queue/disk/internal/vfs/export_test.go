package vfs

// For tests of decisions that no file system at hand provokes.
var (
	DirSynced = dirSynced
	LockFile  = lockFile
)
