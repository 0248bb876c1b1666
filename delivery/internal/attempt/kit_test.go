package attempt

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// fading is content that can be read once.
type fading struct {
	text string
	read atomic.Bool
}

func (f *fading) Size() int64 { return int64(len(f.text)) }

func (f *fading) Open() (io.ReadCloser, error) {
	if f.read.Swap(true) {
		return nil, errors.New("gone")
	}
	return io.NopCloser(strings.NewReader(f.text)), nil
}

// failing is a dialler that fails, or one that waits for the end if err is nil.
func failing(err error) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err == nil {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }
