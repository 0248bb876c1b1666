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

// TestDamageBeforeWhatIsNotSaved has the last message damaged that was saved, and behind it
// something that was not, before the process ends: the damage is named, since what is
// behind it says that the message was saved.
func TestDamageBeforeWhatIsNotSaved(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	number, _ := parseID(mustPut(t, s))
	postponed(t, s, "slow.example")
	fs = fs.Kill()
	name, at := find(t, fs.Copy(), number, record.KindMessage)
	fs.Flip(name, at+record.FrameSize+4, 1)
	s, err := openByHand(fs, Options{})
	must(t, err)
	if len(s.problems) == 0 || s.problems[0].File != name {
		t.Errorf("the problems are %v, want one of %s", s.problems, name)
	}
	if n := len(s.slots(number)); n != 1 {
		t.Errorf("%d deliveries of the message are known, want 1", n)
	}
}

// TestDamageBeforeTheVeryEnd has a message whose records end with what is saved, since
// room was too short to fill the sector, and one of them damaged: the others are known.
func TestDamageBeforeTheVeryEnd(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	s.mu.Lock()
	s.short.Store(true)
	s.mu.Unlock()
	number, _ := parseID(mustPutShort(t, s))
	if s.current.size%sectorSize == 0 {
		t.Fatal("the sector was filled")
	}
	must(t, s.Close())
	name, at := find(t, fs.Copy(), number, record.KindMessage)
	fs.Flip(name, at+record.FrameSize+4, 1)
	s, err := openByHand(fs, Options{})
	must(t, err)
	if n := len(s.slots(number)); n != 1 || len(s.problems) == 0 {
		t.Errorf("%d deliveries of the message are known, and the problems are %v", n, s.problems)
	}
}

// TestMergeIsDueWithManySegments begins one small segment after the other, as openings do:
// it becomes due to merge them, though little was written.
func TestMergeIsDueWithManySegments(t *testing.T) {
	_, s := openSmall(t)
	due := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.maintenanceDue()
	}
	mustPut(t, s)
	if due() {
		t.Error("maintenance is due with one segment")
	}
	for range 2 * maxAlike {
		s.rollNow = true
		mustPut(t, s)
	}
	if !due() {
		t.Error("maintenance is not due")
	}
	must(t, s.maintain(context.Background()))
	if n := len(s.segments.byNumber); n > maxAlike+1 || due() {
		t.Errorf("%d segments are left, and maintenance is due: %v", n, due())
	}
}

// TestDamageToACopiedEnd has the end of the log written once more by an opening, or later if
// there is no room, and damaged when something was written behind it that was not saved: the
// damage is named.
func TestDamageToACopiedEnd(t *testing.T) {
	for _, full := range []bool{false, true} {
		fs, s := openSmall(t)
		mustPut(t, s)
		number, _ := parseID(mustPut(t, s))
		fs = fs.Kill()
		if full {
			fs.Inject(noRoomForSegments)
		}
		s, err := openByHand(fs, Options{})
		must(t, err)
		if (s.tail != nil) != full {
			t.Fatalf("no room %v: the end of the log is to be written later: %v", full, s.tail != nil)
		}
		fs.Inject(nil)
		postponed(t, s, "slow.example")
		fs = fs.Kill()
		name, at := find(t, fs.Copy(), number, record.KindMessage)
		fs.Flip(name, at+record.FrameSize+4, 1)
		s, err = openByHand(fs, Options{})
		must(t, err)
		if n := len(s.slots(number)); n != 1 || len(s.problems) == 0 || s.problems[0].File != name {
			t.Errorf("no room %v: %d deliveries of the message are known, and the problems are %v", full, n, s.problems)
		}
	}
}

// noRoomForSegments has no room for what is written to segments.
func noRoomForSegments(op crashfs.Op, name string) error {
	if op == crashfs.OpWrite && strings.HasPrefix(name, segmentPrefix) {
		return syscall.ENOSPC
	}
	return nil
}

// postponed postpones a destination, which is not saved at once.
func postponed(t *testing.T, s *Spool, destination string) {
	t.Helper()
	p := queue.Postponement{Destination: destination, Until: time.Unix(2e9, 0)}
	must(t, s.Postpone(context.Background(), time.Unix(1e9, 0), p))
}

// TestUnsavedEndBehindAnUnreadablePart has a part of the log that cannot be read, and
// records behind it that a device shows and has not saved: what an opening shows of them is
// there after a power cut. If there is no room for that, it is so once there is.
func TestUnsavedEndBehindAnUnreadablePart(t *testing.T) {
	for seed := range uint64(12) {
		full := seed%2 == 1
		fs := crashfs.New(seed)
		s, err := openByHand(fs, Options{})
		must(t, err)
		mustPut(t, s)
		from := s.current.size
		mustPut(t, s)
		name, end := s.current.file.name, s.current.size
		for _, destination := range []string{"a.example", "b.example", "c.example"} {
			postponed(t, s, destination)
		}
		fs.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, syscall.EIO))
		if err := s.save(); !errors.Is(err, ErrFailed) {
			t.Fatal(err)
		}
		fs = fs.Kill()
		fs.Spoil(name, from, end)
		if full {
			fs.Inject(noRoomForSegments)
		}
		s, err = openByHand(fs, Options{})
		must(t, err)
		if (s.tail != nil) != full || len(s.problems) != 1 {
			t.Fatalf("seed %d: to be written later %v, and the problems are %v", seed, s.tail != nil, s.problems)
		}
		fs.Inject(nil)
		if full {
			mustPut(t, s)
		}
		fs = fs.Restart()
		fs.Mend(name)
		s, err = openByHand(fs, Options{})
		must(t, err)
		for _, destination := range []string{"a.example", "b.example", "c.example"} {
			if until, _ := s.index.Postponed(destination); until.IsZero() {
				t.Errorf("seed %d: %s is not postponed any more", seed, destination)
			}
		}
	}
}

// TestLongEndIsCopied has an end of the log that takes several writes to be written once
// more: all of it is as it was.
func TestLongEndIsCopied(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{LargeContent: 1 << 20})
	must(t, err)
	want := map[string]string{}
	for n := range 5 {
		text := strings.Repeat(string(rune('a'+n)), 500<<10)
		id, err := s.Put(ctx, time.Unix(1e9, 0), textMessage(text))
		must(t, err)
		want[id] = text
	}
	for range 2 {
		fs = fs.Restart()
		s, err = openByHand(fs, Options{})
		must(t, err)
		for id, text := range want {
			if got, err := readContent(s, id); err != nil || got != text {
				t.Errorf("%s has %d bytes, %v, and they are the same: %v", id, len(got), err, got == text)
			}
		}
	}
}
