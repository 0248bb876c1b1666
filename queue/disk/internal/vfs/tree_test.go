package vfs_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

func TestMakeDir(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b", "c")
	for range 2 { // the second time it is there
		must(t, vfs.MakeDir(vfs.OSTree(), dir))
	}
	info, err := os.Stat(dir)
	must(t, err)
	if !info.IsDir() || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, want 0700", info.Mode())
	}
	must(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o600))
	if err := vfs.MakeDir(vfs.OSTree(), filepath.Join(top, "file", "spool")); err == nil {
		t.Error("a directory was made in a file")
	}
}
