package queue_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/queue"
)

// stream is content that has to be read, and may lie about its size.
type stream struct {
	size int64
	open func() (io.Reader, error)
}

func (s stream) Size() int64 { return s.size }

func (s stream) Open() (io.ReadCloser, error) {
	r, err := s.open()
	if err != nil {
		return nil, err
	}
	return io.NopCloser(r), nil
}

func streamOf(size int64, text string) stream {
	return stream{size, func() (io.Reader, error) { return strings.NewReader(text), nil }}
}

func TestCopyContent(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name    string
		content queue.Content
		want    string
		cause   error
	}{
		{"in memory", queue.String("abc"), "abc", nil},
		{"bytes", queue.Bytes("abc"), "abc", nil},
		{"nothing", queue.Bytes(nil), "", nil},
		{"a stream", streamOf(3, "abc"), "abc", nil},
		{"a stream of unknown size", streamOf(-1, "abc"), "abc", nil},
		{"shorter than it said", streamOf(4, "abc"), "", queue.ErrSize},
		{"longer than it said", streamOf(2, "abc"), "", queue.ErrSize},
		{"longer than nothing", streamOf(0, "abc"), "", queue.ErrSize},
		{"does not open", stream{3, func() (io.Reader, error) { return nil, broken }}, "", broken},
		{"breaks half way", stream{3, func() (io.Reader, error) {
			return io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), nil
		}}, "", broken},
		{"endless", stream{10, func() (io.Reader, error) { return zeros{}, nil }}, "", queue.ErrSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			n, err := queue.CopyContent(t.Context(), &b, tt.content)
			if tt.cause == nil {
				if err != nil || n != int64(len(tt.want)) || b.String() != tt.want {
					t.Errorf("CopyContent = %d, %v, wrote %q, want %q", n, err, &b, tt.want)
				}
				return
			}
			var e *queue.MessageError
			if !errors.As(err, &e) || e.Field != "Content" || !errors.Is(err, tt.cause) {
				t.Errorf("CopyContent = %v, want a *MessageError of %v", err, tt.cause)
			}
		})
	}
}

func TestCopyContentOtherErrors(t *testing.T) {
	t.Run("the writer's error is no error of the content", func(t *testing.T) {
		_, err := queue.CopyContent(t.Context(), failing{}, streamOf(3, "abc"))
		if !errors.Is(err, queue.ErrFull) || errors.As(err, new(*queue.MessageError)) {
			t.Errorf("CopyContent = %v, want ErrFull as it is", err)
		}
	})
	t.Run("it ends with its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := queue.CopyContent(ctx, io.Discard, stream{-1, func() (io.Reader, error) { return zeros{}, nil }})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("CopyContent = %v, want context.Canceled", err)
		}
	})
}

// failing is a writer that is full.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, queue.ErrFull }

// zeros is a reader that never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
