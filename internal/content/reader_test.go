package content_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/internal/content"
)

var errBroken = errors.New("broken")

// failing breaks off in the middle.
func failing(r io.Reader) io.Reader {
	return io.MultiReader(io.LimitReader(r, int64(len(filler))-100), iotest.ErrReader(errBroken))
}

// badReader answers every Read with n octets and err, whatever there is room for.
type badReader struct {
	n   int
	err error
}

func (r badReader) Read([]byte) (int, error) { return r.n, r.err }

// TestFalseSources: what cannot be read, or is not what was announced, is not
// prepared. It is tried again: a file may be in the middle of being written.
func TestFalseSources(t *testing.T) {
	long := filler + "x\r\n"
	size := int64(len(long))
	bad := func(r badReader) func(io.Reader) io.Reader { return func(io.Reader) io.Reader { return r } }
	cases := []struct {
		name  string
		s     content.Source
		cause error
	}{
		{"shorter than announced", stream{"a\r\n", 4, whole}, nil},
		{"longer than announced", stream{"a\r\n", 2, whole}, nil},
		{"empty but announced", stream{"", 1, whole}, nil},
		{"announced as empty", stream{"a\r\n", 0, whole}, nil},
		{"announced as endless", stream{"a\r\n", 1 << 62, whole}, nil},
		{"long, shorter than announced", stream{long, size + 1, whole}, nil},
		{"long, longer than announced", stream{long, size - 1, whole}, nil},
		{"fails at once", stream{"", -1, bad(badReader{0, errBroken})}, errBroken},
		{"fails with the last octet", stream{"a\r\n", 3, func(r io.Reader) io.Reader {
			return iotest.DataErrReader(io.MultiReader(r, iotest.ErrReader(errBroken)))
		}}, errBroken},
		{"fails half way", stream{long, size, failing}, errBroken},
		{"is cut off", stream{"a", 1, func(r io.Reader) io.Reader {
			return io.MultiReader(r, iotest.ErrReader(io.ErrUnexpectedEOF))
		}}, io.ErrUnexpectedEOF},
		{"never reads anything", stream{"", -1, bad(badReader{0, nil})}, io.ErrNoProgress},
		{"reads more than there is room for", stream{"", -1, bad(badReader{1 << 30, nil})}, nil},
		{"reads less than nothing", stream{"", -1, bad(badReader{-1, nil})}, nil},
		{"does not open", closing{open: errBroken}, errBroken},
		{"does not close", closing{close: errBroken}, errBroken},
	}
	for _, c := range cases {
		t.Run("FAULTS content: "+c.name, func(t *testing.T) {
			_, err := content.Prepare(c.s, content.Origin)
			checkTemporary(t, err)
			if !errors.Is(err, c.cause) && c.cause != nil {
				t.Errorf("error %v, want it to wrap %v", err, c.cause)
			}
		})
	}
}

func checkTemporary(t *testing.T, err error) {
	t.Helper()
	var e *content.Error
	if !errors.As(err, &e) || !e.Temporary() || e.Enhanced != "4.3.0" || e.Error() == "" {
		t.Errorf("error %v, want a temporary *Error", err)
	}
}

// closing is an empty source that does not open, or not close.
type closing struct{ open, close error }

func (c closing) Size() int64                  { return 0 }
func (c closing) Open() (io.ReadCloser, error) { return c, c.open }
func (c closing) Read([]byte) (int, error)     { return 0, io.EOF }
func (c closing) Close() error                 { return c.close }

// TestChangingSources: a source that is another when it is sent never yields its
// last octet.
func TestChangingSources(t *testing.T) {
	data := filler + "last\r\n"
	cut := func(n int) func(io.Reader) io.Reader {
		return func(r io.Reader) io.Reader { return io.LimitReader(r, int64(len(data)-n)) }
	}
	other := func(s string) func(io.Reader) io.Reader {
		return func(io.Reader) io.Reader { return strings.NewReader(s) }
	}
	for name, second := range map[string]func(io.Reader) io.Reader{
		"shrinks":                    cut(100),
		"shrinks by the last octet":  cut(1),
		"shrinks to nothing":         other(""),
		"grows":                      other(data + "x\r\n"),
		"grows without end":          func(io.Reader) io.Reader { return endless{} },
		"loses a line":               other(filler + "\r\n"),
		"has another octet":          other("x" + data[1:]),
		"has another last octet":     other(data[:len(data)-3] + "x\r\n"),
		"has two octets in turn":     other("10" + data[2:]),
		"gets other line ends":       other(strings.ReplaceAll(data, "\r\n", "\n")),
		"breaks":                     failing,
		"breaks at the last octet":   func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(errBroken)) },
		"never reads anything again": func(io.Reader) io.Reader { return badReader{0, nil} },
	} {
		t.Run("FAULTS content: "+name+" before it is sent", func(t *testing.T) {
			opened := 0
			b := prepare(t, stream{data, int64(len(data)), func(r io.Reader) io.Reader {
				if opened++; opened > 1 {
					return second(r)
				}
				return r
			}}, content.Origin)
			r, err := b.Open()
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			checkTemporary(t, err)
			if n >= b.Size() {
				t.Errorf("%d of %d octets", n, b.Size())
			}
			if again, err := r.Read(make([]byte, 1)); again != 0 || err == nil || err == io.EOF {
				t.Errorf("the next Read gives %d, %v", again, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("FAULTS content: does not open again", func(t *testing.T) {
		s := &vanishing{stream: streamOf(data)}
		b := prepare(t, s, content.Origin)
		_, err := b.Open()
		checkTemporary(t, err)
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, "0123456789\r\n"), nil }

type vanishing struct {
	stream
	opened bool
}

func (v *vanishing) Open() (io.ReadCloser, error) {
	if v.opened {
		return nil, errBroken
	}
	v.opened = true
	return v.stream.Open()
}

func TestReaders(t *testing.T) {
	data := filler + "a\nb"
	want := plainly(data)
	t.Run("io.Reader", func(t *testing.T) {
		b := prepare(t, streamOf(data), content.Origin)
		r, err := b.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(io.MultiReader(r), []byte(want)); err != nil {
			t.Error(err)
		}
	})
	t.Run("several at once", func(t *testing.T) {
		b := prepare(t, streamOf(data), content.Origin)
		done := make(chan string)
		for range 4 {
			go func() {
				r, err := b.Open()
				if err != nil {
					done <- err.Error()
					return
				}
				got, err := io.ReadAll(r)
				if err != nil {
					got = []byte(err.Error())
				}
				_ = r.Close()
				done <- string(got)
			}()
		}
		for range 4 {
			if got := <-done; got != want {
				t.Errorf("%d octets, %.80q", len(got), got)
			}
		}
	})
	t.Run("closed half way", func(t *testing.T) {
		b := prepare(t, streamOf(data), content.Origin)
		r, err := b.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, 100); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("Read after Close gives %d, %v", n, err)
		}
	})
	t.Run("memory given back is not seen again", func(t *testing.T) {
		first, err := content.Prepare(streamOf("first\r\n"), content.Origin)
		if err != nil {
			t.Fatal(err)
		}
		second := prepare(t, streamOf("second\r\n"), content.Origin)
		first.Release()
		first.Release() // does nothing
		third := prepare(t, streamOf("third\r\n"), content.Origin)
		if string(second.Bytes()) != "second\r\n" || string(third.Bytes()) != "third\r\n" {
			t.Errorf("second is %q, third %q", second.Bytes(), third.Bytes())
		}
	})
}
