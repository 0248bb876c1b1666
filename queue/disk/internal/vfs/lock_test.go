//go:build unix && !aix && (!solaris || illumos)

package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
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

// TestLockWhereTheFileIsDeleted has many take the lock of the file alone, as where
// directories cannot be locked, while those who have it delete the file before
// they give it up: no two have it at once, whichever of the files they opened.
func TestLockWhereTheFileIsDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders, times atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for times.Load() < 3000 {
				f, err := vfs.LockFile(path, true)
				if errors.Is(err, vfs.ErrLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n > 1 {
					t.Errorf("%d have the lock", n)
				}
				holders.Add(-1)
				if times.Add(1)%2 == 0 {
					_ = os.Remove(path)
				}
				_ = f.Close()
			}
		})
	}
	group.Wait()
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
