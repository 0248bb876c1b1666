package vfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

func TestOS(t *testing.T) {
	d := vfs.OS(t.TempDir())
	f, err := d.Create("a")
	must(t, err)
	defer f.Close()
	if _, err := d.Create("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of an existing file = %v, want ErrExist", err)
	}
	if _, err := f.WriteAt([]byte("hello, world"), 0); err != nil {
		t.Fatal(err)
	}
	must(t, f.Sync())
	must(t, f.Truncate(5))
	must(t, d.Rename("a", "b"))
	must(t, d.SyncDir())
	list, err := d.List()
	must(t, err)
	if len(list) != 1 || list[0] != (vfs.Info{Name: "b", Size: 5}) {
		t.Errorf("List = %v, want b with 5 bytes", list)
	}
	g, err := d.Open("b", false)
	must(t, err)
	defer g.Close()
	if _, err := g.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened for reading took a write")
	}
	w, err := d.Open("b", true)
	must(t, err)
	if _, err := w.WriteAt([]byte("x"), 5); err != nil {
		t.Error("a file opened for writing takes none: ", err)
	}
	must(t, w.Close())
	must(t, d.Remove("b"))
	if _, err := d.Open("b", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a removed file = %v, want ErrNotExist", err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // no mode bits there
	}
	dir := t.TempDir()
	f, err := vfs.OS(dir).Create("a")
	must(t, err)
	defer f.Close()
	info, err := os.Stat(dir + "/a")
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, want 0600", info.Mode())
	}
}

// TestLock runs itself a second time as the other process.
func TestLock(t *testing.T) {
	const env = "NEXTHOP_VFS_LOCK_DIR"
	if dir := os.Getenv(env); dir != "" {
		_, err := vfs.OS(dir).Lock("lock", true)
		fmt.Printf("locked=%v", errors.Is(err, vfs.ErrLocked))
		return
	}
	dir := t.TempDir()
	l, err := vfs.OS(dir).Lock("lock", true)
	must(t, err)
	if _, err := vfs.OS(dir).Lock("lock", true); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second lock in the process = %v, want ErrLocked", err)
	}
	other := func() string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLock$")
		cmd.Env = append(os.Environ(), env+"="+dir)
		out, err := cmd.Output()
		must(t, err)
		return string(out[:len("locked=true")])
	}
	if got := other(); got != "locked=true" {
		t.Errorf("another process said %q while the lock was held", got)
	}
	must(t, l.Close())
	if got := other(); got == "locked=true" {
		t.Errorf("another process said %q after the lock was given up", got)
	}
}

func TestIsFull(t *testing.T) {
	if runtime.GOOS == "windows" {
		return
	}
	if !vfs.IsFull(fmt.Errorf("write: %w", syscall.ENOSPC)) || vfs.IsFull(syscall.EIO) || vfs.IsFull(nil) {
		t.Error("IsFull does not tell a full disk from another error")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
