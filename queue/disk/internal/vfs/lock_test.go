//go:build unix && !aix && (!solaris || illumos)

package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// TestLockOutlivesItsFile has the file of a lock that is held deleted, and
// perhaps made anew by somebody who does not know it: it lets nobody else in.
func TestLockOutlivesItsFile(t *testing.T) {
	for _, again := range []bool{false, true} {
		dir := t.TempDir()
		l, err := vfs.OS(dir).Lock("lock", true)
		must(t, err)
		must(t, os.Remove(filepath.Join(dir, "lock")))
		if again {
			must(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
		}
		for _, write := range []bool{true, false} {
			if l, err := vfs.OS(dir).Lock("lock", write); !errors.Is(err, vfs.ErrLocked) {
				t.Errorf("made anew %v, to write %v: a second lock = %v, %v, want ErrLocked", again, write, l, err)
			}
		}
		must(t, l.Close())
		l, err = vfs.OS(dir).Lock("lock", true)
		must(t, err)
		must(t, l.Close())
	}
}

// TestLockIsOnTheFileOfThatName has the file deleted, or replaced, between the
// opening and the locking: the lock is on the one that bears the name.
func TestLockIsOnTheFileOfThatName(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "lock")
		times := 0
		f, err := vfs.LockNamed(path, func() (*os.File, error) {
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			if times++; times == 1 {
				must(t, os.Remove(path))
			}
			if times == 1 && replaced {
				must(t, os.WriteFile(path, nil, 0o600))
			}
			return f, err
		})
		must(t, err)
		mine, err := f.Stat()
		must(t, err)
		named, err := os.Stat(path)
		must(t, err)
		if !os.SameFile(mine, named) {
			t.Errorf("replaced %v: the lock is on a file without a name", replaced)
		}
		must(t, f.Close())
	}
}

// TestLockToLook locks a directory without changing anything in it.
func TestLockToLook(t *testing.T) {
	dir := t.TempDir()
	l, err := vfs.OS(dir).Lock("lock", false)
	must(t, err)
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("the directory has %v, %v", list, err)
	}
	if _, err := vfs.OS(dir).Lock("lock", true); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a lock beside one that only looks = %v, want ErrLocked", err)
	}
	must(t, l.Close())
	must(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o400))
	l, err = vfs.OS(dir).Lock("lock", false)
	must(t, err)
	must(t, l.Close())
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	must(t, os.Mkdir(filepath.Join(dir, "lock"), 0o700))
	if _, err := vfs.OS(dir).Lock("lock", true); err == nil || errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a lock whose file cannot be opened = %v, want the cause", err)
	}
}

// TestSyncsReachTheSystem has the system answer for what cannot be synced: whoever
// does not ask it would not know.
func TestSyncsReachTheSystem(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	if err := vfs.FileOf(w).Sync(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Sync of a pipe = %v, want EINVAL", err)
	}
	d := vfs.OS(t.TempDir())
	l, err := d.Lock("lock", true)
	must(t, err)
	must(t, vfs.CloseHandle(d))
	if err := d.SyncDir(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("SyncDir of a directory whose handle is closed = %v, want ErrClosed", err)
	}
	_ = l.Close()
	if err := vfs.OSTree().SyncDir("/does/not/exist"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of a directory that is not there = %v", err)
	}
}

// TestDirectoriesThatCannotBeSynced tells a file system that has no such call
// from a device that failed.
func TestDirectoriesThatCannotBeSynced(t *testing.T) {
	for err, fails := range map[error]bool{
		nil: false, syscall.EINVAL: false, syscall.ENOTSUP: false, syscall.ENOSYS: false, syscall.EBADF: false,
		syscall.EIO: true, syscall.ENOSPC: true, syscall.EROFS: true, syscall.EDQUOT: true,
	} {
		wrapped := err
		if err != nil {
			wrapped = &fs.PathError{Op: "sync", Path: "dir", Err: err}
		}
		if got := vfs.DirSynced(wrapped); got != nil != fails {
			t.Errorf("the sync of a directory that says %v is %v", err, got)
		}
	}
}

// TestUnreadable tells a bad sector from what says nothing about what is stored.
func TestUnreadable(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EIO: true, &fs.PathError{Err: syscall.EIO}: true,
		nil: false, syscall.EMFILE: false, syscall.EACCES: false, fs.ErrClosed: false, fs.ErrNotExist: false,
	} {
		if got := vfs.IsUnreadable(err); got != want {
			t.Errorf("IsUnreadable(%v) = %v", err, got)
		}
	}
}
