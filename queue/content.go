package queue

import (
	"bytes"
	"io"
	"strings"
)

// Content is the header and body of a message.
//
//   - Size is the number of bytes Open's reader yields, or -1 if it is not
//     known without reading.
//   - Open starts at the first byte each time and may be called more than once
//     and from several goroutines. Its error is temporary.
//   - A reader that fails, or yields more or fewer bytes than Size said, never
//     becomes a message: the attempt is broken off.
type Content interface {
	Size() int64
	Open() (io.ReadCloser, error)
}

// InMemory is content that is already in memory, so that sending it needs no
// copy. The bytes must not be changed while the content is in use.
type InMemory interface {
	Content
	Bytes() []byte
}

// BytesOf returns c's bytes if it holds them in memory, else nil.
func BytesOf(c Content) []byte {
	if m, ok := c.(InMemory); ok {
		return m.Bytes()
	}
	return nil
}

// Bytes is content held in memory.
type Bytes []byte

// Size returns the number of bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Bytes returns b itself.
func (b Bytes) Bytes() []byte { return b }

// Open returns a reader of b.
func (b Bytes) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// String is content held in memory as a string.
type String string

// Size returns the number of bytes.
func (s String) Size() int64 { return int64(len(s)) }

// Open returns a reader of s.
func (s String) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(s))), nil }
