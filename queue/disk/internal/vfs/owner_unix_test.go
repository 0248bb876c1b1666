//go:build unix

package vfs_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

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
