package disk

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestSegmentWithoutFlushesNeedsNoCheckpoint gives up a segment without flushes, while
// another has one of which there is no checkpoint: none is taken, and if there is no room
// for one, that does not matter.
func TestSegmentWithoutFlushesNeedsNoCheckpoint(t *testing.T) {
	ctx := context.Background()
	for _, blocked := range []bool{false, true} {
		fs, s, id, g := flushed(t, func(*Spool) {}, func(*Spool) {})
		if blocked {
			begun := 0
			fs.Inject(noCheckpoint(&begun))
			if err := s.takeCheckpoint(ctx); !errors.Is(err, queue.ErrFull) {
				t.Fatalf("a checkpoint without room = %v", err)
			}
		}
		before := s.nextCheckpoint
		first := s.segments.byNumber[1]
		if first == nil || first == g || first.flushes {
			t.Fatal("the first segment has flushes")
		}
		must(t, s.compact(ctx, first))
		if s.segments.byNumber[1] != nil || s.nextCheckpoint != before {
			t.Errorf("blocked %v: the segment stays: %v, and %d checkpoints were begun", blocked, s.segments.byNumber[1] != nil, s.nextCheckpoint-before)
		}
		if !dueAtOnce(t, fs, id) {
			t.Error("it is not due at once any more")
		}
	}
}

// TestSegmentOfAFlushUnderWay gives up a segment with a flush of which the index has
// nothing yet: what it names is due at once when the power has failed.
func TestSegmentOfAFlushUnderWay(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	later := textMessage("later")
	later.NotBefore = now.Add(time.Hour)
	id, err := s.Put(ctx, now, later)
	must(t, err)
	s.rollNow = true
	must(t, s.Hold(ctx, mustPut(t, s)))
	s.mu.Lock()
	f := s.newFlush(&record.Flush{Since: now})
	s.flushes, s.flushed = append(s.flushes, f), s.flushed+1
	s.mu.Unlock()
	tk := f.ticket()
	s.pass(tk, nil)
	must(t, s.passed(tk, nil))
	g := s.current
	s.rollNow = true
	must(t, s.Hold(ctx, mustPut(t, s)))
	must(t, s.compact(ctx, g))
	if s.segments.byNumber[g.number] != nil {
		t.Fatal("the segment stays")
	}
	s.finish(f)
	must(t, s.save())
	if !dueAtOnce(t, fs, id) {
		t.Error("it is not due at once")
	}
}

// TestNeedlessSegmentsAreRetiredTogether has many segments in which nothing is needed:
// they are given up with few writes, each of which says so of a limited number.
func TestNeedlessSegmentsAreRetiredTogether(t *testing.T) {
	fs, s := openSmall(t)
	const many = 2*retireMax + 20
	segmentsOfOne(t, s, many)
	s.rollNow = true
	for s.index.Len() > 0 {
		deliverAll(t, s)
	}
	from, g := s.current.size, s.current
	syncs := 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync {
			syncs++
		}
		return nil
	})
	must(t, s.maintain(context.Background()))
	fs.Inject(nil)
	if s.current != g || len(s.segments.byNumber) != 1 {
		t.Fatalf("there are %d segments", len(s.segments.byNumber))
	}
	var retired []int
	groups := g.groups(from)
	for groups.Next() {
		n := 0
		for _, f := range groups.Frames() {
			if f.Kind == record.KindRetired {
				n++
			}
		}
		if n > 0 {
			retired = append(retired, n)
		}
	}
	if len(retired) != (many+retireMax-1)/retireMax || slices.Max(retired) > retireMax || syncs > len(retired)+2 {
		t.Errorf("%d segments are retired in groups of %v, with %d syncs", many, retired, syncs)
	}
}

// TestSegmentThatCannotBeRetired has the record that retires a segment not be written:
// that is told, the segment stays in use, and its file goes when it can be retired.
func TestSegmentThatCannotBeRetired(t *testing.T) {
	odd := errors.New("odd")
	fs, s := openSmall(t)
	mustPut(t, s)
	g := s.current
	s.rollNow = true
	deliverAll(t, s)
	must(t, s.save())
	fs.Inject(crashfs.FailNth(crashfs.OpWrite, 1, false, odd))
	if err := s.retire(g); !errors.Is(err, odd) || s.segments.byNumber[g.number] == nil {
		t.Errorf("a write fails: %v, and the segment is in use: %v", err, s.segments.byNumber[g.number] != nil)
	}
	fs.Inject(nil)
	must(t, s.retire(g))
	if _, err := sizeOf(fs, g.file.name); err == nil || s.segments.byNumber[g.number] != nil {
		t.Errorf("its file is there: %v, and it is in use: %v", err == nil, s.segments.byNumber[g.number] != nil)
	}
}

// TestSegmentWhoseKeysCannotBeSaved has the keys of what has left not be saved: the
// segment that has them stays, so that they are not forgotten.
func TestSegmentWhoseKeysCannotBeSaved(t *testing.T) {
	ctx, now, odd := context.Background(), time.Unix(1e9, 0), errors.New("odd")
	fs, s := openSmall(t)
	keyed := textMessage("with a key")
	keyed.Key = "key"
	_, err := s.Put(ctx, now, keyed)
	must(t, err)
	deliverAll(t, s)
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	fs.Inject(func(op crashfs.Op, name string) error {
		if strings.HasPrefix(name, keysPrefix) {
			return odd
		}
		return nil
	})
	if err := s.compact(ctx, g); !errors.Is(err, odd) || s.segments.byNumber[g.number] == nil {
		t.Errorf("the keys cannot be saved: %v, and the segment is in use: %v", err, s.segments.byNumber[g.number] != nil)
	}
	fs.Inject(nil)
	s, err = openByHand(fs.Restart(), Options{})
	must(t, err)
	if _, err := s.Put(ctx, now, keyed); !errors.Is(err, queue.ErrDuplicate) {
		t.Errorf("after a restart Put of the same key = %v, want ErrDuplicate", err)
	}
}

// TestRoomOfARetiredSegmentGoesToTheReserve retires a segment while room is short: the
// reserve is whole again at once.
func TestRoomOfARetiredSegmentGoesToTheReserve(t *testing.T) {
	_, s := openSmall(t)
	mustPut(t, s)
	g := s.current
	s.rollNow = true
	deliverAll(t, s)
	must(t, s.spare.file.Truncate(0))
	s.spare.size = 0
	s.short.Store(true)
	must(t, s.compact(context.Background(), g))
	s.mu.Lock()
	_, _, _, all := s.roomNeeded()
	s.mu.Unlock()
	if s.spare.size < all || s.short.Load() {
		t.Errorf("the reserve has %d bytes of %d, and room is short: %v", s.spare.size, all, s.short.Load())
	}
}

// TestMovedEndsAreKept moves the end of a delivery twice, while the segment of its
// message is in use: the segment that has only that end stays, too.
func TestMovedEndsAreKept(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	ended := mustPut(t, s)
	stays, err := s.Put(ctx, time.Unix(1e9, 0), textMessage("stays"))
	must(t, err)
	first := s.current
	s.rollNow = true
	must(t, s.Drop(ctx, ended))
	for range 3 {
		i := slices.IndexFunc(s.segments.list, func(g *segment) bool { return g != nil && g.gone[first.number] > 0 })
		if i < 0 {
			t.Fatal("no segment has the end")
		}
		g := s.segments.list[i]
		s.rollNow = true
		must(t, s.Drop(ctx, mustPut(t, s)))
		must(t, s.compact(ctx, g)) // its end goes to another segment
		if s.segments.byNumber[g.number] != nil {
			t.Fatal("the segment stays")
		}
		s.rollNow = true
		must(t, s.Drop(ctx, mustPut(t, s)))
		must(t, s.maintain(ctx))
	}
	s, err = openByHand(fs.Restart(), Options{})
	must(t, err)
	if _, err := s.Show(ctx, ended); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("what was dropped is back: %v", err)
	}
	if _, err := s.Show(ctx, stays); err != nil {
		t.Error(err)
	}
}

// TestCompactionUsesWhatIsKeptForIt has a device that is full, with only so much of the
// reserve left as compactions may use: mail, ends and postponements are moved.
func TestCompactionUsesWhatIsKeptForIt(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for name, fill := range map[string]func(t *testing.T, s *Spool){
		"mail": func(t *testing.T, s *Spool) { must(t, s.Hold(ctx, mustPut(t, s))) },
		"postponements": func(t *testing.T, s *Spool) {
			must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, s := openSmall(t)
			for range 20 { // so that more than the least is kept
				_, err := putSize(s, "a.example", 20<<10)
				must(t, err)
			}
			s.rollNow = true
			fill(t, s)
			g := s.current
			s.rollNow = true
			mustPut(t, s)
			s.short.Store(true)
			s.mu.Lock()
			ends, moves, _, _ := s.roomNeeded()
			s.mu.Unlock()
			if moves < ends+sectorSize {
				t.Fatalf("%d and %d bytes are kept", ends, moves)
			}
			must(t, s.spare.file.Truncate(moves))
			s.spare.size = moves
			fs.Inject(func(op crashfs.Op, name string) error {
				if op == crashfs.OpWrite && s.spare.size == moves { // until some of it is given up
					return syscall.ENOSPC
				}
				return nil
			})
			must(t, s.compact(ctx, g))
			fs.Inject(nil)
			if s.segments.byNumber[g.number] != nil || s.spare.size == moves {
				t.Errorf("the segment stays: %v, and the reserve has %d bytes of %d", s.segments.byNumber[g.number] != nil, s.spare.size, moves)
			}
		})
	}
}

// TestCompactionWaitsItsTurn has a delivery be another call's: a compaction waits until
// that is done with it, and moves what is left then.
func TestCompactionWaitsItsTurn(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct{ elsewhere, leaves bool }{
		"a message":                        {},
		"a delivery":                       {elsewhere: true},
		"a message that leaves meanwhile":  {leaves: true},
		"a delivery that leaves meanwhile": {leaves: true, elsewhere: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := openSmall(t)
			id := mustPut(t, s)
			if c.elsewhere { // the record of the delivery, from its message
				s.rollNow = true
				must(t, s.Hold(ctx, id))
			}
			g := s.current
			s.rollNow = true
			mustPut(t, s)
			number, _ := parseID(id)
			slot := s.slots(number)[0]
			s.mu.Lock()
			s.reserved.take(slot)
			s.mu.Unlock()
			var group sync.WaitGroup
			done := make(chan struct{})
			group.Go(func() {
				defer close(done)
				must(t, s.compact(ctx, g))
			})
			for waits := false; !waits; runtime.Gosched() {
				select {
				case <-done:
					t.Fatal("it did not wait")
				default:
				}
				s.mu.Lock()
				waits = s.reserved[slot] != nil
				s.mu.Unlock()
			}
			if c.leaves {
				s.mu.Lock()
				s.index.Remove(slot)
				s.mu.Unlock()
			}
			s.release([]index.Slot{slot})
			group.Wait()
			if s.segments.byNumber[g.number] != nil {
				t.Error("the segment stays")
			}
			if _, err := s.Show(ctx, id); errors.Is(err, queue.ErrNotFound) != c.leaves || err != nil != c.leaves {
				t.Errorf("the message is %v", err)
			}
			if len(s.reserved) > 0 {
				t.Errorf("%d deliveries are still reserved", len(s.reserved))
			}
		})
	}
}

// TestCompactionThatCannotReadForAMoment has each read of a compaction fail once: because
// there is no descriptor, which is told, or as a bad sector does, which is not: the segment stays
// then, or everything in it was moved.
func TestCompactionThatCannotReadForAMoment(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.EMFILE} {
		for n, hit := 1, true; hit; n++ {
			fs := crashfs.New(uint64(n))
			s := varied(t, fs, 0)
			want := all(t, s)
			hit = false
			nth := crashfs.FailNth(crashfs.OpRead, n, false, cause)
			fs.Inject(func(op crashfs.Op, name string) error {
				err := nth(op, name)
				hit = hit || err != nil
				return err
			})
			err := compactAll(s, true)
			fs.Inject(nil)
			if err != nil && !errors.Is(err, syscall.EMFILE) {
				t.Errorf("read %d fails with %v: %v", n, cause, err)
			}
			if got := all(t, s); got != want {
				t.Fatalf("read %d fails with %v: the spool has\n%s\nwant\n%s", n, cause, got, want)
			}
			must(t, s.save())
			same(t, "after a restart", fs.Restart(), want)
		}
	}
}

// TestPostponementsOfAFailedDevice has a postponement that another call is about to change
// keep a compaction waiting, and the device fail: that is told.
func TestPostponementsOfAFailedDevice(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "other.example", Until: now.Add(time.Hour)})) // not saved
	s.passing["slow.example"] = 1
	fs.Inject(crashfs.FailNth(crashfs.OpSync, 1, true, syscall.EIO))
	if err := s.compact(ctx, g); !errors.Is(err, ErrFailed) {
		t.Errorf("it answers %v, want ErrFailed", err)
	}
}

// TestCompactionSavesOnce moves a little: it takes few syncs.
func TestCompactionSavesOnce(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
	for range 5 {
		must(t, s.Hold(ctx, mustPut(t, s)))
	}
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	syncs := 0
	fs.Inject(func(op crashfs.Op, _ string) error {
		if op == crashfs.OpSync {
			syncs++
		}
		return nil
	})
	must(t, s.compact(ctx, g))
	if syncs > 4 || s.segments.byNumber[g.number] != nil {
		t.Errorf("%d syncs, and the segment stays: %v", syncs, s.segments.byNumber[g.number] != nil)
	}
}
