package delivery

import (
	"io"

	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/queue"
)

// prepared is content as it is sent.
type prepared struct{ body *content.Body }

func (p prepared) Size() int64                  { return p.body.Size() }
func (p prepared) Bytes() []byte                { return p.body.Bytes() }
func (p prepared) Open() (io.ReadCloser, error) { return p.body.Open() }

// bounded is content that cannot be read for longer than a limit.
func bounded(c queue.Content, limit int64) queue.Content {
	if queue.BytesOf(c) != nil {
		return c
	}
	return boundedContent{c, limit}
}

type boundedContent struct {
	queue.Content
	limit int64
}

func (b boundedContent) Open() (io.ReadCloser, error) {
	if b.Size() > b.limit {
		return nil, errTooLarge
	}
	r, err := b.Content.Open()
	if err != nil {
		return nil, err
	}
	return &boundedReader{r, b.limit}, nil
}

type boundedReader struct {
	io.ReadCloser
	left int64
}

// Read fails with the first octet beyond the limit.
func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
