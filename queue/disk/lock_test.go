package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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

// TestOpenWaits opens a spool that is in use: for as long as Options.Wait says, and no
// longer if nobody gives it back.
func TestOpenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name               string
			wait, inUse, after time.Duration
			want               error
		}{
			{"not at all", 0, time.Minute, 0, ErrLocked},
			{"a time below zero", -time.Second, time.Minute, 0, ErrLocked},
			{"until it is given back", time.Minute, 999 * time.Millisecond, time.Second, nil},
			{"until the wait is over", 1010 * time.Millisecond, time.Minute, 1010 * time.Millisecond, ErrLocked},
			{"given back at the last moment", time.Second, time.Second, time.Second, nil},
			{"not for any other error", time.Minute, 0, 0, ErrNoLock},
		} {
			f, _ := filled(t, 40)
			began := time.Now()
			f.Inject(func(op crashfs.Op, _ string) error {
				switch {
				case op == crashfs.OpLock && c.inUse == 0:
					return vfs.ErrNoLock
				case op == crashfs.OpLock && time.Since(began) < c.inUse:
					return vfs.ErrLocked
				}
				return nil
			})
			s, err := open(f, Options{Wait: c.wait})
			if !errors.Is(err, c.want) || time.Since(began) != c.after {
				t.Errorf("%s: %v after %v, want %v after %v", c.name, err, time.Since(began), c.want, c.after)
			}
			if err == nil {
				must(t, s.Close())
			}
		}
	})
}

// TestOpenNamesTheDirectory looks at what a person is told of a spool that is in use.
func TestOpenNamesTheDirectory(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	must(t, err)
	_, err = Open(dir, Options{Wait: time.Millisecond})
	if want := "disk: open " + dir + ": the spool is in use"; err == nil || err.Error() != want {
		t.Errorf("Open of an open spool = %v, want %q", err, want)
	}
	must(t, s.Close())
}
