package disk

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// plainTicket is a ticket with one record that says nothing but how much is saved.
func plainTicket(c class) *ticket {
	t := newTicket()
	f := frame{}
	f.Kind = record.KindSaved
	t.durable, t.class, t.frames = true, c, append(t.frames, f)
	return t
}

// together has tickets written in one batch and returns their errors.
func together(s *Spool, tickets ...*ticket) (list []error) {
	for _, t := range tickets {
		s.line.enqueue(t)
	}
	for _, t := range tickets {
		list = append(list, s.wait(t))
	}
	return list
}

// TestClassesOfABatch has a device without room, before so much of the reserve has been
// given up: what may have that is written and can be read, and the rest of the batch is
// refused. It shows when it is written, or not before it is saved.
func TestClassesOfABatch(t *testing.T) {
	classes := []class{growing, working, partial, moving, ending}
	for _, op := range []crashfs.Op{crashfs.OpWrite, crashfs.OpSync} {
		for name, c := range map[string]struct {
			enough func(size, ends, moves, parts, all int64) bool
			cause  error
			want   string // written, one for each class
		}{
			"never":           {func(_, _, _, _, _ int64) bool { return false }, syscall.ENOSPC, "00000"},
			"half for ends":   {func(size, ends, _, _, _ int64) bool { return size <= ends/2 }, syscall.ENOSPC, "00001"},
			"for ends":        {func(size, ends, _, _, _ int64) bool { return size <= ends }, syscall.ENOSPC, "00011"},
			"for moves":       {func(size, _, moves, _, _ int64) bool { return size <= moves+500 }, syscall.ENOSPC, "00111"},
			"for parts":       {func(size, _, _, parts, _ int64) bool { return size <= parts+500 }, syscall.ENOSPC, "01111"},
			"what is left":    {func(size, _, _, _, all int64) bool { return size <= all+10_000 }, syscall.ENOSPC, "11111"},
			"another failure": {func(_, _, _, _, _ int64) bool { return false }, syscall.EIO, "00000"},
		} {
			t.Run(op.String()+", "+name, func(t *testing.T) {
				fs, s := openSmall(t)
				mustPut(t, s)
				for range 30 { // so that more than the least is kept for each
					_, err := putSize(s, "a.example", 20<<10)
					must(t, err)
				}
				s.mu.Lock()
				_, _, _, all := s.roomNeeded()
				s.short.Store(true)
				ends, moves, parts, _ := s.roomNeeded()
				s.short.Store(false)
				s.mu.Unlock()
				if ends+2000 > moves || moves+2000 > parts || parts+2000 > all {
					t.Fatalf("the classes may have %d, %d, %d and %d", ends, moves, parts, all)
				}
				must(t, s.spare.file.Allocate(all+20_000))
				s.spare.size = all + 20_000
				fs.Inject(func(o crashfs.Op, file string) error {
					if o == op && strings.HasPrefix(file, segmentPrefix) && !c.enough(s.spare.size, ends, moves, parts, all) {
						return c.cause
					}
					return nil
				})
				var tickets []*ticket
				applied := map[class]bool{}
				for _, class := range classes {
					ticket := plainTicket(class)
					ticket.apply = func(*hold, *segment, []uint32) { applied[class] = true }
					tickets = append(tickets, ticket)
				}
				got := ""
				for i, err := range together(s, tickets...) {
					if err == nil {
						got += "1"
						if h, _, _, err := record.ReadHead(s.current.file, s.current.salt, int64(tickets[i].at[0]), 0); err != nil || h.Kind != record.KindSaved {
							t.Errorf("class %d cannot be read: %v", classes[i], err)
						}
					} else {
						got += "0"
						if errors.Is(err, queue.ErrFull) != (c.cause == syscall.ENOSPC) || !errors.Is(err, c.cause) {
							t.Errorf("class %d: %v, want %v", classes[i], err, c.cause)
						}
					}
					if applied[classes[i]] != (err == nil) {
						t.Errorf("class %d: %v, and the index has it: %v", classes[i], err, applied[classes[i]])
					}
				}
				if got != c.want {
					t.Errorf("written: %s, want %s", got, c.want)
				}
				fs.Inject(nil)
				if c.cause == syscall.ENOSPC {
					s.spare.failed = time.Time{}
					mustPut(t, s)
				}
				again, err := openByHand(fs.Restart(), Options{})
				must(t, err)
				if len(again.problems) > 0 {
					t.Errorf("opened again: %v", again.problems)
				}
			})
		}
	}
}

// TestBatchThatNeedsMoreOfTheReserve: what is put has what it needs to leave kept for it,
// or is refused beside what is written.
func TestBatchThatNeedsMoreOfTheReserve(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	s.mu.Lock()
	_, _, _, all := s.roomNeeded()
	s.mu.Unlock()
	must(t, s.spare.file.Truncate(all))
	s.spare.size = all
	putWide(t, s, 3000)
	s.mu.Lock()
	_, _, _, all = s.roomNeeded()
	s.mu.Unlock()
	if s.spare.size < all {
		t.Errorf("the reserve has %d bytes when a wide message was put, want %d", s.spare.size, all)
	}
	must(t, s.spare.file.Truncate(0))
	s.spare.size = 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if name == reserveName && op == crashfs.OpWrite {
			return syscall.ENOSPC
		}
		return nil
	})
	list := together(s, plainTicket(growing), plainTicket(working))
	if !errors.Is(list[0], queue.ErrFull) || list[1] != nil {
		t.Errorf("what grows: %v, want ErrFull; what does not: %v", list[0], list[1])
	}
	if _, err := s.Put(context.Background(), time.Unix(1e9, 0), textMessage("x")); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Put = %v", err)
	}
	fs.Inject(nil)
	s.spare.failed = time.Time{}
	fill := &ticket{class: ending, fills: true}
	if err := together(s, fill)[0]; err != nil || s.spare.size < all || s.short.Load() {
		t.Errorf("the reserve is to be made whole: %v, %d bytes of %d, short: %v", err, s.spare.size, all, s.short.Load())
	}
}

// TestBatchThatTurns has a ticket begin a segment.
func TestBatchThatTurns(t *testing.T) {
	_, s := openSmall(t)
	mustPut(t, s)
	old := s.current
	turning := plainTicket(ending)
	turning.turns = true
	if err := together(s, turning)[0]; err != nil || s.current == old {
		t.Errorf("%v, and the segment is another: %v", err, s.current != old)
	}
	if s.current.salt == old.salt || s.current.salt == 0 {
		t.Errorf("segments have the salts %x and %x", old.salt, s.current.salt)
	}
	old = s.current
	if err := together(s, plainTicket(ending))[0]; err != nil || s.current != old {
		t.Errorf("%v, and the segment is another: %v", err, s.current != old)
	}
	if s.mergeDue {
		t.Error("three segments are to be merged")
	}
}

// TestNothingIsWrittenAfterAFailure has tickets in line when the device has failed.
func TestNothingIsWrittenAfterAFailure(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	before := s.changes.Count()
	first := s.fail(syscall.EIO)
	if s.changes.Count() == before {
		t.Error("who waits is not told of the failure")
	}
	if second := s.fail(syscall.EROFS); second.Error() != first.Error() {
		t.Errorf("the failure is %v and then %v", first, second)
	}
	fs.Inject(func(op crashfs.Op, name string) error {
		t.Errorf("%v of %s", op, name)
		return nil
	})
	for _, err := range together(s, plainTicket(growing), plainTicket(ending), &ticket{class: growing}) {
		if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("written: %v", err)
		}
	}
	if err := s.save(); !errors.Is(err, ErrFailed) {
		t.Errorf("save = %v", err)
	}
}

// TestWhatIsDueAfterWriting: checkpoints and maintenance are due when so much was written,
// and checkpoints where few bytes take long to be read again.
func TestWhatIsDueAfterWriting(t *testing.T) {
	ctx := context.Background()
	due := func(s *Spool) (maintenance, checkpoint bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.maintenanceDue(), s.checkpointDue()
	}
	s, err := openByHand(crashfs.New(1), Options{SegmentSize: 64 << 10})
	must(t, err)
	for n := range 70 {
		mustPut(t, s) // takes a sector of 4096 bytes
		switch maintenance, checkpoint := due(s); {
		case n < 14 && maintenance, n < 50 && checkpoint:
			t.Fatalf("after %d messages: maintenance %v, a checkpoint %v", n+1, maintenance, checkpoint)
		case n == 20 && !maintenance, n == 69 && !checkpoint:
			t.Fatalf("after %d messages: maintenance %v, a checkpoint %v", n+1, maintenance, checkpoint)
		}
	}
	s, err = openByHand(crashfs.New(1), Options{SegmentSize: 64 << 10})
	must(t, err)
	id := putWide(t, s, 600)
	must(t, s.takeCheckpoint(ctx))
	must(t, s.Drop(ctx, id))
	if _, checkpoint := due(s); !checkpoint {
		t.Error("no checkpoint is due after 600 ends")
	}
}

// TestFilled: a sector is filled up with a record, or with the next one if that does not
// fit.
func TestFilled(t *testing.T) {
	_, s := openSmall(t)
	for _, c := range [][2]int64{
		{0, 0}, {4096, 4096}, {1, 4096}, {4096 - record.FrameSize, 4096}, {4096 - record.FrameSize + 1, 8192}, {4095, 8192}, {4097, 8192},
	} {
		if got := s.filled(c[0]); got != c[1] {
			t.Errorf("what is written at %d ends at %d, want %d", c[0], got, c[1])
		}
	}
}

// TestNothingSharesASectorWithWhatIsSaved has the end of a sector not filled up, since room
// was short: when it is not any more, nothing is written there but with something new.
func TestNothingSharesASectorWithWhatIsSaved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	mustPut(t, s)
	s.short.Store(true)
	must(t, s.Drop(ctx, mustPutShort(t, s)))
	s.short.Store(false)
	end := s.current.size
	if end%sectorSize == 0 {
		t.Fatal("the sector was filled up")
	}
	s.unsaved = true
	must(t, s.save())
	if s.current.size != end {
		t.Errorf("what is saved was filled up from %d to %d", end, s.current.size)
	}
	s.limit = 1 << 30
	fs.Inject(crashfs.FailNth(crashfs.OpWrite, 1, false, syscall.EIO))
	if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Put = %v", err)
	}
	fs.Inject(nil)
	if s.current.size%sectorSize != 0 && s.current.size != end {
		t.Errorf("what is saved was filled up from %d to %d", end, s.current.size)
	}
	old := s.current
	mustPut(t, s)
	if old == s.current {
		t.Error("a message shares a sector with what was saved")
	}
}

// mustPutShort puts a message while room is short.
func mustPutShort(t *testing.T, s *Spool) string {
	t.Helper()
	one := textMessage("x")
	parts, _ := queue.Split(one)
	d := &draft{message: one, parts: parts, body: []byte("x"), size: 1, number: 5 << 4, file: 5 << 4}
	d.bodySum = record.Sum(d.body)
	tk := d.ticket.init()
	s.encode(time.Unix(1e9, 0), d, tk)
	tk.durable, tk.class = true, ending
	s.line.enqueue(tk)
	must(t, s.wait(tk))
	return formatID(5 << 4)
}

// TestWriteThatCannotBeUndone has a write fail, and then what takes it back: nobody knows
// what the device holds.
func TestWriteThatCannotBeUndone(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, undo := range []crashfs.Op{crashfs.OpTruncate, crashfs.OpSync} {
		fs, s := openSmall(t)
		mustPut(t, s)
		fs.Inject(func(op crashfs.Op, name string) error {
			if op == crashfs.OpWrite {
				return syscall.ENOSPC
			}
			if op == undo && strings.HasPrefix(name, segmentPrefix) {
				return syscall.EIO
			}
			return nil
		})
		if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("%v fails: Put = %v, want ErrFailed", undo, err)
		}
	}
}

// TestLongGroups writes groups of more than is written at a time: what is read is the same,
// and nothing is written twice.
func TestLongGroups(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{LargeContent: 8 << 20})
	must(t, err)
	mustPut(t, s)
	before := s.current.size
	ids := map[string]string{}
	for n, size := range []int{3 << 20, 1 << 20, 10} {
		text := strings.Repeat(string(rune('a'+n)), size)
		id, err := s.Put(ctx, now, textMessage(text))
		must(t, err)
		ids[id] = text
	}
	if grown := s.current.size - before; grown > 4<<20+3*2*sectorSize {
		t.Errorf("4 MiB took %d bytes", grown)
	}
	s, err = openByHand(fs.Restart(), Options{LargeContent: 8 << 20})
	must(t, err)
	for id, text := range ids {
		if got, err := readContent(s, id); err != nil || got != text {
			t.Errorf("%d bytes, %v, want %d", len(got), err, len(text))
		}
	}
}

// TestSegmentThatCannotBeCreated has no descriptor for a segment, or a device that fails
// while it is made: what cannot go on in the segment before is refused, and nothing is
// left of the file.
func TestSegmentThatCannotBeCreated(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for name, c := range map[string]struct {
		first, spoiled bool
		op             crashfs.Op
		cause          error
		want           error
	}{
		"the first, no descriptor": {first: true, op: crashfs.OpCreate, cause: syscall.EMFILE, want: syscall.EMFILE},
		"another, no descriptor":   {op: crashfs.OpCreate, cause: syscall.EMFILE},
		"and the one before may go on no more": {spoiled: true, op: crashfs.OpCreate, cause: syscall.EMFILE,
			want: syscall.EMFILE},
		"no room to write it":      {op: crashfs.OpWrite, cause: syscall.ENOSPC, want: queue.ErrFull},
		"no room to save it":       {op: crashfs.OpSync, cause: syscall.ENOSPC, want: queue.ErrFull},
		"no room to save its name": {op: crashfs.OpSyncDir, cause: syscall.ENOSPC, want: queue.ErrFull},
		"it cannot be saved":       {op: crashfs.OpSync, cause: syscall.EIO, want: ErrFailed},
		"nor its name":             {op: crashfs.OpSyncDir, cause: syscall.EIO, want: ErrFailed},
	} {
		t.Run(name, func(t *testing.T) {
			fs, s := openSmall(t)
			if !c.first {
				mustPut(t, s)
			}
			s.rollNow, s.spoiled = true, c.spoiled
			next, before := fileName(segmentPrefix, s.nextSegment), fileName(segmentPrefix, s.nextSegment-1)
			fs.Inject(func(op crashfs.Op, file string) error {
				if op == c.op && (strings.HasPrefix(file, segmentPrefix) && file != before || op == crashfs.OpSyncDir) {
					return c.cause
				}
				return nil
			})
			if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("Put = %v, want %v", err, c.want)
			}
			fs.Inject(nil)
			if _, err := fs.Open(next, false); err == nil {
				t.Error("the file of the segment is left")
			}
			if c.want == ErrFailed {
				return
			}
			if _, err := s.Put(ctx, now, textMessage("x")); err != nil {
				t.Errorf("Put when that is over = %v", err)
			}
		})
	}
}

// TestRollSavesFirst has no room to save what was written when a segment is to begin: what
// was answered is not lost, and what is not put says so.
func TestRollSavesFirst(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		for seed := range uint64(8) {
			fs := crashfs.New(seed)
			s, err := openByHand(fs, Options{})
			must(t, err)
			id := mustPut(t, s)
			deliverAll(t, s) // and nobody waits for that to be saved
			s.rollNow = true
			fs.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, cause))
			there, err := s.Put(ctx, now, textMessage("x"))
			fs.Inject(nil)
			if cause == syscall.EIO && !errors.Is(err, ErrFailed) {
				t.Fatalf("Put = %v, want ErrFailed", err)
			}
			if cause == syscall.EIO {
				continue
			}
			if err != nil && !errors.Is(err, queue.ErrFull) {
				t.Fatalf("Put = %v", err)
			}
			must(t, s.save())
			s, err = openByHand(fs.Restart(), Options{})
			must(t, err)
			if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrNotFound) || len(s.problems) > 0 {
				t.Errorf("seed %d: what has left is back: %v, %v", seed, err, s.problems)
			}
			if there != "" {
				if _, err := s.Show(ctx, there); err != nil {
					t.Errorf("seed %d: what was put: %v", seed, err)
				}
			}
		}
	}
}

// TestSlotsKeptForWhatLeaves has no slot left for a segment: Put leaves one to what lets
// mail go, and that goes on in the segment before where it may.
func TestSlotsKeptForWhatLeaves(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := fewSlots(t, 3, 0)
	s.rollNow = true
	mustPut(t, s)
	s.rollNow = true
	mustPut(t, s)
	s.rollNow = true
	if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, queue.ErrFull) {
		t.Fatalf("Put into the last slot = %v, want ErrFull", err)
	}
	list := together(s, plainTicket(growing), plainTicket(working))
	if !errors.Is(list[0], errSlots) || list[1] != nil {
		t.Errorf("what grows: %v, want that there is no slot; what does not: %v", list[0], list[1])
	}
	if n := len(s.segments.byNumber); n != 3 {
		t.Errorf("there are %d segments, want 3", n)
	}
	s.rollNow = true
	if err := together(s, plainTicket(ending))[0]; err != nil {
		t.Errorf("what lets mail go, when there is no slot at all: %v", err)
	}
	s.spoiled = true
	if err := together(s, plainTicket(ending))[0]; !errors.Is(err, queue.ErrFull) {
		t.Errorf("and when the segment may not go on = %v, want ErrFull", err)
	}
	for _, c := range []struct {
		size, bytes int64
		goes        bool
	}{{MaxSegmentSize, maxGroup, true}, {MaxSegmentSize, maxGroup + 1, false}, {MaxSegmentSize + 1, maxGroup, false}, {0, 1, true}} {
		s.spoiled = false
		if got := s.goesOn(&segment{size: c.size}, c.bytes); got != c.goes {
			t.Errorf("a segment of %d bytes takes %d more: %v", c.size, c.bytes, got)
		}
	}
	if s.goesOn(nil, 1) {
		t.Error("no segment takes more")
	}
}

// TestWhatWasAnsweredIsWrittenAgain has no room for what is written behind a settlement that
// was answered, which shows when both are saved: what there is no room for is refused, and
// the settlement can be read, and is saved. If there is no room for that either, nothing is
// written before there is.
func TestWhatWasAnsweredIsWrittenAgain(t *testing.T) {
	ctx := context.Background()
	for _, room := range []int64{2 * sectorSize, -1} {
		fs, s := openSmall(t)
		id := mustPut(t, s)
		must(t, settleOne(s, queue.Deferred, nil))
		must(t, s.spare.file.Truncate(0))
		s.spare.size = 0
		fs.SetDevice(crashfs.Device{Room: fs.Used() + room, AtSync: true})
		long := plainTicket(ending)
		long.frames[0].Body = make([]byte, 64<<10)
		long.frames[0].BodySum = record.Sum(long.frames[0].Body)
		if err := together(s, long)[0]; !errors.Is(err, queue.ErrFull) {
			t.Fatalf("what there is no room for: %v", err)
		}
		if s.torn != (room < 0) {
			t.Errorf("the end of the log is in pieces: %v, with room for %d bytes", s.torn, room)
		}
		if room < 0 {
			applied := false
			next := plainTicket(ending)
			next.durable, next.apply = false, func(*hold, *segment, []uint32) { applied = true }
			if err := together(s, next)[0]; !errors.Is(err, queue.ErrFull) || applied {
				t.Errorf("written behind an end that is in pieces: %v, in the index: %v", err, applied)
			}
			fs.SetDevice(crashfs.Device{})
			must(t, together(s, plainTicket(ending))[0])
		}
		attempts := func(s *Spool) int {
			e, err := s.Show(ctx, id)
			must(t, err)
			return e.Waiting[0].Attempts
		}
		if n := attempts(s); n != 1 {
			t.Errorf("%d attempts are counted", n)
		}
		s, err := openByHand(fs.Restart(), Options{})
		must(t, err)
		if n := attempts(s); n != 1 || len(s.problems) > 0 {
			t.Errorf("%d attempts are counted when the power has failed, problems %v", n, s.problems)
		}
	}
}

// TestSegmentGoesOnNoMore has a segment not begun, whose file may come back: nothing is
// written to the one before any more, though it would take it.
func TestSegmentGoesOnNoMore(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	old := s.current
	s.limit = old.size + 3*sectorSize
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpWrite && name != old.file.name && strings.HasPrefix(name, segmentPrefix) {
			return syscall.EIO
		}
		return nil
	})
	if _, err := putSize(s, "a.example", 5*sectorSize); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Put that needs another segment = %v", err)
	}
	fs.Inject(nil)
	mustPut(t, s)
	if s.current == old {
		t.Error("the segment before was written to")
	}
}
