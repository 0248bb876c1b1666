package disk

import (
	"errors"
	"io"
	"testing"
)

// TestWriteOfAPart has a writer take a part of a content, with an error or without: the
// rest can be read afterwards, and nothing while it is at it.
func TestWriteOfAPart(t *testing.T) {
	odd := errors.New("odd")
	for _, c := range []struct{ err, want error }{{nil, io.ErrShortWrite}, {odd, odd}} {
		_, s := openSmall(t)
		content, err := s.Open(t.Context(), mustPut(t, s))
		must(t, err)
		r, err := content.Open()
		must(t, err)
		n, err := r.(io.WriterTo).WriteTo(writerFunc(func(p []byte) (int, error) {
			if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
				t.Errorf("while it is written, %d bytes are read: %v", n, err)
			}
			return 2, c.err
		}))
		if n != 2 || !errors.Is(err, c.want) {
			t.Errorf("a writer that takes 2 bytes, with %v: %d, %v", c.err, n, err)
		}
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "llo" {
			t.Errorf("the rest is %q, %v", rest, err)
		}
		must(t, r.Close())
	}
}

// TestProblemInWords has problems with and without a place and messages.
func TestProblemInWords(t *testing.T) {
	bad := errors.New("bad")
	for want, p := range map[string]Problem{
		"f: bad":                        {File: "f", Offset: -1, Err: bad},
		"f at 0: bad":                   {File: "f", Err: bad},
		"f at 512: bad; messages [a b]": {File: "f", Offset: 512, Err: bad, Messages: []string{"a", "b"}},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v is %q, want %q", p, got, want)
		}
	}
}
