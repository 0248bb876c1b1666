package dsn

import (
	"bufio"
	"errors"
	"io"
)

// lines reads content line by line, a long line in pieces.
type lines struct {
	r      *bufio.Reader
	inside bool // the last piece did not end its line
}

func newLines(r io.Reader) lines { return lines{r: bufio.NewReaderSize(r, 4096)} }

// next is the next piece of a line, without the line's end, CRLF or LF. begins
// and ends say whether it is the first and the last of its line. The piece is
// good until the next call.
func (l *lines) next() (piece []byte, begins, ends bool, err error) {
	piece, err = l.r.ReadSlice('\n')
	begins = !l.inside
	switch {
	case err == nil:
		piece, ends = piece[:len(piece)-1], true
		if n := len(piece); n > 0 && piece[n-1] == '\r' {
			piece = piece[:n-1]
		}
	case errors.Is(err, bufio.ErrBufferFull):
		err = nil
		if n := len(piece); piece[n-1] == '\r' && l.r.UnreadByte() == nil {
			piece = piece[:n-1] // it may be half of a line's end
		}
	case errors.Is(err, io.EOF) && len(piece) > 0:
		ends, err = true, nil // the last line has no end: it is given one
	}
	l.inside = !ends
	return piece, begins, ends, err
}
