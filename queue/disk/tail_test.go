package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestTailWithoutRoom opens a spool whose end cannot be written once more for want
// of room, on a file system that copies on write. It opens and hands out what is
// there; it takes nothing, and swears to nothing that may not be on the disk, until
// there is room; and then nothing of what it showed is lost.
func TestTailWithoutRoom(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for seed := range uint64(60) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, small())
		must(t, err)
		ids := []string{mustPut(t, s), mustPut(t, s)}
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1})
		must(t, err)
		settled := c.Deliveries[0].Lease.Message
		_, err = s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
		must(t, err)
		keyed := textMessage("keyed")
		keyed.Key = "key"
		fs.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, syscall.EIO))
		if _, err := s.Put(ctx, now, keyed); !errors.Is(err, ErrFailed) {
			t.Fatal(err) // its bytes can be read, and need not be on the disk
		}
		fs = fs.Kill()
		must(t, fs.Remove(reserveName)) // which would do
		fs.SetDevice(crashfs.Device{Room: fs.Used(), CopyOnWrite: true})
		s, err = openByHand(fs, small())
		must(t, err)
		for name, call := range map[string]func() error{
			"Put":                  func() error { _, err := s.Put(ctx, now, textMessage("x")); return err },
			"Put with a key again": func() error { _, err := s.Put(ctx, now, keyed); return err },
			"Hold":                 func() error { return s.Hold(ctx, ids[0]) },
			"Put with a key, bound": func() error {
				s.maxMessages = 1
				defer func() { s.maxMessages = 0 }()
				_, err := s.Put(ctx, now, keyed)
				return err
			},
		} {
			if err := call(); !errors.Is(err, queue.ErrFull) && !errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDuplicate) {
				t.Fatalf("%s without room for the end of the log = %v, want ErrFull", name, err)
			}
		}
		page, err := s.List(ctx, queue.ListOptions{})
		must(t, err)
		fs.SetDevice(crashfs.Device{})
		s.spare.failed = time.Time{} // a while has passed
		if _, err := s.Put(ctx, now, keyed); !errors.Is(err, queue.ErrDuplicate) {
			t.Fatalf("Put with a key again, when there is room = %v, want ErrDuplicate", err)
		}
		s, err = openByHand(fs.Restart(), small())
		must(t, err)
		for _, e := range page.Entries {
			if _, err := s.Show(ctx, e.Message.ID); err != nil {
				t.Fatalf("seed %d: %s was there, and is lost: %v", seed, e.Message.ID, err)
			}
		}
		if _, err := s.Show(ctx, settled); !errors.Is(err, queue.ErrNotFound) {
			t.Fatalf("seed %d: %s had left, and is back: %v", seed, settled, err)
		}
		if len(s.problems) > 0 {
			t.Fatalf("seed %d: %v", seed, s.problems)
		}
	}
}

// TestSectors has each message put alone take a sector, and share a segment with
// the others.
func TestSectors(t *testing.T) {
	_, s := openSmall(t)
	const n = 20
	for range n {
		mustPut(t, s)
	}
	if len(s.segments.byNumber) != 1 || s.current.size != (1+n)*sectorSize {
		t.Errorf("%d messages lie in %d segments, the last one of %d bytes, want 1 of %d",
			n, len(s.segments.byNumber), s.current.size, (1+n)*sectorSize)
	}
	s.mu.Lock()
	s.unsaved = false
	s.mu.Unlock()
	must(t, s.save())
	if s.current.size != (1+n)*sectorSize {
		t.Error("what is saved already was filled up")
	}
}

// TestUndoneWriteSharesNoSector has a write fail behind a settlement that nobody
// waited to be saved, which is saved by undoing the write; perhaps the write that
// fills its sector fails too. What is written next does not harm it, where sectors
// are shorn.
func TestUndoneWriteSharesNoSector(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for seed := range uint64(2000) {
		fs := crashfs.New(seed)
		fs.SetDevice(crashfs.Device{Shears: 512})
		s, err := openByHand(fs, small())
		must(t, err)
		id := mustPut(t, s)
		deliverAll(t, s)
		writes := 0
		fs.Inject(func(op crashfs.Op, _ string) error {
			if op == crashfs.OpWrite {
				writes++
			}
			if op == crashfs.OpWrite && writes <= 1+int(seed%2) {
				return syscall.EIO
			}
			return nil
		})
		if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		fs.Inject(nil)
		if filled := s.current.size%s.sector == 0; filled != (seed%2 == 0) {
			t.Fatalf("seed %d: the sector is filled up: %v", seed, filled)
		}
		fs.CutAt(fs.Writes() + 1 + int(seed/2%3))
		_, _ = s.Put(ctx, now, textMessage(strings.Repeat("y", 100)))
		s, err = openByHand(fs.Restart(), small())
		must(t, err)
		if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrNotFound) || len(s.problems) > 0 {
			t.Fatalf("seed %d: the settlement was saved, and %v, %v", seed, err, s.problems)
		}
	}
}

// TestUnreadableEndOfTheLog has the end of the log unreadable when it is opened
// after a kill: that is named, the spool goes on, and what was there is there again
// if it can be read another time.
func TestUnreadableEndOfTheLog(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	mustPut(t, s)
	last := s.current
	begin := last.size
	id := mustPut(t, s)
	fs = fs.Kill()
	size, err := sizeOf(fs, last.file.name)
	must(t, err)
	fs.Spoil(last.file.name, begin, size)
	s, err = openByHand(fs, small())
	must(t, err)
	if len(s.problems) != 1 || !errors.Is(s.problems[0].Err, syscall.EIO) {
		t.Errorf("the problems are %v, want one that tells the cause", s.problems)
	}
	if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("the message that cannot be read: %v", err)
	}
	other := mustPut(t, s)
	if other == id {
		t.Errorf("the number of a message that cannot be read was given again: %s", id)
	}
	must(t, s.Close())
	fs.Mend(last.file.name)
	s, err = openByHand(fs, small())
	must(t, err)
	for _, id := range []string{id, other} {
		if _, err := s.Show(ctx, id); err != nil {
			t.Errorf("when it can be read again, %s: %v", id, err)
		}
	}
	must(t, s.Close())
}

// TestCopiedTailIsTheSame opens a spool after a kill again and again: the last
// segment is copied, and all of it is as it was.
func TestCopiedTailIsTheSame(t *testing.T) {
	fs := crashfs.New(1)
	want := map[string]string{}
	for round := range 4 {
		s, err := openByHand(fs, small())
		must(t, err)
		for i := range 3 {
			text := fmt.Sprintf("text %d of life %d", i, round)
			id, err := s.Put(context.Background(), time.Unix(1e9, 0), textMessage(text))
			must(t, err)
			want[id] = text
		}
		fs = fs.Kill()
		list, err := fs.List()
		must(t, err)
		for _, f := range list {
			if strings.HasSuffix(f.Name, newSuffix) {
				t.Errorf("%s is left", f.Name)
			}
		}
	}
	s, err := openByHand(fs, small())
	must(t, err)
	for id, text := range want {
		if got, err := readContent(s, id); err != nil || got != text {
			t.Errorf("%s: %q, %v, want %q", id, got, err, text)
		}
	}
}

// TestContentsStayUntilTheTailIsSaved has the power fail at each change of an
// opening that writes the end of the log once more, in which a message with a large
// content has left: while it may come back, its content is there.
func TestContentsStayUntilTheTailIsSaved(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(40) {
		for cut := 1; cut < 16; cut++ {
			fs := crashfs.New(seed)
			s, err := openByHand(fs, small())
			must(t, err)
			id, err := s.Put(ctx, time.Unix(1e9, 0), textMessage(strings.Repeat("large ", 2000)))
			must(t, err)
			deliverAll(t, s) // and nothing saves that
			fs = fs.Kill()
			fs.CutAt(cut)
			if cut == 15 { // or there is no room to write it
				fs.CutAt(0)
				must(t, fs.Remove(reserveName))
				fs.SetDevice(crashfs.Device{Room: fs.Used(), CopyOnWrite: true})
			}
			s, err = openByHand(fs, small())
			if err == nil && cut < 15 {
				_ = s.Close()
			}
			fs = fs.Restart()
			fs.SetDevice(crashfs.Device{})
			s, err = openByHand(fs, small())
			must(t, err)
			if _, err := s.Show(ctx, id); errors.Is(err, queue.ErrNotFound) {
				continue
			}
			if text, err := readContent(s, id); err != nil || len(text) != 12000 {
				t.Fatalf("seed %d, cut at change %d: the message is back, and its content: %d bytes, %v", seed, cut, len(text), err)
			}
		}
	}
}
