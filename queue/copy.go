package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrSize is the cause in a *MessageError about content whose reader yielded
// more or fewer bytes than Size said.
var ErrSize = errors.New("the length of the content differs from its Size")

// CopyContent writes c to w and returns the number of bytes. Queues use it to read the
// content that is put (rule P5). If c's reader fails or the length differs from c's Size,
// the error is a *MessageError. An error of w or ctx is returned as it is.
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

// contentReader remembers its own errors, to tell them from the writer's. It never returns
// more bytes than the content's Size.
type contentReader struct {
	ctx  context.Context
	r    io.Reader
	left int64 // negative if the size is not known
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
			r.err = contentError("5.6.0", fmt.Errorf("%w: it is longer", ErrSize))
			return 0, r.err
		}
		r.left -= int64(n)
	}
	return n, err
}
