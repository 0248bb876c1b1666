package queue

import (
	"io"
	"os"
)

// File is content in a file; its value is the path. The file must not change while the
// content is in use: if its length then differs from Size, reading it fails. Queues keep a
// copy of their own.
type File string

// Size is the file's size, or -1 if that is not known.
func (f File) Size() int64 {
	info, err := os.Stat(string(f))
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	return info.Size()
}

// Open opens the file for reading.
func (f File) Open() (io.ReadCloser, error) { return os.Open(string(f)) }
