package crashfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// The file system is only worth its tests' trust if it loses what it may lose
// and keeps what it must keep: each case says which ends must all be seen over
// many seeds, and which must never be.
func TestPowerCut(t *testing.T) {
	const block = 3 * 512
	old, fresh := bytes.Repeat([]byte{'o'}, block), bytes.Repeat([]byte{'n'}, block)
	for _, c := range []struct {
		name  string
		do    func(t *testing.T, f *crashfs.FS)
		kinds []string // every one must be seen, and no other
	}{
		{"synced file and directory stay", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			write(t, h, old, 0)
			must(t, h.Sync())
			must(t, f.SyncDir())
		}, []string{"old"}},
		{"a directory not synced may lose a synced file", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			write(t, h, old, 0)
			must(t, h.Sync())
		}, []string{"old", "absent"}},
		{"bytes not synced are lost, kept or torn", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			write(t, h, old, 0)
			must(t, h.Sync())
			must(t, f.SyncDir())
			write(t, h, fresh, 0)
		}, []string{"old", "new", "torn"}},
		{"a new file may be empty, short, holed or rubbish", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			must(t, f.SyncDir())
			write(t, h, fresh, 0)
		}, []string{"empty", "new", "torn"}},
		{"a removal not synced may come back", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			write(t, h, old, 0)
			must(t, h.Sync())
			must(t, f.SyncDir())
			must(t, f.Remove("a"))
		}, []string{"old", "absent"}},
		{"a rename is whole or not at all", func(t *testing.T, f *crashfs.FS) {
			for name, data := range map[string][]byte{"a": old, "b": fresh} {
				h := create(t, f, name)
				write(t, h, data, 0)
				must(t, h.Sync())
			}
			must(t, f.SyncDir())
			must(t, f.Rename("b", "a"))
		}, []string{"old", "new"}},
		{"bytes written while a sync runs are for the next", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			must(t, f.SyncDir())
			write(t, h, old, 0)
			f.Meanwhile(func() { write(t, h, fresh, 0) })
			must(t, h.Sync())
		}, []string{"old", "new", "torn"}},
		{"and the next saves them", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			must(t, f.SyncDir())
			write(t, h, old, 0)
			f.Meanwhile(func() {
				f.Meanwhile(func() {})
				write(t, h, fresh, 0)
				must(t, h.Sync()) // saves both before the first has ended
			})
			must(t, h.Sync())
		}, []string{"new"}},
		{"a failed sync is not mended by the next", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			write(t, h, old, 0)
			must(t, h.Sync())
			must(t, f.SyncDir())
			write(t, h, fresh, 0)
			f.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, syscall.EIO))
			if err := h.Sync(); !errors.Is(err, syscall.EIO) {
				t.Fatalf("Sync = %v, want EIO", err)
			}
			must(t, h.Sync())
			if got := read(t, f, "a"); !bytes.Equal(got, fresh) {
				t.Fatal("what was written is not seen after the failed sync")
			}
		}, []string{"old", "new", "torn"}},
		{"bytes written again after a failed sync are safe", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			must(t, f.SyncDir())
			write(t, h, fresh, 0)
			f.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, syscall.EIO))
			_ = h.Sync()
			write(t, h, fresh, 0)
			must(t, h.Sync())
		}, []string{"new"}},
		{"a truncation not synced may come undone", func(t *testing.T, f *crashfs.FS) {
			h := create(t, f, "a")
			write(t, h, old, 0)
			must(t, h.Sync())
			must(t, f.SyncDir())
			must(t, h.Truncate(0))
		}, []string{"old", "empty"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[string]bool{}
			for seed := range uint64(300) {
				f := crashfs.New(seed)
				c.do(t, f)
				seen[kind(read(t, f.Restart(), "a"), old, fresh)] = true
			}
			for _, k := range c.kinds {
				if !seen[k] {
					t.Errorf("never saw the file %s", k)
				}
				delete(seen, k)
			}
			for k := range seen {
				t.Errorf("saw the file %s, which must not be", k)
			}
		})
	}
}

func kind(got, old, fresh []byte) string {
	switch {
	case got == nil:
		return "absent"
	case len(got) == 0:
		return "empty"
	case bytes.Equal(got, old):
		return "old"
	case bytes.Equal(got, fresh):
		return "new"
	}
	return "torn"
}

func TestSameSeedSameEnd(t *testing.T) {
	end := func() []byte {
		f := crashfs.New(7)
		for _, name := range []string{"a", "b", "c"} {
			h := create(t, f, name)
			write(t, h, bytes.Repeat([]byte(name), 4000), 0)
		}
		must(t, f.SyncDir())
		g := f.Restart()
		return append(append(read(t, g, "a"), read(t, g, "b")...), read(t, g, "c")...)
	}
	first := end()
	for range 20 {
		if !bytes.Equal(first, end()) {
			t.Fatal("one seed gave two ends")
		}
	}
}

func TestCutAtEveryWrite(t *testing.T) {
	f := crashfs.New(1)
	f.CutAt(3)
	h := create(t, f, "a")
	write(t, h, []byte("x"), 0)
	if err := h.Sync(); !errors.Is(err, crashfs.ErrPowerCut) {
		t.Fatalf("third change = %v, want the power cut", err)
	}
	if _, err := h.ReadAt(make([]byte, 1), 0); !errors.Is(err, crashfs.ErrPowerCut) {
		t.Fatalf("read without power = %v", err)
	}
}

func TestKillKeepsWhatWasWritten(t *testing.T) {
	f := crashfs.New(1)
	h := create(t, f, "a")
	write(t, h, []byte("written"), 0)
	if _, err := f.Lock("lock", true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock("lock", true); !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("second lock = %v, want ErrLocked", err)
	}
	g := f.Kill()
	if got := read(t, g, "a"); string(got) != "written" {
		t.Fatalf("after the kill %q", got)
	}
	if _, err := g.Lock("lock", true); err != nil {
		t.Fatalf("the lock of a dead process: %v", err)
	}
	lost := false
	for range 50 {
		lost = lost || read(t, g.Kill().Restart(), "a") == nil
	}
	if !lost {
		t.Fatal("a kill made unsynced bytes durable")
	}
}

func create(t *testing.T, f *crashfs.FS, name string) vfs.File {
	t.Helper()
	h, err := f.Create(name)
	must(t, err)
	return h
}

func write(t *testing.T, h vfs.File, p []byte, off int64) {
	t.Helper()
	_, err := h.WriteAt(p, off)
	must(t, err)
}

func read(t *testing.T, f *crashfs.FS, name string) []byte {
	t.Helper()
	h, err := f.Open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	must(t, err)
	n, err := h.Size()
	must(t, err)
	p := make([]byte, n)
	if n > 0 {
		_, err = h.ReadAt(p, 0)
		must(t, err)
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
