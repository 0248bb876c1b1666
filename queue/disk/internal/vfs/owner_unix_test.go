//go:build unix

package vfs_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// TestFilesOfRootInRootsDirectory: nothing is given away there, and who only looks
// gives nothing away at all.
func TestFilesOfRootInRootsDirectory(t *testing.T) {
	if os.Getuid() != 0 {
		return // nobody else gives files away
	}
	ids := func(path string) (uid, gid uint32) {
		info, err := os.Stat(path)
		must(t, err)
		of := info.Sys().(*syscall.Stat_t)
		return of.Uid, of.Gid
	}
	dir := t.TempDir()
	must(t, os.Chown(dir, 0, 65534))
	f, err := vfs.OS(dir).Create("file")
	must(t, err)
	must(t, f.Close())
	if uid, gid := ids(filepath.Join(dir, "file")); uid != 0 || gid == 65534 {
		t.Errorf("the file belongs to %d, %d", uid, gid)
	}
	must(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
	must(t, os.Chown(dir, 65534, 65534))
	l, err := vfs.OS(dir).Lock("lock", false)
	must(t, err)
	must(t, l.Close())
	if uid, _ := ids(filepath.Join(dir, "lock")); uid != 0 {
		t.Errorf("a look at the directory gave its lock to %d", uid)
	}
}

// TestFilesBelongToTheOwnerOfTheDirectory: what root makes in somebody's directory is
// theirs, the lock of an earlier root included. Without root's rights files are the
// caller's, and so is the directory.
func TestFilesBelongToTheOwnerOfTheDirectory(t *testing.T) {
	owner := os.Getuid()
	dir := t.TempDir()
	if owner == 0 {
		owner = 65534
		if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	fs := vfs.OS(dir)
	l, err := fs.Lock("lock", true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := fs.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range []string{"lock", "file"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; int(got) != owner {
			t.Errorf("%s belongs to %d, want %d", name, got, owner)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has the mode %v", name, got)
		}
	}
}
