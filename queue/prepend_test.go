package queue_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestPrepend puts a field before contents of every kind, twice, and reads them more than
// once.
func TestPrepend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(path, []byte("S: s\r\n\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 2<<20)
	for name, c := range map[string]struct {
		content queue.Content
		want    string
		memory  bool
	}{
		"bytes":      {queue.Bytes("S: s\r\n\r\n"), "S: s\r\n\r\n", true},
		"nothing":    {queue.Bytes{}, "", true},
		"long bytes": {queue.Bytes(long), long, false},
		"a string":   {queue.String("S: s\r\n\r\n"), "S: s\r\n\r\n", false},
		"a file":     {queue.File(path), "S: s\r\n\r\n", false},
	} {
		got := queue.Prepend("A: 2\r\n", queue.Prepend("A: 1\r\n", c.content))
		want := "A: 2\r\nA: 1\r\n" + c.want
		if got.Size() != int64(len(want)) || (queue.BytesOf(got) != nil) != c.memory {
			t.Errorf("%s: size %d, want %d; in memory: %t", name, got.Size(), len(want), queue.BytesOf(got) != nil)
		}
		for range 2 {
			r, err := got.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil || string(text) != want || r.Close() != nil {
				t.Errorf("%s: %d octets, %v, want %d", name, len(text), err, len(want))
			}
		}
	}
	original := make(queue.Bytes, 3, 100)
	if queue.Prepend("abc", original); string(original[:3]) != "\x00\x00\x00" {
		t.Error("the content was changed")
	}
	gone := queue.Prepend("A: 1\r\n", queue.File(path+"none"))
	if _, err := gone.Open(); !errors.Is(err, os.ErrNotExist) || gone.Size() != -1 {
		t.Errorf("a file there is not: %v, size %d", err, gone.Size())
	}
}
