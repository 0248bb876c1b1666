package content_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/content"
)

// memory is a source in memory.
type memory []byte

func (m memory) Size() int64                  { return int64(len(m)) }
func (m memory) Bytes() []byte                { return m }
func (m memory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }

// stream is a source that must be read, through wrap. Its size may be a lie.
type stream struct {
	data string
	size int64
	wrap func(io.Reader) io.Reader
}

func (s stream) Size() int64 { return s.size }
func (s stream) Open() (io.ReadCloser, error) {
	return io.NopCloser(s.wrap(strings.NewReader(s.data))), nil
}

func streamOf(data string) stream { return stream{data, int64(len(data)), whole} }

func whole(r io.Reader) io.Reader { return r }

// pieces makes a reader yield n octets at a time after the first skip.
func pieces(skip int64, n int) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, skip), pieceReader{r, n})
	}
}

type pieceReader struct {
	io.Reader
	n int
}

func (r pieceReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(r.n, len(p))]) }

// filler is longer than what is held in memory, so that what follows it is
// streamed. Its lines are long because that is faster.
var filler = strings.Repeat(strings.Repeat("0123456789", 99)+"\r\n", 1<<20/992+1)

// plainly is the canonical form, by the definition and slowly.
func plainly(data string) string {
	s := strings.ReplaceAll(data, "\r\n", "\n")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r", "\n"), "\n", "\r\n")
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\r\n"
	}
	return s
}

func prepare(t *testing.T, s content.Source, p content.Policy) content.Body {
	t.Helper()
	b, err := content.Prepare(s, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Release)
	return b
}

func read(t *testing.T, b *content.Body) string {
	t.Helper()
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return string(got)
}
