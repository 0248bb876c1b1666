package queuetest

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/queue"
)

func contentChecks() []check {
	return []check{
		{ruleP5, "a stream is read once", 0, readOnce},
		{ruleP5, "a stream of unknown size is stored", 0, unknownSize},
		{ruleP5, "content that cannot be read is not put", 0, brokenContent},
	}
}

// source is content that is a stream, as honest as its maker.
type source struct {
	size  int64
	open  func() (io.Reader, error)
	opens atomic.Int32
}

// Size is what the maker says.
func (s *source) Size() int64 { return s.size }

// Open counts.
func (s *source) Open() (io.ReadCloser, error) {
	s.opens.Add(1)
	rd, err := s.open()
	if err != nil {
		return nil, err
	}
	return io.NopCloser(rd), nil
}

// stream is content of some size that reads as text, a few bytes at a time.
func stream(size int64, text string) *source {
	return &source{size: size, open: func() (io.Reader, error) {
		return iotest.HalfReader(strings.NewReader(text)), nil
	}}
}

func readOnce(r *run) {
	text := strings.Repeat("0123456789abcde\n", 20_000)
	m, s := r.message("a@one.example", "b@two.example"), stream(int64(len(text)), text)
	m.Content = s
	id := r.put(m)
	if n := s.opens.Load(); n != 1 {
		r.Errorf("Put opened the content %d times, want once", n)
	}
	if got := r.content(id); got != text {
		r.Errorf("the content came back with %d bytes, want the %d that were put", len(got), len(text))
	}
}

func unknownSize(r *run) {
	m := r.message()
	m.Content = stream(-1, "some text")
	id := r.put(m)
	if got := r.content(id); got != "some text" {
		r.Errorf("the content is %q, want %q", got, "some text")
	}
	if d := r.one(); d.Size != 9 {
		r.Errorf("Size is %d, want 9", d.Size)
	}
}

func brokenContent(r *run) {
	broken := errors.New("broken on purpose")
	for _, c := range []struct {
		name    string
		content queue.Content
		cause   error
	}{
		{"shorter than it said", stream(10, "nine byte"), queue.ErrSize},
		{"longer than it said", stream(8, "nine byte"), queue.ErrSize},
		{"does not open", &source{open: func() (io.Reader, error) { return nil, broken }}, broken},
		{"fails half way", &source{size: 9, open: func() (io.Reader, error) {
			return io.MultiReader(strings.NewReader("nine"), iotest.ErrReader(broken)), nil
		}}, broken},
		{"fails at the end", &source{size: -1, open: func() (io.Reader, error) {
			return io.MultiReader(strings.NewReader("nine byte"), iotest.ErrReader(broken)), nil
		}}, broken},
	} {
		m := r.message()
		m.Content = c.content
		var e *queue.MessageError
		_, err := r.q.Put(r.ctx, r.now, m)
		if !errors.As(err, &e) || e.Field != "Content" || !errors.Is(err, c.cause) {
			r.Errorf("content that %s: Put = %v, want a *MessageError about Content because of %v", c.name, err, c.cause)
		}
	}
	r.none("after content that could not be read")
}
