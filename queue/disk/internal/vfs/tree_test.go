package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// tree is directories in memory.
type tree struct {
	there map[string]bool
	fails map[string]error
	calls []string
}

func (f *tree) call(what, dir string) error {
	f.calls = append(f.calls, what+" "+dir)
	return f.fails[what+" "+dir]
}

func (f *tree) Exists(dir string) (bool, error) { return f.there[dir], f.fails["exists "+dir] }
func (f *tree) Mkdir(dir string) error          { return f.call("mkdir", dir) }
func (f *tree) SyncDir(dir string) error        { return f.call("sync", dir) }

// TestDirectoriesAreSavedBeforeTheyAreUsed has every directory saved in its parent
// before anything is made in it, and nothing made beside an error.
func TestDirectoriesAreSavedBeforeTheyAreUsed(t *testing.T) {
	if filepath.Separator != '/' {
		return // the names are of another system
	}
	failed := errors.New("failed")
	const both = "mkdir /a, sync /, mkdir /a/b, sync /a"
	for name, c := range map[string]struct {
		there []string
		fails map[string]error
		want  string
		err   error
	}{
		"none is there":                   {[]string{"/"}, nil, "sync /, " + both, nil},
		"the first is there":              {[]string{"/", "/a"}, nil, "sync /, mkdir /a/b, sync /a", nil},
		"it is there":                     {[]string{"/", "/a", "/a/b"}, nil, "sync /a", nil},
		"it is there and cannot be saved": {[]string{"/", "/a", "/a/b"}, map[string]error{"sync /a": failed}, "sync /a", nil},
		"somebody makes it meanwhile":     {[]string{"/"}, map[string]error{"mkdir /a": fs.ErrExist}, "sync /, " + both, nil},
		"one cannot be made":              {[]string{"/"}, map[string]error{"mkdir /a": failed}, "sync /, mkdir /a", failed},
		"one cannot be saved":             {[]string{"/"}, map[string]error{"sync /": failed}, "sync /, mkdir /a, sync /", failed},
		"the last cannot be saved":        {[]string{"/"}, map[string]error{"sync /a": failed}, "sync /, " + both, failed},
		"nobody knows what is there":      {[]string{"/"}, map[string]error{"exists /a/b": failed}, "", failed},
		"there is no root":                {nil, map[string]error{"mkdir /": failed}, "mkdir /", failed},
	} {
		f := &tree{there: map[string]bool{}, fails: c.fails}
		for _, dir := range c.there {
			f.there[dir] = true
		}
		err := vfs.MakeDir(f, "/a/b")
		if got := strings.Join(f.calls, ", "); !errors.Is(err, c.err) || got != c.want {
			t.Errorf("%s: %q, %v, want %q, %v", name, got, err, c.want, c.err)
		}
	}
}

// TestWhatIsThere tells what is missing from what nobody can look at.
func TestWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]bool{dir: true, file: true, filepath.Join(dir, "none"): false} {
		if got, err := vfs.OSTree().Exists(path); got != want || err != nil {
			t.Errorf("%s is there: %v, %v", path, got, err)
		}
	}
	if runtime.GOOS == "windows" {
		return // says that it is not there
	}
	if got, err := vfs.OSTree().Exists(filepath.Join(file, "below")); got || err == nil {
		t.Errorf("what is below a file is there: %v, %v", got, err)
	}
}

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
