package content

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxPiece is how much of a line is looked at together. It is more than a boundary
// or the beginning of a field can be.
const maxPiece = 16 << 10

// lines reads canonical octets line by line, and very long lines in pieces.
type lines struct {
	in    *bufio.Reader
	text  []byte // of the line or piece, without CRLF; valid until the next
	whole bool   // it begins a line
	ends  bool   // and ends one
	err   error
}

func newLines(r io.Reader) *lines { return &lines{in: bufio.NewReaderSize(r, maxPiece), ends: true} }

// next goes on to the next line or piece. After false err says why, and is nil at
// the end.
func (l *lines) next() bool {
	l.whole = l.ends
	text, err := l.in.ReadSlice('\n')
	if l.ends = err == nil; l.ends {
		text = bytes.TrimSuffix(text[:len(text)-1], []byte("\r"))
	}
	if err == nil || errors.Is(err, bufio.ErrBufferFull) {
		l.text = text
		return true
	}
	if err != io.EOF {
		l.err = err
		return false
	}
	l.text, l.ends = text, true // canonical octets end with a line end
	return len(text) > 0
}
