package crashfs_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

func TestDirectoriesAreLost(t *testing.T) {
	lost, halves := 0, 0
	for seed := range uint64(50) {
		tree := crashfs.NewTree(seed, "/")
		must(t, tree.Mkdir("/a"))
		must(t, tree.Mkdir("/a/b"))
		if err := tree.Mkdir("/a/b"); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("Mkdir of what is there = %v", err)
		}
		if err := tree.Mkdir("/x/y"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Mkdir without a parent = %v", err)
		}
		must(t, tree.SyncDir("/a")) // its name is not saved by that
		left := tree.Restart()
		switch {
		case !left.Has("/a") && left.Has("/a/b"):
			halves++
		case !left.Has("/a"):
			lost++
		}
	}
	if lost == 0 || lost == 50 || halves > 0 {
		t.Errorf("a directory that was not saved is gone in %d of 50 power cuts, and what is in it was there without it in %d", lost, halves)
	}
}

// TestMadeDirectoriesSurvive has a power cut, or the end of the program, at any
// call of MakeDir: once it has returned, a power cut takes nothing.
func TestMadeDirectoriesSurvive(t *testing.T) {
	const dir = "/var/spool/nexthop"
	for seed := range uint64(20) {
		for cut := 1; cut < 16; cut++ {
			tree := crashfs.NewTree(seed, "/", "/var")
			tree.CutAt(cut)
			if err := vfs.MakeDir(tree, dir); err != nil && !errors.Is(err, crashfs.ErrPowerCut) {
				t.Fatal(err)
			}
			if seed%2 == 0 {
				tree = tree.Kill()
			} else {
				tree = tree.Restart()
			}
			must(t, vfs.MakeDir(tree, dir))
			if !tree.Restart().Has(dir) {
				t.Fatalf("seed %d, cut at call %d: the directory is gone", seed, cut)
			}
		}
	}
}
