package queuetest_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// opened makes a fault of a function that changes every content.
func opened(change func(text string) string) func(h *hooked) {
	return func(h *hooked) {
		h.open = func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error) {
			c, err := q.Open(ctx, id)
			if err != nil {
				return nil, err
			}
			return queue.String(change(string(queue.BytesOf(c)))), nil
		}
	}
}

// shorter is content that reads no further than its size.
type shorter struct{ queue.Content }

func (s shorter) Open() (io.ReadCloser, error) {
	r, err := s.Content.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, s.Size()), r}, nil
}

// onceOnly is content that has nothing to read the second time.
type onceOnly struct {
	queue.Content
	read atomic.Bool
}

func (o *onceOnly) Open() (io.ReadCloser, error) {
	if o.read.Swap(true) {
		return io.NopCloser(strings.NewReader("")), nil
	}
	return o.Content.Open()
}

// reused is content whose place is taken by something else one day.
type reused struct {
	queue.Content
	gone func() bool
}

func (c reused) Open() (io.ReadCloser, error) {
	r, err := c.Content.Open()
	if err != nil {
		return nil, err
	}
	return reusedReader{r, c.gone}, nil
}

type reusedReader struct {
	io.ReadCloser
	gone func() bool
}

func (r reusedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.gone() {
		for i := range p[:n] {
			p[i] = 'x'
		}
	}
	return n, err
}
