package queue_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestContents holds every kind of content of this package to the contract of
// Content.
func TestContents(t *testing.T) {
	const text = "Subject: hello\r\n\r\nHello.\r\n"
	kinds := map[string]func(t *testing.T, text string) queue.Content{
		"Bytes":  func(_ *testing.T, text string) queue.Content { return queue.Bytes(text) },
		"String": func(_ *testing.T, text string) queue.Content { return queue.String(text) },
		"File": func(t *testing.T, text string) queue.Content {
			path := filepath.Join(t.TempDir(), "message")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return queue.File(path)
		},
	}
	for name, make := range kinds {
		for _, text := range []string{text, "", strings.Repeat("0123456789\r\n", 20_000)} {
			t.Run(name, func(t *testing.T) {
				c := make(t, text)
				if c.Size() != int64(len(text)) {
					t.Errorf("Size = %d, want %d", c.Size(), len(text))
				}
				checkReaders(t, c, text)
			})
		}
	}
}

// checkReaders opens the content by several at once, each from its beginning.
func checkReaders(t *testing.T, c queue.Content, want string) {
	t.Helper()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			r, err := c.Open()
			if err != nil {
				t.Error(err)
				return
			}
			if err := iotest.TestReader(io.MultiReader(r), []byte(want)); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestBytesOf(t *testing.T) {
	b := queue.Bytes("abc")
	if got := queue.BytesOf(b); len(got) != 3 || &got[0] != &b[0] {
		t.Errorf("BytesOf(Bytes) = %q, or a copy", got)
	}
	for _, c := range []queue.Content{queue.String("abc"), queue.File("abc"), nil} {
		if got := queue.BytesOf(c); got != nil {
			t.Errorf("BytesOf(%T) = %q, want nil", c, got)
		}
	}
}

func TestFilesThatAreNot(t *testing.T) {
	t.Run("no such file", func(t *testing.T) {
		f := queue.File(filepath.Join(t.TempDir(), "none"))
		if f.Size() != -1 {
			t.Errorf("Size = %d, want -1", f.Size())
		}
		if _, err := f.Open(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open: %v", err)
		}
	})
	t.Run("a directory", func(t *testing.T) {
		f := queue.File(t.TempDir())
		if f.Size() != -1 {
			t.Errorf("Size = %d, want -1", f.Size())
		}
		r, err := f.Open()
		if err == nil {
			_, err = io.ReadAll(r)
			_ = r.Close()
		}
		if err == nil {
			t.Error("read to its end")
		}
	})
}
