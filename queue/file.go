package queue

import (
	"io"
	"os"
)

// File is content in a file, named by its path. The file must stay as it is
// while the content is in use.
type File string

// Size is the file's size, -1 where it cannot be found out.
func (f File) Size() int64 {
	info, err := os.Stat(string(f))
	if err != nil {
		return -1
	}
	return info.Size()
}

// Open opens the file for reading.
func (f File) Open() (io.ReadCloser, error) { return os.Open(string(f)) }
