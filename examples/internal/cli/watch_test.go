package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "file"), filepath.Join(dir, "other")
	write := func(name, text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	old, later := time.Unix(1e9, 0), time.Unix(1e9+1, 0)
	write(file, "one", old)
	write(other, "two", old)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	w := &Watch{Files: []string{link, filepath.Join(dir, "none"), dir}}
	for _, c := range []struct {
		what string
		do   func() error
		want bool
	}{
		{"the first look", func() error { return nil }, false},
		{"nothing", func() error { return nil }, false},
		{"another time", func() error { return os.Chtimes(file, later, later) }, true},
		{"another length", func() error { write(file, "three", later); return nil }, true},
		{"a link to another file", func() error {
			write(other, "three", later)
			return os.Rename(other, file)
		}, true},
		{"a file that was not there", func() error { write(filepath.Join(dir, "none"), "", old); return nil }, true},
		{"nothing since", func() error { return nil }, false},
		{"a file that is gone", func() error { return os.Remove(file) }, true},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if got := w.Changed(); got != c.want {
			t.Errorf("%s: changed %t, want %t", c.what, got, c.want)
		}
	}
}
