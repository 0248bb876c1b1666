package sign_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/internal/sign"
	"github.com/nexthop-mail/nexthop/queue"
)

// guard calls a function, and keeps its panic.
func guard(f func()) (ok bool) {
	defer func() { _ = recover() }()
	f()
	return true
}

func hook(call func(context.Context, *queue.Message) (queue.Content, error)) sign.Hook {
	return sign.Hook{Call: call, Guard: guard}
}

// faulty is content, and its own reader, that panics at one of its methods.
type faulty struct{ at string }

func (f faulty) step(name string) {
	if f.at == name {
		panic(name)
	}
}

func (f faulty) Size() int64 { f.step("size"); return 2 }

func (f faulty) Open() (io.ReadCloser, error) {
	f.step("open")
	if f.at == "error" {
		return nil, io.ErrNoProgress
	}
	return f, nil
}

func (f faulty) Read(p []byte) (int, error) { f.step("read"); return copy(p, "ab"), io.EOF }
func (f faulty) Close() error               { f.step("close"); return nil }

// TestHook: what the hook returns is returned, also no content and an error, a panic is an
// error, and the message stays as it was.
func TestHook(t *testing.T) {
	refused := errors.New("refused")
	for _, c := range []struct {
		name    string
		content queue.Content
		err     error
		panics  bool
		want    error
	}{
		{"octets", queue.Bytes("signed"), nil, false, nil},
		{"no content", nil, nil, false, nil},
		{"an error", nil, refused, false, refused},
		{"an error with content", faulty{}, refused, false, refused},
		{"a panic", queue.Bytes("signed"), nil, true, sign.ErrPanic},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &queue.Message{From: "a@example.org"}
			got, err := hook(func(_ context.Context, m *queue.Message) (queue.Content, error) {
				m.From = "changed"
				if c.panics {
					panic("hook")
				}
				return c.content, c.err
			}).Sign(t.Context(), m)
			if !errors.Is(err, c.want) || m.From != "a@example.org" {
				t.Errorf("the error is %v, want %v; the message is from %s", err, c.want, m.From)
			}
			if octets := c.content != nil && c.want == nil; octets && string(queue.BytesOf(got)) != "signed" || !octets && err == nil && got != nil {
				t.Errorf("the content is %v", got)
			}
		})
	}
}

// TestContent: content of the application is read as it is, and its panics are errors.
func TestContent(t *testing.T) {
	for at, want := range map[string]error{
		"": nil, "size": nil, "open": sign.ErrPanic, "error": io.ErrNoProgress, "read": sign.ErrPanic, "close": sign.ErrPanic,
	} {
		t.Run("a panic at "+at, func(t *testing.T) {
			c, err := hook(func(context.Context, *queue.Message) (queue.Content, error) { return faulty{at}, nil }).Sign(t.Context(), &queue.Message{})
			if err != nil {
				t.Fatal(err)
			}
			size := int64(2)
			if at == "size" {
				size = -1
			}
			if got := c.Size(); got != size {
				t.Errorf("the size is %d, want %d", got, size)
			}
			r, err := c.Open()
			text := []byte("ab")
			if err == nil {
				text, err = io.ReadAll(r)
				err = errors.Join(err, r.Close())
			}
			if !errors.Is(err, want) || want == nil && (err != nil || string(text) != "ab") {
				t.Errorf("it is %q, and the error %v, want %v", text, err, want)
			}
		})
	}
}
