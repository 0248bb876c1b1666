package smallfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/smallfile"
)

func TestReplace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for it")
	path := filepath.Join(dir, "file")
	if text, err := smallfile.Read(path, 10); text != nil || err != nil {
		t.Errorf("a file that is not there: %q, %v, want nothing", text, err)
	}
	for _, text := range []string{"first", "", "third"} {
		for _, sync := range []bool{false, true} {
			if err := smallfile.Replace(path, ".temp-", []byte(text), sync); err != nil {
				t.Fatal(err)
			}
			if got, err := smallfile.Read(path, 3); err != nil || string(got) != text[:min(3, len(text))] {
				t.Errorf("read %q, %v, want the first 3 bytes of %q", got, err, text)
			}
		}
	}
	onlyOne(t, dir)
}

// TestReplaceIsWhole has readers look while others replace: each sees one content as a
// whole.
func TestReplaceIsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	contents := []string{strings.Repeat("a", 5000), strings.Repeat("b", 9000)}
	if err := smallfile.Replace(path, ".temp-", []byte(contents[0]), false); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, text := range contents {
		group.Go(func() {
			for range 100 {
				if err := smallfile.Replace(path, ".temp-", []byte(text), false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for range 200 {
			got, err := smallfile.Read(path, 1<<20)
			if err != nil || string(got) != contents[0] && string(got) != contents[1] {
				t.Errorf("read %d bytes, %v, want one of the contents", len(got), err)
			}
		}
	})
	group.Wait()
	onlyOne(t, dir)
}

// TestReplaceThatFails leaves everything as it was.
func TestReplaceThatFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.MkdirAll(filepath.Join(path, "a directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := smallfile.Replace(path, ".temp-", []byte("text"), true); err == nil {
		t.Error("a directory was replaced by a file")
	}
	onlyOne(t, dir)
	if err := smallfile.Replace(filepath.Join(dir, "file", "x", "\x00"), ".temp-", nil, false); err == nil {
		t.Error("a file was written whose name cannot be")
	}
	if _, err := smallfile.Read(path, 10); err == nil {
		t.Error("a directory was read")
	}
}

// onlyOne wants no other file to be left in a directory.
func onlyOne(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 {
		t.Errorf("the directory has %v, %v, want one file", list, err)
	}
}
