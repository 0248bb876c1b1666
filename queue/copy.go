package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrSize is the cause in a *MessageError about content whose reader yielded
// more or fewer bytes than Size said.
var ErrSize = errors.New("the content is not as long as it said")

// CopyContent writes c to w and returns how many bytes that were. It is how a
// queue reads what Put is given (rule P5): an error of c's reader, and a length
// other than c said, is a *MessageError; an error of w or of ctx is returned as
// it is.
func CopyContent(ctx context.Context, w io.Writer, c Content) (int64, error) {
	size := c.Size()
	if b := BytesOf(c); b != nil {
		if size >= 0 && size != int64(len(b)) {
			return 0, contentError("5.6.0", ErrSize)
		}
		n, err := w.Write(b)
		return int64(n), err
	}
	r, err := c.Open()
	if err != nil {
		return 0, contentError("4.3.0", err)
	}
	defer r.Close()
	src := &contentReader{ctx: ctx, r: r, left: size}
	n, err := io.Copy(w, src)
	switch {
	case src.err != nil:
		return n, src.err
	case err != nil:
		return n, err
	case size >= 0 && n != size:
		return n, contentError("5.6.0", fmt.Errorf("%w: %d bytes of %d", ErrSize, n, size))
	}
	return n, nil
}

func contentError(enhanced string, err error) error {
	return &MessageError{Field: "Content", Index: -1, Enhanced: enhanced, Err: err}
}

// contentReader remembers its own errors, to tell them from the writer's. It
// never hands on a byte more than the content said it has.
type contentReader struct {
	ctx  context.Context
	r    io.Reader
	left int64 // negative where the size is not known
	err  error
}

func (r *contentReader) Read(p []byte) (int, error) {
	if r.err = r.ctx.Err(); r.err != nil {
		return 0, r.err
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = contentError("4.3.0", err)
		return n, r.err
	}
	if r.left >= 0 {
		if int64(n) > r.left {
			r.err = contentError("5.6.0", fmt.Errorf("%w: more than it said", ErrSize))
			return 0, r.err
		}
		r.left -= int64(n)
	}
	return n, err
}
