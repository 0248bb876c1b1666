package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// TestAllocate has room set aside for a file, by the file system or by filling it, and
// what is in it stay.
func TestAllocate(t *testing.T) {
	dir := t.TempDir()
	for name, allocate := range map[string]func(*os.File, int64) error{
		"by the file system": func(f *os.File, size int64) error { return vfs.FileOf(f).Allocate(size) },
		"by filling":         vfs.FillUp,
	} {
		f, err := os.Create(filepath.Join(dir, "file"))
		must(t, err)
		for _, size := range []int64{100, 100_000, 200_001, 50} {
			before := fileSize(t, f)
			must(t, allocate(f, size))
			if got, want := fileSize(t, f), max(size, before); got != want {
				t.Errorf("%s: %d bytes are %d, want %d", name, size, got, want)
			}
			if size == 100 {
				_, err := f.WriteAt([]byte("what is there"), 0)
				must(t, err)
			}
		}
		b, err := os.ReadFile(f.Name())
		must(t, err)
		if !bytes.HasPrefix(b, []byte("what is there")) {
			t.Errorf("%s: what was there has become %q", name, b[:13])
		}
		if name == "by filling" && (bytes.Contains(b, make([]byte, 16)) || bytes.Count(b, b[70_000:70_016]) != 1) {
			t.Errorf("%s: what fills the file can be compressed", name)
		}
		must(t, f.Close())
		if err := allocate(f, 300_000); !errors.Is(err, fs.ErrClosed) && !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s: room for a file that is closed: %v", name, err)
		}
		r, err := os.Open(f.Name())
		must(t, err)
		if err := allocate(r, 300_000); err == nil {
			t.Errorf("%s: room for a file that is only read", name)
		}
		must(t, r.Close())
	}
}

func fileSize(t *testing.T, f *os.File) int64 {
	t.Helper()
	n, err := vfs.FileOf(f).Size()
	must(t, err)
	return n
}

func TestCapacity(t *testing.T) {
	dir := t.TempDir()
	if n := vfs.OS(dir).Capacity(); n <= 0 && runtime.GOOS == "linux" {
		t.Errorf("a device of %d bytes", n)
	}
	if n := vfs.OS(filepath.Join(dir, "none")).Capacity(); n != 0 {
		t.Errorf("the device of a directory that is not there has %d bytes", n)
	}
}

// TestListOfFiles has a directory with more in it than files.
func TestListOfFiles(t *testing.T) {
	dir := t.TempDir()
	d := vfs.OS(dir)
	must(t, os.Mkdir(filepath.Join(dir, "directory"), 0o700))
	for _, name := range []string{"c", "a", "b"} {
		f, err := d.Create(name)
		must(t, err)
		must(t, f.Close())
	}
	list, err := d.List()
	must(t, err)
	if got := fmt.Sprint(list); got != "[{a 0} {b 0} {c 0}]" {
		t.Errorf("the files are %s", got)
	}
	if _, err := vfs.OS(filepath.Join(dir, "none")).List(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the list of a directory that is not there: %v", err)
	}
}

// TestSizeOfAClosedFile has the error of what cannot be had.
func TestSizeOfAClosedFile(t *testing.T) {
	f, err := vfs.OS(t.TempDir()).Create("file")
	must(t, err)
	must(t, f.Close())
	if _, err := f.Size(); err == nil {
		t.Error("a file that is closed has a size")
	}
}

// TestWhatPasses tells a lack of descriptors, and a file that is open, from others.
func TestWhatPasses(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has other numbers
	}
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE, &fs.PathError{Err: syscall.EMFILE}} {
		if !vfs.IsExhausted(err) || vfs.IsInUse(err) {
			t.Errorf("%v is no lack of descriptors", err)
		}
	}
	for _, err := range []error{nil, syscall.EIO, syscall.ENOSPC, fs.ErrExist} {
		if vfs.IsExhausted(err) || vfs.IsInUse(err) {
			t.Errorf("%v is a lack of descriptors, or a file that is open", err)
		}
	}
	if !vfs.IsInUse(fmt.Errorf("remove: %w", vfs.ErrInUse)) {
		t.Error("a file that is open is not told")
	}
}
