package sign

import (
	"context"
	"errors"
	"io"

	"github.com/nexthop-mail/nexthop/queue"
)

// ErrPanic says that the hook panicked, or the content that it has returned.
var ErrPanic = errors.New("the Sign hook panicked")

// Hook is the application's hook.
type Hook struct {
	// Call is the hook. It returns the content to queue in place of that of the message.
	Call func(context.Context, *queue.Message) (queue.Content, error)

	// Guard calls a function of the application. If it panics, ok is false.
	Guard func(f func()) (ok bool)
}

// Sign asks the hook for the content to queue in place of m's. The content is nil if the
// hook returns none. Sign does not change m, whatever the hook does.
func (h Hook) Sign(ctx context.Context, m *queue.Message) (c queue.Content, err error) {
	copied := *m // the hook may keep it, and change it
	if !h.Guard(func() {
		if c, err = h.Call(ctx, &copied); err == nil && c != nil {
			if b := queue.BytesOf(c); b != nil {
				c = queue.Bytes(b)
			} else {
				c = guarded{h.Guard, c}
			}
		}
	}) {
		return nil, ErrPanic
	}
	return c, err
}

// guarded is content of which the code belongs to the application. Its panics become
// errors.
type guarded struct {
	guard   func(f func()) (ok bool)
	content queue.Content
}

// Size returns -1, which is the size of no content, if the content panics.
func (g guarded) Size() (n int64) {
	if !g.guard(func() { n = g.content.Size() }) {
		return -1
	}
	return n
}

func (g guarded) Open() (r io.ReadCloser, err error) {
	if !g.guard(func() { r, err = g.content.Open() }) {
		return nil, ErrPanic
	}
	if err != nil {
		return nil, err
	}
	return reader{g.guard, r}, nil
}

type reader struct {
	guard  func(f func()) (ok bool)
	reader io.ReadCloser
}

func (r reader) Read(p []byte) (n int, err error) {
	if !r.guard(func() { n, err = r.reader.Read(p) }) {
		return 0, ErrPanic
	}
	return n, err
}

func (r reader) Close() (err error) {
	if !r.guard(func() { err = r.reader.Close() }) {
		return ErrPanic
	}
	return err
}
