package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// TestLockFails tells what it means that the lock of a directory cannot be had.
func TestLockFails(t *testing.T) {
	for _, c := range []struct {
		cause, want error
	}{
		{vfs.ErrLocked, ErrLocked},
		{errors.Join(vfs.ErrNoLock, syscall.ENOLCK), ErrNoLock},
		{syscall.EACCES, syscall.EACCES},
		{syscall.EMFILE, syscall.EMFILE},
	} {
		f, _ := filled(t, 40)
		f.Inject(func(op crashfs.Op, _ string) error {
			if op == crashfs.OpLock {
				return c.cause
			}
			return nil
		})
		for name, call := range map[string]func() error{
			"Open":  func() error { _, err := open(f, small()); return err },
			"Check": func() error { _, err := check(f); return err },
			"Dump":  func() error { return dump(f, &bytes.Buffer{}) },
		} {
			err := call()
			if !errors.Is(err, c.want) || errors.Is(err, ErrLocked) != (c.want == ErrLocked) {
				t.Errorf("%s where the lock answers %q = %v, want %v", name, c.cause, err, c.want)
			}
		}
	}
}

// TestCheckAndDumpChangeNothing looks into a directory that cannot be written, or
// that has never had a lock, as a copy or a snapshot has not.
func TestCheckAndDumpChangeNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	must(t, err)
	mustPut(t, s)
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(dir, lockName)))
	before, err := os.ReadDir(dir)
	must(t, err)
	must(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	if problems, err := Check(dir); err != nil || len(problems) > 0 {
		t.Errorf("Check = %v, %v", problems, err)
	}
	var out bytes.Buffer
	if err := Dump(dir, &out); err != nil || out.Len() == 0 {
		t.Errorf("Dump = %v, %d bytes", err, out.Len())
	}
	after, err := os.ReadDir(dir)
	must(t, err)
	if names(before) != names(after) {
		t.Errorf("the directory has %s, and had %s", names(after), names(before))
	}

	f, _ := filled(t, 40)
	f.Inject(func(op crashfs.Op, name string) error {
		if op <= crashfs.OpSyncDir {
			return syscall.EROFS
		}
		return nil
	})
	if problems, err := check(f); err != nil || len(problems) > 0 {
		t.Errorf("Check where nothing can be written = %v, %v", problems, err)
	}
	if err := dump(f, &bytes.Buffer{}); err != nil {
		t.Errorf("Dump where nothing can be written = %v", err)
	}
}

func names(list []fs.DirEntry) (all string) {
	for _, e := range list {
		all += e.Name() + " "
	}
	return all
}
