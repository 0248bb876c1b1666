package delivery_test

import (
	"errors"
	"io"
	"strings"

	"github.com/nexthop-mail/nexthop/queue"
)

// prefixed is content with one field more.
type prefixed struct{ queue.Content }

func (p prefixed) Size() int64 { return -1 }

func (p prefixed) Open() (io.ReadCloser, error) {
	r, err := p.Content.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader("X-Signed: yes\r\n"), r), r}, nil
}

// broken is content that cannot be read.
type broken struct{}

func (broken) Size() int64                  { return -1 }
func (broken) Open() (io.ReadCloser, error) { return nil, errors.New("broken") }

// explosive is content whose code panics when it is read.
type explosive struct{}

func (explosive) Size() int64                  { return -1 }
func (explosive) Open() (io.ReadCloser, error) { return explosive{}, nil }
func (explosive) Read([]byte) (int, error)     { panic("read") }
func (explosive) Close() error                 { return nil }
