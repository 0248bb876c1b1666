package crashfs_test

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

func on(seed uint64, d crashfs.Device) *crashfs.FS {
	f := crashfs.New(seed)
	f.SetDevice(d)
	return f
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

func TestDeviceIsFull(t *testing.T) {
	parts := map[string]bool{}
	for seed := range uint64(50) {
		f := on(seed, crashfs.Device{Room: 2000 + 2*crashfs.NameSize})
		a, b := create(t, f, "a"), create(t, f, "b")
		_, err := f.Create("c")
		wantError(t, "Create with no room for the name", err, nil)
		must(t, f.Remove("c"))
		write(t, a, make([]byte, 1500), 0)
		n, err := b.WriteAt(bytes.Repeat([]byte{'x'}, 600), 0)
		wantError(t, "a write that does not fit", err, syscall.ENOSPC)
		switch {
		case n == 0:
			parts["none"] = true
		case n < 500:
			parts["some"] = true
		case n == 500:
			parts["all that fits"] = true
		default:
			t.Fatalf("%d bytes were written, and there was room for 500", n)
		}
		must(t, b.Truncate(0))
		write(t, b, make([]byte, 500), 0)
		write(t, a, make([]byte, 1500), 0) // again: that needs no room
		_, err = f.Create("c")
		wantError(t, "Create on a full device", err, syscall.ENOSPC)
		if used := f.Used(); used != 2000+2*crashfs.NameSize {
			t.Fatalf("Used = %d", used)
		}

		must(t, f.Remove("a"))
		_, err = b.WriteAt(make([]byte, 501+crashfs.NameSize), 0)
		wantError(t, "a write while what was removed is open", err, syscall.ENOSPC)
		must(t, a.Close())
		write(t, b, make([]byte, 2000), 0)
	}
	if len(parts) != 3 {
		t.Errorf("of the write that did not fit %v was done, want none, some, and all that fits", parts)
	}
}

func TestHolesTakeRoom(t *testing.T) {
	f := on(1, crashfs.Device{Room: 1000})
	h := create(t, f, "a")
	n, err := h.WriteAt([]byte("x"), 5000)
	wantError(t, "a write behind the end of the device", err, syscall.ENOSPC)
	if n != 0 {
		t.Errorf("%d bytes were written", n)
	}
}

func TestRoomAfterAPowerCut(t *testing.T) {
	f := on(1, crashfs.Device{Room: 1000})
	h := create(t, f, "a")
	write(t, h, make([]byte, 900), 0)
	must(t, h.Sync())
	must(t, f.SyncDir())
	for name, g := range map[string]*crashfs.FS{"Restart": f.Restart(), "Kill": f.Kill(), "Copy": f.Copy()} {
		h, err := g.Open("a", true)
		must(t, err)
		_, err = h.WriteAt(make([]byte, 100), 900)
		wantError(t, "a write that does not fit after "+name, err, syscall.ENOSPC)
	}
}

// TestRoomIsUsedOnce has the room of a removed file used again before the removal
// was synced: no power cut brings back both.
func TestRoomIsUsedOnce(t *testing.T) {
	for seed := range uint64(100) {
		f := on(seed, crashfs.Device{Room: 1000})
		a := create(t, f, "a")
		write(t, a, make([]byte, 800), 0)
		must(t, a.Sync())
		must(t, a.Close())
		must(t, f.SyncDir())
		must(t, f.Remove("a"))
		b := create(t, f, "b")
		write(t, b, make([]byte, 800), 0)
		must(t, b.Sync())
		if used := f.Restart().Used(); used > 1000 {
			t.Fatalf("seed %d: %d bytes on a device of 1000", seed, used)
		}
	}
}

func TestFullAtSync(t *testing.T) {
	f := on(1, crashfs.Device{Room: 1000, AtSync: true})
	h := create(t, f, "a")
	write(t, h, make([]byte, 2000), 0)
	wantError(t, "Sync of more than there is room for", h.Sync(), syscall.ENOSPC)
	must(t, h.Truncate(500))
	must(t, h.Sync())
}

func TestCopyOnWriteNeedsRoom(t *testing.T) {
	f := on(1, crashfs.Device{Room: 1000, CopyOnWrite: true})
	h := create(t, f, "a")
	write(t, h, make([]byte, 600), 0)
	_, err := h.WriteAt(make([]byte, 600), 0)
	wantError(t, "writing over 600 bytes with less room than that", err, syscall.ENOSPC)
	write(t, h, make([]byte, 300), 0)
}

func TestDescriptors(t *testing.T) {
	f := on(1, crashfs.Device{Descriptors: 2})
	l, err := f.Lock("lock", true)
	must(t, err)
	h := create(t, f, "a")
	_, err = f.Create("b")
	wantError(t, "Create with too many open", err, syscall.EMFILE)
	_, err = f.Open("a", false)
	wantError(t, "Open with too many open", err, syscall.EMFILE)
	_, err = f.List()
	wantError(t, "List with too many open", err, syscall.EMFILE)
	_, err = f.Lock("other", true)
	wantError(t, "Lock with too many open", err, syscall.EMFILE)
	must(t, h.Close())
	_, err = f.List()
	must(t, err)
	must(t, l.Close())
	create(t, f, "b")
	create(t, f, "c")
}

func TestOpenFilesCannotBeRemoved(t *testing.T) {
	f := on(1, crashfs.Device{KeepsOpen: true})
	h, other := create(t, f, "a"), create(t, f, "b")
	must(t, other.Close())
	wantError(t, "Remove of an open file", f.Remove("a"), vfs.ErrInUse)
	wantError(t, "Rename of an open file", f.Rename("a", "c"), vfs.ErrInUse)
	wantError(t, "Rename to an open file", f.Rename("b", "a"), vfs.ErrInUse)
	must(t, h.Close())
	must(t, f.Rename("b", "a"))
	must(t, f.Remove("a"))
}

func TestBadSectorStaysBad(t *testing.T) {
	f := crashfs.New(1)
	h := create(t, f, "a")
	data := bytes.Repeat([]byte{'x'}, 4096)
	write(t, h, data, 0)
	must(t, h.Sync())
	must(t, f.SyncDir())
	f.Spoil("a", 1024, 1536)
	write(t, h, data, 0)
	for name, g := range map[string]*crashfs.FS{"as it is": f.Copy(), "after a restart": f.Restart(), "after a kill": f.Kill()} {
		h, err := g.Open("a", false)
		must(t, err)
		for range 3 {
			n, err := h.ReadAt(make([]byte, 4096), 0)
			wantError(t, "a read over the bad sector "+name, err, syscall.EIO)
			if n != 1024 {
				t.Errorf("%s: %d bytes were read before the bad sector, want 1024", name, n)
			}
		}
		for _, r := range [][2]int64{{0, 1024}, {1536, 2560}} {
			if n, err := h.ReadAt(make([]byte, r[1]), r[0]); err != nil && err != io.EOF || n != int(r[1]) {
				t.Errorf("%s: the read of %d bytes at %d = %d, %v", name, r[1], r[0], n, err)
			}
		}
	}
}

func TestMend(t *testing.T) {
	f := crashfs.New(1)
	h := create(t, f, "a")
	write(t, h, make([]byte, 1024), 0)
	f.Spoil("a", 0, 512)
	f.Mend("a")
	_, err := h.ReadAt(make([]byte, 1024), 0)
	must(t, err)
}

func TestFailingReadsAndWritesDoAnything(t *testing.T) {
	for _, op := range []crashfs.Op{crashfs.OpRead, crashfs.OpWrite} {
		seen := map[int]bool{}
		for seed := range uint64(100) {
			f := crashfs.New(seed)
			h := create(t, f, "a")
			write(t, h, make([]byte, 3), 0)
			f.Inject(crashfs.FailNth(op, 1, false, syscall.EIO))
			call := map[crashfs.Op]func([]byte, int64) (int, error){crashfs.OpRead: h.ReadAt, crashfs.OpWrite: h.WriteAt}[op]
			n, err := call(make([]byte, 3), 0)
			wantError(t, op.String(), err, syscall.EIO)
			seen[n] = true
		}
		if !seen[0] || !seen[1] && !seen[2] || !seen[3] {
			t.Errorf("a %v that fails has done %v of 3 bytes, want none, some and all", op, seen)
		}
	}
}

func TestNothingIsWrittenAfterThePowerCut(t *testing.T) {
	for seed := range uint64(50) {
		f := crashfs.New(seed)
		h := create(t, f, "a")
		must(t, f.SyncDir())
		f.CutAt(f.Writes() + 1)
		_, err := h.WriteAt([]byte("at the cut"), 0)
		wantError(t, "the write at the cut", err, crashfs.ErrPowerCut)
		_, err = h.WriteAt([]byte("after it"), 512)
		wantError(t, "a write after the cut", err, crashfs.ErrPowerCut)
		if got := read(t, f.Restart(), "a"); len(got) > 512 {
			t.Fatalf("what was written after the power cut is on the disk: %q", got[512:])
		}
	}
}

// TestShornBlocks has a write torn by the power cut harm what was saved before it
// in the same block, and nothing in other blocks.
func TestShornBlocks(t *testing.T) {
	for _, block := range []int64{0, 512, 4096} {
		var inside, outside int
		saved := bytes.Repeat([]byte{'s'}, 3*4096+100)
		for seed := range uint64(400) {
			f := on(seed, crashfs.Device{Shears: block})
			h := create(t, f, "a")
			write(t, h, saved, 0)
			must(t, h.Sync())
			must(t, f.SyncDir())
			write(t, h, make([]byte, 50), int64(len(saved)))
			got := read(t, f.Restart(), "a")[:len(saved)]
			from := int64(len(saved))
			if block > 0 {
				from -= from % block
			}
			if !bytes.Equal(got[:from], saved[:from]) {
				outside++
			}
			if !bytes.Equal(got[from:], saved[from:]) {
				inside++
			}
		}
		if outside > 0 || (inside > 0) != (block > 0) {
			t.Errorf("blocks of %d: saved bytes were harmed in %d of 400 power cuts, and %d times in another block", block, inside, outside)
		}
	}
}

func TestLockFails(t *testing.T) {
	f := crashfs.New(1)
	f.Inject(crashfs.FailNth(crashfs.OpLock, 1, false, syscall.ENOSYS))
	_, err := f.Lock("lock", true)
	wantError(t, "Lock", err, syscall.ENOSYS)
	if errors.Is(err, vfs.ErrLocked) {
		t.Error("a lock that failed says that it is held")
	}
}
