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
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// heldElsewhere is a spool of three segments: the second has records of deliveries whose
// messages, on hold, are in the first.
func heldElsewhere(t *testing.T, n int) (fs *crashfs.FS, s *Spool, ids []string, second *segment) {
	t.Helper()
	fs, s = openSmall(t)
	for range n {
		ids = append(ids, mustPut(t, s))
	}
	for i, id := range ids {
		s.rollNow = i == 0
		must(t, s.Hold(t.Context(), id))
	}
	second = s.current
	s.rollNow = true
	mustPut(t, s)
	return fs, s, ids, second
}

// TestCompactionOfADeliveryThatCannotBeRead has a record be damaged of a delivery whose
// message is elsewhere, before a compaction or while it waits for its turn: the others are
// moved, the segment stays for what is in it, and nothing fails. Another failure is told.
func TestCompactionOfADeliveryThatCannotBeRead(t *testing.T) {
	ctx, odd := context.Background(), errors.New("odd")
	for name, c := range map[string]struct {
		before bool
		cause  error
	}{"damaged before": {true, nil}, "damaged meanwhile": {false, nil}, "another failure": {false, odd}} {
		fs, s, ids, second := heldElsewhere(t, 3)
		number, _ := parseID(ids[1])
		slot := s.slots(number)[0]
		hurt := func() {
			fs.Flip(second.file.name, int64(s.index.Get(slot).Record.Offset)+record.FrameSize+1, 1)
		}
		if c.cause != nil {
			hurt = func() {
				closeIdle(s)
				fs.Inject(crashfs.FailNth(crashfs.OpOpen, 1, true, c.cause))
			}
		}
		var err error
		if c.before {
			hurt()
			err = s.compact(ctx, second)
		} else {
			besideAnother(t, s, slot, func() { err = s.compact(ctx, second) }, hurt)
		}
		fs.Inject(nil)
		if !errors.Is(err, c.cause) || c.cause == nil && err != nil {
			t.Errorf("%s: it answers %v", name, err)
		}
		if s.segments.byNumber[second.number] == nil || second.broken != (c.cause == nil) {
			t.Errorf("%s: the segment is in use: %v, and left alone: %v", name, s.segments.byNumber[second.number] != nil, second.broken)
		}
		for i, id := range ids {
			number, _ := parseID(id)
			moved := s.index.Get(s.slots(number)[0]).Record.Segment != second.slot
			if want := i != 1; c.cause == nil && moved != want {
				t.Errorf("%s: the record of message %d was moved: %v", name, i, moved)
			}
		}
		if n := pins(s); n > 0 || len(s.reserved) > 0 {
			t.Errorf("%s: %d segments are in use and %d deliveries reserved", name, n, len(s.reserved))
		}
	}
}

// TestCompactionThatIsInterrupted has a compaction be cut off while it waits for a delivery
// that another call has, what it has moved before not be written then, or the system have
// no descriptor: it says so, and the segment can be given up later.
func TestCompactionThatIsInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		elsewhere bool // the messages are in another segment
		cause     error
	}{
		"a message, cut off":              {false, context.Canceled},
		"a delivery, cut off":             {true, context.Canceled},
		"a message that is not written":   {false, syscall.EFBIG},
		"a delivery that is not written":  {true, syscall.EFBIG},
		"a message without a descriptor":  {false, syscall.EMFILE},
		"a delivery without a descriptor": {true, syscall.EMFILE},
		"a message, and nothing happens":  {false, nil},
		"a delivery, and nothing happens": {true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			fs, s, ids, g := heldElsewhere(t, 3)
			if !c.elsewhere {
				g = s.segments.byNumber[1]
			}
			number, _ := parseID(ids[2])
			slot := s.slots(number)[0]
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var err error
			switch c.cause {
			case syscall.EMFILE:
				closeIdle(s)
				fs.Inject(crashfs.FailNth(crashfs.OpOpen, 2, true, c.cause)) // when the segment is open, or at once
				if c.elsewhere {
					fs.Inject(crashfs.FailNth(crashfs.OpOpen, 1, true, c.cause))
				}
				err = s.compact(ctx, g)
			case syscall.EFBIG: // once: the next write is good
				fs.Inject(crashfs.FailNth(crashfs.OpWrite, 1, false, c.cause))
				s.reserved.take(slot) // so that what was moved before is waited for
				err = s.compact(ctx, g)
				s.release([]index.Slot{slot})
			default:
				done := make(chan struct{})
				besideAnother(t, s, slot, func() { err = s.compact(ctx, g); close(done) }, func() {
					if c.cause == context.Canceled {
						cancel()
						<-done
						if _, reserved := s.reserved[slot]; !reserved {
							t.Error("a delivery was given away that another call has")
						}
					}
				})
			}
			fs.Inject(nil)
			if !errors.Is(err, c.cause) || c.cause == nil && err != nil {
				t.Errorf("it answers %v, want %v", err, c.cause)
			}
			if stays := s.segments.byNumber[g.number] != nil; stays != (c.cause != nil) || g.broken {
				t.Errorf("the segment stays: %v, and is taken for broken: %v", stays, g.broken)
			}
			if n := pins(s); n > 0 || len(s.reserved) > 0 {
				t.Errorf("%d segments are in use and %d deliveries reserved", n, len(s.reserved))
			}
			if c.cause != nil {
				must(t, s.compact(t.Context(), g))
			}
			if s.segments.byNumber[g.number] != nil {
				t.Error("the segment stays when nothing is in the way")
			}
			must(t, s.save())
			s, err = openByHand(fs.Restart(), Options{})
			must(t, err)
			for _, id := range ids {
				if e, err := s.Show(t.Context(), id); err != nil || !e.Held {
					t.Errorf("%s is on hold %v, %v", id, e.Held, err)
				}
			}
		})
	}
}

// TestEndsOfASegmentThatHasGone gives up a segment with the ends of deliveries whose
// messages' segment has gone before: they are not kept.
func TestEndsOfASegmentThatHasGone(t *testing.T) {
	ctx := context.Background()
	_, s := openSmall(t)
	ended := mustPut(t, s)
	first := s.current
	s.rollNow = true
	must(t, s.Drop(ctx, ended))
	must(t, s.Hold(ctx, mustPut(t, s)))
	second := s.current
	s.rollNow = true
	mustPut(t, s)
	must(t, s.compact(ctx, first))
	if s.segments.byNumber[first.number] != nil {
		t.Fatal("the first segment is there")
	}
	must(t, s.compact(ctx, second))
	if s.segments.byNumber[second.number] != nil || len(s.current.gone) > 0 {
		t.Errorf("the second segment is there, or ends were kept: %v", s.current.gone)
	}
}

// TestEndThatIsNotWhole has the record of the end of a delivery be cut short, and its
// group whole: it ends nothing, also when its segment has been given up.
func TestEndThatIsNotWhole(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	id := mustPut(t, s)
	number, _ := parseID(id)
	destination := s.index.Get(s.slots(number)[0]).Destination
	head := (&record.Gone{ID: number, Destination: destination, Home: s.current.number, Left: time.Unix(1e9, 0)}).Append(nil)
	tk := plainTicket(working)
	tk.frames[0].Kind, tk.frames[0].Head = record.KindGone, head[:len(head)-1]
	s.rollNow = true
	must(t, together(s, tk)[0])
	must(t, s.Hold(ctx, mustPut(t, s))) // so that something is to be moved
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	must(t, s.compact(ctx, g))
	must(t, s.save())
	fs = fs.Restart()
	must(t, withoutCheckpoints(fs))
	s, err := openByHand(fs, Options{})
	must(t, err)
	if _, err := s.Show(ctx, id); err != nil {
		t.Errorf("the message is %v", err)
	}
}

// TestCompactionGivesEachTurnBackOnce has a compaction give deliveries back, and go on: one
// that another call has taken since is not given away again.
func TestCompactionGivesEachTurnBackOnce(t *testing.T) {
	_, s := openSmall(t)
	number, _ := parseID(mustPut(t, s))
	slots := s.slots(number)
	c := &compaction{s: s, g: s.current, ctx: t.Context(), slots: map[index.Slot]bool{}}
	must(t, c.acquire(slots))
	must(t, c.flush())
	if !s.reserved.takeAll(slots) {
		t.Fatal("a delivery was not given back")
	}
	must(t, c.flush())
	if _, reserved := s.reserved[slots[0]]; !reserved {
		t.Error("a delivery was given away that another call has")
	}
}

// TestSegmentWhoseOutcomesCannotBeSaved has the outcomes that a segment has not be saved:
// the segment stays, so that they are kept.
func TestSegmentWhoseOutcomesCannotBeSaved(t *testing.T) {
	ctx, odd := context.Background(), errors.New("odd")
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	id := mustEnd(t, s)
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	fs.Inject(func(op crashfs.Op, name string) error {
		if strings.HasPrefix(name, outcomesPrefix) {
			return odd
		}
		return nil
	})
	if err := s.compact(ctx, g); !errors.Is(err, odd) || s.segments.byNumber[g.number] == nil {
		t.Errorf("the outcomes cannot be saved: %v, and the segment is in use: %v", err, s.segments.byNumber[g.number] != nil)
	}
	fs.Inject(nil)
	must(t, s.compact(ctx, g))
	if s.segments.byNumber[g.number] != nil {
		t.Error("the segment is there")
	}
	s, err = openByHand(fs.Restart(), keeping())
	must(t, err)
	if ids, _ := messagesOf(t, s, ""); len(ids) != 1 || ids[0] != id {
		t.Errorf("the outcomes of %v are known, want %s", ids, id)
	}
}

// TestSegmentIsRetiredWhenTheLogIsSaved has no room to save the log while a segment is
// given up: it stays until there is.
func TestSegmentIsRetiredWhenTheLogIsSaved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	mustPut(t, s)
	g := s.current
	s.rollNow = true
	deliverAll(t, s)
	must(t, s.save())
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)})) // not saved
	saves := 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && name == s.current.file.name {
			if saves++; saves == 1 {
				return syscall.EIO
			}
		}
		return nil
	})
	if err := s.retire(g); !errors.Is(err, ErrFailed) || saves != 1 || s.segments.byNumber[g.number] == nil {
		t.Errorf("the log cannot be saved: %v, and the segment is in use: %v; it was tried %d times", err, s.segments.byNumber[g.number] != nil, saves)
	}
}
