package queue

import (
	"bytes"
	"io"
	"strings"
)

// Content is the header and body of a message.
//
//   - Size is the number of bytes that Open's reader yields, or -1 if that is not known
//     without reading.
//   - Open may be called more than once and by several goroutines. Each reader starts at
//     the first byte. An error of Open counts as temporary.
//   - If a reader fails, or yields more or fewer bytes than Size said, the attempt is
//     broken off, so that no host accepts a part of the content as a message.
type Content interface {
	Size() int64
	Open() (io.ReadCloser, error)
}

// InMemory is content that is already in memory, so it can be sent without a copy. The
// bytes must not be changed while the content is in use.
type InMemory interface {
	Content
	Bytes() []byte
}

// BytesOf returns the bytes of c if c is InMemory, otherwise nil.
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
