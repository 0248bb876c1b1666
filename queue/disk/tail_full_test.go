package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestUnreadableEndWithoutRoom has the end of the log unreadable, and no room to save what
// is there of it, which shows when it is saved: what cannot be read is left as it is, and
// is there again when it can be read.
func TestUnreadableEndWithoutRoom(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	mustPut(t, s)
	last := s.current
	begin := last.size
	id := mustPut(t, s)
	fs = fs.Kill()
	fs.Spoil(last.file.name, begin, begin+100)
	syncs := 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && name == last.file.name {
			if syncs++; syncs == 1 {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	s, err = openByHand(fs, small())
	must(t, err)
	fs.Inject(nil)
	if s.tail != nil || len(s.problems) != 1 {
		t.Errorf("the end is to be saved still: %v, problems %v", s.tail != nil, s.problems)
	}
	other := mustPut(t, s)
	must(t, s.Close())
	fs.Mend(last.file.name)
	s, err = openByHand(fs, small())
	must(t, err)
	for _, id := range []string{id, other} {
		if _, err := s.Show(ctx, id); err != nil {
			t.Errorf("when it can be read again, %s: %v", id, err)
		}
	}
}

// noRoomForTheTail is a spool that was opened after a kill, without room to save what may
// not be saved of the log.
func noRoomForTheTail(t *testing.T, seed uint64) (*crashfs.FS, *Spool, string) {
	t.Helper()
	fs := crashfs.New(seed)
	s, err := openByHand(fs, small())
	must(t, err)
	mustPut(t, s)
	fs.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, syscall.EIO))
	if _, err := s.Put(context.Background(), time.Unix(1e9, 0), textMessage("unsure")); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	fs = fs.Kill()
	must(t, fs.Remove(reserveName))
	fs.SetDevice(crashfs.Device{Room: fs.Used(), CopyOnWrite: true})
	s, err = openByHand(fs, small())
	must(t, err)
	if s.tail == nil {
		t.Fatal("the end of the log is saved")
	}
	fs.SetDevice(crashfs.Device{})
	files, err := fs.List()
	must(t, err)
	for _, f := range files {
		if strings.HasSuffix(f.Name, newSuffix) {
			t.Errorf("%s, for which there is no room, is left", f.Name)
		}
	}
	list, err := s.List(context.Background(), queue.ListOptions{})
	must(t, err)
	return fs, s, list.Entries[len(list.Entries)-1].Message.ID
}

// TestNothingIsWrittenBehindAnUnsavedTail: before the end of the log that was found is
// saved nothing is written behind it. From then on it is, and all of it stays.
func TestNothingIsWrittenBehindAnUnsavedTail(t *testing.T) {
	ctx := context.Background()
	for _, op := range []crashfs.Op{crashfs.OpOpen, crashfs.OpWrite, crashfs.OpTruncate, crashfs.OpSync} {
		for seed := range uint64(4) {
			fs, s, id := noRoomForTheTail(t, seed)
			fs.Inject(crashfs.FailNth(op, 1, false, syscall.ENOSPC))
			applied := false
			first := plainTicket(ending)
			first.apply = func(*hold, *segment, []uint32) { applied = true }
			s.spare.size = 0 // there is nothing to give up
			if err := together(s, first)[0]; !errors.Is(err, queue.ErrFull) || applied || s.tail == nil {
				t.Errorf("%v fails: written: %v, in the index: %v", op, err, applied)
			}
			fs.Inject(nil)
			if err := together(s, plainTicket(ending))[0]; err != nil || s.tail != nil || s.unsaved {
				t.Errorf("%v fails, and then not: written: %v, to be saved still: %v, %v", op, err, s.tail != nil, s.unsaved)
			}
			syncs := 0
			fs.Inject(func(op crashfs.Op, _ string) error {
				if op == crashfs.OpSync {
					syncs++
				}
				return nil
			})
			must(t, s.save())
			if syncs > 0 {
				t.Errorf("what is saved was saved once more")
			}
			again, err := openByHand(fs.Restart(), small())
			must(t, err)
			if _, err := again.Show(ctx, id); err != nil || len(again.problems) > 0 {
				t.Errorf("%v fails: what was found when it was opened: %v, problems %v", op, err, again.problems)
			}
		}
	}
}

// TestFillsOfATail fills ranges of all kinds of lengths, of more than is written at a time
// too, with records that say nothing: they follow one another without a gap.
func TestFillsOfATail(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	f, err := fs.Create("filled")
	must(t, err)
	tl := &tail{segment: s.current}
	const from = 4096
	for _, n := range []int64{
		0, record.FrameSize, record.FrameSize + 8, 1000, writeSize - 8, writeSize, writeSize + 8, writeSize + record.FrameSize - 8,
		writeSize + record.FrameSize, 2 * writeSize, 2*writeSize + 8, 3*writeSize - record.FrameSize, 2*writeSize + record.FrameSize - 8,
	} {
		must(t, f.Truncate(0))
		must(t, tl.fill(f, from, from+n))
		size, err := f.Size()
		must(t, err)
		if n > 0 && size != from+n {
			t.Errorf("a range of %d was filled with %d bytes", n, size-from)
		}
		groups := record.NewGroups(f, size, s.current.salt, from)
		at := int64(from)
		for groups.Next() {
			at = groups.To()
		}
		if groups.Err() != nil || len(groups.Gaps()) > 0 || n > 0 && at != from+n {
			t.Errorf("a range of %d: read to %d, %v, gaps %v", n, at-from, groups.Err(), groups.Gaps())
		}
	}
	must(t, f.Truncate(0))
	must(t, tl.fill(f, from, from+record.FrameSize-1)) // too short for a record
	if size, err := f.Size(); err != nil || size != from+record.FrameSize-1 {
		t.Errorf("a range of %d was filled with %d bytes, %v", record.FrameSize-1, size-from, err)
	}
	fs.Inject(crashfs.FailNth(crashfs.OpWrite, 2, false, syscall.EIO))
	if err := tl.fill(f, from, from+2*writeSize); !errors.Is(err, syscall.EIO) {
		t.Errorf("a fill that cannot be written: %v", err)
	}
}

// TestTornGroupsOfATail dies behind groups of which some are not complete, a long one too:
// what is complete is there, nothing is damaged, and the log goes on behind it.
func TestTornGroupsOfATail(t *testing.T) {
	ctx := context.Background()
	o := Options{LargeContent: 8 << 20, SegmentSize: 64 << 20}
	for _, torn := range []int{10, 3 << 20} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, o)
		must(t, err)
		first := mustPut(t, s)
		size := s.current.size
		var before, behind, lost string
		long := func() { lost, _ = s.Put(ctx, time.Unix(1e9, 0), textMessage(strings.Repeat("x", torn))) }
		behindASync(t, fs, s, func() { before = mustPut(t, s) }, long, func() { behind = mustPut(t, s) })
		fs.Meanwhile(nil)
		number, _ := parseID(lost)
		name, from := find(t, fs, number, record.KindMessage)
		if from < size {
			t.Fatalf("the message begins at %d", from)
		}
		fs = fs.Kill()
		fs.Flip(name, from+2, 1)
		for n := 1; n < 8; n++ { // a copy of it fails at some point
			hurt, writes := fs.Copy(), 0
			hurt.Inject(func(op crashfs.Op, name string) error {
				if op == crashfs.OpWrite && strings.HasSuffix(name, newSuffix) {
					if writes++; writes == n {
						return syscall.ENOSPC
					}
				}
				return nil
			})
			s, err := openByHand(hurt, o)
			must(t, err)
			hurt.Inject(nil)
			files, err := hurt.List()
			must(t, err)
			for _, f := range files {
				if strings.HasSuffix(f.Name, newSuffix) {
					t.Errorf("%s, which was not written, is left", f.Name)
				}
			}
			mustPut(t, s)
			must(t, s.Close())
			if s, err = openByHand(hurt.Restart(), o); err != nil || len(s.problems) > 0 {
				t.Fatalf("write %d of a copy fails: %v, problems %v", n, err, s.problems)
			}
			for _, id := range []string{first, before, behind} {
				if _, err := s.Show(ctx, id); err != nil {
					t.Errorf("%d bytes were torn, write %d of a copy fails: %s: %v", torn, n, id, err)
				}
			}
		}
		for range 2 {
			s, err = openByHand(fs, o)
			must(t, err)
			for id, there := range map[string]bool{first: true, before: true, lost: false, behind: true} {
				if _, err := s.Show(ctx, id); (err == nil) != there {
					t.Errorf("%d bytes were torn: %s: %v, want that it is there: %v", torn, id, err, there)
				}
			}
			if len(s.problems) > 0 {
				t.Errorf("%d bytes were torn: %v", torn, s.problems)
			}
			mustPut(t, s)
			fs = fs.Restart()
		}
	}
}

// TestDamagedSegmentIsSavedToo opens a spool after a kill of which something cannot be read
// that was saved, and the end was not: what has left by that does not come back when the
// power fails.
func TestDamagedSegmentIsSavedToo(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(8) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, small())
		must(t, err)
		mustPut(t, s)
		mustPut(t, s)
		begin := s.current.size
		mustPut(t, s)
		mustPut(t, s)
		name := s.current.file.name
		must(t, settleOne(s, queue.Delivered, nil)) // and nobody waits for that to be saved
		fs = fs.Kill()
		fs.Spoil(name, begin, begin+100)
		for range 2 {
			s, err = openByHand(fs, small())
			must(t, err)
			page, err := s.List(ctx, queue.ListOptions{})
			must(t, err)
			if len(page.Entries) != 2 || len(s.problems) != 1 {
				t.Errorf("seed %d: %d messages are there, want 2, and the problems are %v", seed, len(page.Entries), s.problems)
			}
			fs = fs.Restart()
		}
	}
}

// TestDamagedSegmentIsWrittenAgain opens a spool of which something cannot be read that was
// saved, after saving the end has failed: what is shown then is there after a power cut.
func TestDamagedSegmentIsWrittenAgain(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(16) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, small())
		must(t, err)
		mustPut(t, s)
		begin := s.current.size
		mustPut(t, s)
		mustPut(t, s)
		name := s.current.file.name
		fs.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, syscall.EIO))
		if _, err := s.Put(ctx, time.Unix(1e9, 0), textMessage("unsure")); !errors.Is(err, ErrFailed) {
			t.Fatal(err)
		}
		fs = fs.Kill()
		fs.Spoil(name, begin, begin+100)
		var shown []string
		for life := range 3 {
			s, err = openByHand(fs, small())
			must(t, err)
			page, err := s.List(ctx, queue.ListOptions{})
			must(t, err)
			var ids []string
			for _, e := range page.Entries {
				ids = append(ids, e.Message.ID)
			}
			if life > 0 && !slices.Equal(ids, shown) {
				t.Errorf("seed %d, life %d: %q are there, and were %q", seed, life, ids, shown)
			}
			shown = ids
			fs = fs.Restart()
		}
		if len(shown) != 3 {
			t.Errorf("seed %d: %d messages are there, want 3", seed, len(shown))
		}
	}
}

// TestTornEndIsNotLookedAt gives up a segment whose end was torn when the spool was opened:
// there is nothing in it that could not be read.
func TestTornEndIsNotLookedAt(t *testing.T) {
	fs, s := openSmall(t)
	id := mustPut(t, s)
	number, _ := parseID(mustPut(t, s))
	name, from := find(t, fs.Copy(), number, record.KindMessage)
	fs = fs.Kill()
	fs.Flip(name, from+2, 1)
	s, err := openByHand(fs, Options{})
	must(t, err)
	g := s.segments.byNumber[1]
	if size, err := sizeOf(fs, name); err != nil || g.size != size {
		t.Errorf("the segment has %d bytes, and its file %d, %v", g.size, size, err)
	}
	mustPut(t, s)
	must(t, s.compact(context.Background(), g))
	if s.segments.byNumber[1] != nil {
		t.Error("the segment is in use still")
	}
	if _, err := s.Show(context.Background(), id); err != nil {
		t.Error(err)
	}
}

// TestCopyOfARange copies ranges that take several reads, up to the very end of the file and
// of less than that.
func TestCopyOfARange(t *testing.T) {
	fs := crashfs.New(1)
	from, err := fs.Create("from")
	must(t, err)
	text := []byte(strings.Repeat("0123456789abcdef", writeSize/10)) // 1.6 times as much
	_, err = from.WriteAt(text, 0)
	must(t, err)
	for _, r := range [][2]int{{0, len(text)}, {5, len(text)}, {writeSize + 5, len(text)}, {3, writeSize + 3}, {7, 7}, {8, 9}} {
		to, err := fs.Create(fmt.Sprint("to ", r))
		must(t, err)
		must(t, copyRange(to, from, int64(r[0]), int64(r[1])))
		size, err := to.Size()
		must(t, err)
		got := make([]byte, size)
		_, _ = to.ReadAt(got, 0)
		if r[1] > r[0] && !bytes.Equal(got[r[0]:], text[r[0]:r[1]]) || r[1] == r[0] && size > 0 {
			t.Errorf("of %v, %d bytes were copied, or others", r, size)
		}
	}
}
