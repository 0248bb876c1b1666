package queue

import (
	"io"
	"strings"
)

// Prepend returns content with text before it, such as a header field: "Received: …\r\n". The
// text should end its last line. If c is InMemory and not long, so is the result; else c is
// read when the result is, and no copy of it is made.
func Prepend(text string, c Content) Content {
	if b := BytesOf(c); b != nil && len(b) <= prependMost {
		return append(append(make(Bytes, 0, len(text)+len(b)), text...), b...)
	}
	return prepended{text, c}
}

// prependMost is how much is copied to stay in memory in one piece.
const prependMost = 1 << 20

// prepended is content with text before it.
type prepended struct {
	text string
	Content
}

func (p prepended) Size() int64 {
	n := p.Content.Size()
	if n < 0 {
		return n
	}
	return n + int64(len(p.text))
}

func (p prepended) Open() (io.ReadCloser, error) {
	r, err := p.Content.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(p.text), r), r}, nil
}
