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
		times, before := 0, descriptors(t)
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
		if n := descriptors(t); n >= 0 && n != before+1 {
			t.Errorf("replaced %v: %d descriptors are open, and were %d", replaced, n, before)
		}
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

// TestOtherLocksOfTheFile has the file locked by a program that knows nothing of the
// directory, as it is where directories cannot be locked. What fails leaves nothing open.
func TestOtherLocksOfTheFile(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "lock"))
	must(t, err)
	must(t, vfs.TryLock(f))
	before := descriptors(t)
	for _, write := range []bool{true, false} {
		if l, err := vfs.OS(dir).Lock("lock", write); !errors.Is(err, vfs.ErrLocked) {
			t.Errorf("to write %v: a second lock = %v, %v, want ErrLocked", write, l, err)
		}
	}
	if _, err := vfs.OS(filepath.Join(dir, "none")).Lock("lock", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock of a directory that is not there = %v", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, and were %d", after, before)
	}
	must(t, f.Close())
	l, err := vfs.OS(dir).Lock("lock", true)
	must(t, err)
	must(t, l.Close())
	if after := descriptors(t); before >= 0 && after != before-1 {
		t.Errorf("%d descriptors are open after the lock was given up, want %d", after, before-1)
	}
}

// descriptors is how many the process has, where that can be found out.
func descriptors(t *testing.T) int {
	t.Helper()
	_ = vfs.IsFull(nil) // whoever counts calls of this package has a file open by now
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}

// TestWhatIsNoLock tells a lock that somebody holds from a file system that has none
// and from other errors.
func TestWhatIsNoLock(t *testing.T) {
	for _, c := range []struct{ err, want, not error }{
		{nil, nil, vfs.ErrNoLock},
		{syscall.EWOULDBLOCK, vfs.ErrLocked, vfs.ErrNoLock},
		{syscall.ENOLCK, vfs.ErrNoLock, vfs.ErrLocked},
		{syscall.ENOSYS, vfs.ErrNoLock, vfs.ErrLocked},
		{syscall.EIO, syscall.EIO, vfs.ErrNoLock},
	} {
		if err := vfs.LockError(c.err); !errors.Is(err, c.want) || errors.Is(err, c.not) {
			t.Errorf("a lock that fails with %v = %v, want %v", c.err, err, c.want)
		}
	}
}

// TestDirectoryThatCannotBeLocked has the lock of the file do.
func TestDirectoryThatCannotBeLocked(t *testing.T) {
	d, err := os.Open(t.TempDir())
	must(t, err)
	must(t, d.Close())
	if err := vfs.LockDir(d); err != nil {
		t.Errorf("the lock of what cannot be locked = %v", err)
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
