package disk

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// room is what a spool needs.
func room(s *Spool) (ends, moves, parts, all int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roomNeeded()
}

// TestReserveGrowsWithTheSpool adds segments and deliveries: each has its part in what is
// kept, for its end, for what must be moved of a long log, and for a checkpoint.
func TestReserveGrowsWithTheSpool(t *testing.T) {
	_, s := openSmall(t)
	ends, _, parts, all := room(s)
	if ends < minRoom || all < parts+minRoom {
		t.Errorf("an empty spool needs %d bytes for ends, and %d after %d", ends, all, parts)
	}
	for i := range 30 {
		s.rollNow = i%10 == 0
		_, err := putSize(s, fmt.Sprintf("a-rather-long-name-%d.example", i), 10)
		must(t, err)
	}
	ends, moves, parts, all := room(s)
	if least := minRoom + 24*int64(len(s.segments.byNumber)) + s.index.EndRoom(); ends < least {
		t.Errorf("%d bytes are for ends, want %d", ends, least)
	}
	if least := parts + minRoom + 30*rowRoom + s.index.NameRoom(); moves < ends || all < least {
		t.Errorf("%d bytes are needed, want %d", all, least)
	}
	s.logBytes = 1 << 30
	ends, moves, _, _ = room(s)
	if limit := s.segmentLimit(); moves-ends < limit+limit/2+minRoom {
		t.Errorf("%d bytes are for what must be moved, of segments of %d", moves-ends, limit)
	}
	if n := s.leastSegment(1000); n/4 < s.filled(int64(record.HeaderSize+record.FrameSize+12*1000)) {
		t.Errorf("the least segment has %d bytes, of which a list of 1000 would take more than a quarter", n)
	}
	must(t, s.Close())
}

// TestSegmentsAreShortWithoutRoom has segments be short while room is: so that they can be
// moved, and retired one after the other.
func TestSegmentsAreShortWithoutRoom(t *testing.T) {
	_, s := openSmall(t)
	mustPut(t, s)
	long := s.segmentLimit()
	s.short.Store(true)
	if short := s.segmentLimit(); short >= long || short > 4*minRoom {
		t.Errorf("segments get %d bytes long, and %d while room is short", long, short)
	}
	s.short.Store(false)
	must(t, s.Close())
}

// TestEndRoom: the end of a delivery takes as much as its record at most, and a row of a
// checkpoint, and no more than that of a long one.
func TestEndRoom(t *testing.T) {
	of := func(head int) int64 {
		f := frame{home: 1}
		f.Head = make([]byte, head)
		return (&ticket{frames: []frame{f, {}}}).endRoom()
	}
	if a, b, c := of(10), of(110), of(4000); a < 96+10+rowRoom || b != a+100 || c != 384+rowRoom {
		t.Errorf("ends of records of 10, 110 and 4000 bytes need %d, %d and %d", a, b, c)
	}
}

// onlyRoom leaves so much room on the device beside what is there without the reserve,
// which is given up.
func onlyRoom(t *testing.T, fs *crashfs.FS, s *Spool, bytes int64) {
	t.Helper()
	must(t, s.spare.file.Truncate(0))
	s.mu.Lock()
	s.spare.size, s.spare.failed = 0, time.Time{}
	s.mu.Unlock()
	fs.SetDevice(crashfs.Device{Room: fs.Used() + bytes})
}

// TestReserveIsEnlargedAsFarAsThereIsRoom has room for a part of the reserve only: it gets
// that, and stays so where it has more. Put waits for all of it.
func TestReserveIsEnlargedAsFarAsThereIsRoom(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := halfEmpty(t, 8, 8, 8, 8)
	_, moves, parts, all := room(s)
	if moves+2000 > parts || parts+2000 > all {
		t.Fatalf("%d, %d and %d bytes are needed", moves, parts, all)
	}
	for _, c := range []struct{ has, least, below int64 }{{moves + 500, moves, parts}, {parts + 500, parts, all}} {
		onlyRoom(t, fs, s, c.has)
		s.short.Store(true)
		s.refillSome()
		size, err := s.spare.file.Size()
		must(t, err)
		if s.spare.size < c.least || s.spare.size >= c.below || s.spare.size != size || !s.short.Load() {
			t.Errorf("with room for %d the reserve has %d bytes, its file %d, want %d; room is short: %v", c.has, s.spare.size, size, c.least, s.short.Load())
		}
		if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, queue.ErrFull) {
			t.Errorf("Put = %v, want ErrFull", err)
		}
	}
	onlyRoom(t, fs, s, all-500)
	must(t, s.spare.file.Allocate(all-500))
	s.spare.size = all - 500
	s.refillSome()
	if s.spare.size != all-500 {
		t.Errorf("a reserve of %d bytes has %d", all-500, s.spare.size)
	}
	onlyRoom(t, fs, s, all+all/16)
	s.refillSome()
	if s.spare.size < all || s.short.Load() {
		t.Errorf("the reserve has %d bytes of %d, room is short: %v", s.spare.size, all, s.short.Load())
	}
	fs.SetDevice(crashfs.Device{})
	must(t, s.Close())
}

// TestReserveThatIsTooLarge has a reserve be much larger than need be, as after a large
// backlog: the next Put gives most of it back.
func TestReserveThatIsTooLarge(t *testing.T) {
	_, s := openSmall(t)
	must(t, s.grow(24<<20))
	mustPut(t, s)
	_, _, _, all := room(s)
	size, err := s.spare.file.Size()
	must(t, err)
	if s.spare.size < all || size > 4<<20 {
		t.Errorf("the reserve has %d bytes, its file %d, want a few more than %d", s.spare.size, size, all)
	}
	must(t, s.Close())
}

// TestFullReserveIsNotTriedForEachPut has no room for the reserve: Put does not try again
// for each message, but after a while, since another program may have freed some.
func TestFullReserveIsNotTriedForEachPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, now := context.Background(), time.Unix(1e9, 0)
		fs, s := openSmall(t)
		onlyRoom(t, fs, s, 1000)
		tries := 0
		fs.Inject(func(op crashfs.Op, name string) error {
			if name == reserveName && op == crashfs.OpWrite {
				tries++
			}
			return nil
		})
		put := func() error { _, err := s.Put(ctx, now, textMessage("x")); return err }
		for i := range 20 {
			if err := put(); !errors.Is(err, queue.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Put = %v, want ErrFull and the cause", err)
			}
			if i == 0 && tries == 0 {
				t.Error("the first did not try")
			}
			if i > 0 && tries > 0 {
				t.Errorf("number %d tried %d times", i+1, tries)
			}
			tries = 0
		}
		time.Sleep(againAfter)
		if err := put(); !errors.Is(err, queue.ErrFull) || tries == 0 {
			t.Errorf("a while later Put = %v after %d tries", err, tries)
		}
		fs.SetDevice(crashfs.Device{})
		if err := put(); !errors.Is(err, queue.ErrFull) {
			t.Errorf("Put at once when there is room = %v", err)
		}
		time.Sleep(againAfter)
		must(t, put())
		must(t, s.Close())
	})
}

// TestReserveThatCannotBeOpened opens a spool whose reserve cannot be made, for a lack of
// room: it opens, and Put makes it when there is some. Another error is told as it is.
func TestReserveThatCannotBeOpened(t *testing.T) {
	ctx, now, odd := context.Background(), time.Unix(1e9, 0), errors.New("odd")
	fs := crashfs.New(1)
	var cause error = syscall.ENOSPC
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpCreate && name == reserveName {
			return cause
		}
		return nil
	})
	s, err := openByHand(fs, small())
	must(t, err)
	if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Put = %v, want ErrFull", err)
	}
	s.spare.failed = time.Time{}
	cause = odd
	if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, odd) || errors.Is(err, queue.ErrFull) {
		t.Errorf("Put = %v, want the cause alone", err)
	}
	cause = nil
	mustPut(t, s)
	if _, _, _, all := room(s); s.spare.size < all {
		t.Errorf("the reserve has %d bytes of %d", s.spare.size, all)
	}
	must(t, s.Close())

	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSize && name == reserveName {
			return odd
		}
		return nil
	})
	if _, err := openByHand(fs, small()); !errors.Is(err, odd) {
		t.Errorf("Open where nobody knows the length of the reserve = %v", err)
	}
}

// TestReserveWithHoles opens a spool whose reserve has a length and no room behind it, as
// after a copy: it counts for nothing, takes none, and Put waits until it is made anew.
func TestReserveWithHoles(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	mustPut(t, s)
	must(t, s.Close())
	asked, opening := 0, true
	fs.Inject(func(op crashfs.Op, name string) error {
		switch {
		case name == reserveName && op == crashfs.OpSize && opening: // by Open, and then by Allocate
			if asked++; asked > 1 {
				return syscall.ENOSPC
			}
		case name == reserveName && op == crashfs.OpWrite:
			return syscall.ENOSPC
		}
		return nil
	})
	s, err := openByHand(fs, Options{})
	must(t, err)
	opening = false
	size, err := sizeOf(fs, reserveName)
	must(t, err)
	if s.spare.size != 0 || size != 0 || !s.short.Load() {
		t.Errorf("the reserve has %d bytes, its file %d, room is short: %v", s.spare.size, size, s.short.Load())
	}
	if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Put = %v, want ErrFull", err)
	}
	fs.Inject(nil)
	s.spare.failed = time.Time{}
	mustPut(t, s)
	must(t, s.Close())
}
