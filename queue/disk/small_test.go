package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// contentOf is a content that no other message has.
func contentOf(n int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("content %5d\r\n", n)), 300)
}

// putContents puts messages with contents of their own and returns those as the
// spool has them.
func putContents(t *testing.T, s *Spool, n int) []queue.Content {
	t.Helper()
	list := make([]queue.Content, n)
	for i := range list {
		id, err := s.Put(t.Context(), time.Unix(1e9, 0), &queue.Message{
			Recipients: []queue.Recipient{{Address: "a@example.com"}}, Content: queue.Bytes(contentOf(i))})
		if err != nil {
			t.Fatal(err)
		}
		if list[i], err = s.Open(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func TestContentBuffers(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list := putContents(t, s, 20)

	t.Run("a closed reader yields an error and no bytes", func(t *testing.T) {
		r := reader(t, list[0])
		half := make([]byte, 100)
		if _, err := io.ReadFull(r, half); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		}
		other := reader(t, list[1])
		defer other.Close()
		if n, err := r.Read(half); n != 0 || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Read after Close = %d, %v; want ErrClosed", n, err)
		}
		if n, err := io.Copy(io.Discard, r); n != 0 || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Copy after Close = %d, %v; want ErrClosed", n, err)
		}
		if got, err := io.ReadAll(other); err != nil || !bytes.Equal(got, contentOf(1)) {
			t.Errorf("another reader yields %d bytes, %v; want its own content", len(got), err)
		}
	})
	t.Run("a reader closed twice gives its buffer to one other", func(t *testing.T) {
		r := reader(t, list[2])
		_, _ = r.Close(), r.Close()
		a, b := reader(t, list[3]), reader(t, list[4])
		defer a.Close()
		defer b.Close()
		for i, r := range []io.Reader{a, b} {
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, contentOf(3+i)) {
				t.Errorf("reader %d yields other bytes, %v", i, err)
			}
		}
	})
	t.Run("a writer keeps what it was given until it returns", func(t *testing.T) {
		r := reader(t, list[5])
		w := writerFunc(func(p []byte) (int, error) {
			_ = r.Close()
			other := reader(t, list[6])
			defer other.Close()
			if !bytes.Equal(p, contentOf(5)) {
				t.Error("closing the reader changed what a writer was given")
			}
			return len(p), nil
		})
		if n, err := io.Copy(w, r); err != nil || n != int64(len(contentOf(5))) {
			t.Errorf("Copy = %d, %v", n, err)
		}
	})
	t.Run("many readers at once", func(t *testing.T) { readAtOnce(t, list) })
	t.Run("a reader outlives the spool", func(t *testing.T) {
		r := reader(t, list[7])
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, contentOf(7)) {
			t.Errorf("after Close of the spool %d bytes, %v", len(got), err)
		}
		_ = r.Close()
	})
}

// readAtOnce has goroutines read different contents in different ways.
func readAtOnce(t *testing.T, list []queue.Content) {
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for round := range 200 {
				n := (g*7 + round) % len(list)
				r, err := list[n].Open()
				if err != nil {
					t.Error(err)
					return
				}
				var got bytes.Buffer
				if round%2 == 0 {
					_, err = io.Copy(&got, r)
				} else {
					_, err = io.Copy(&got, struct{ io.Reader }{r})
				}
				_ = r.Close()
				if err != nil || !bytes.Equal(got.Bytes(), contentOf(n)) {
					t.Errorf("message %d: %d bytes, %v; want its content", n, got.Len(), err)
					return
				}
			}
		})
	}
	group.Wait()
}

func reader(t *testing.T, c queue.Content) io.ReadCloser {
	t.Helper()
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
