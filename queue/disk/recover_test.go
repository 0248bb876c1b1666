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
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestSegmentsFitTheDevice has a small device, opened once and again: no segment takes
// more than a part of it.
func TestSegmentsFitTheDevice(t *testing.T) {
	fs := crashfs.New(1)
	fs.SetDevice(crashfs.Device{Room: 16 << 20})
	for range 2 {
		s, err := openByHand(fs, Options{})
		must(t, err)
		for range 40 {
			_, err := s.Put(context.Background(), time.Unix(1e9, 0), textMessage(strings.Repeat("x", 50<<10)))
			must(t, err)
		}
		for _, g := range s.segments.byNumber {
			if g.size > 600<<10 {
				t.Errorf("a segment has %d bytes on a device of 16 MiB", g.size)
			}
		}
		fs = fs.Kill()
	}
}

// TestTailThatFailsAtLast has no room to write the end of the log to another file, and
// then a device that fails: opening fails with that.
func TestTailThatFailsAtLast(t *testing.T) {
	fs, _, want := died(t, 1, 0)
	for n := 1; n < 6; n++ {
		hurt, seen := fs.Copy(), 0
		hurt.Inject(func(op crashfs.Op, name string) error {
			if op != crashfs.OpWrite || !strings.HasPrefix(name, segmentPrefix) {
				return nil
			}
			if seen++; seen <= n {
				return syscall.ENOSPC
			}
			return syscall.EIO
		})
		s, err := openByHand(hurt, small())
		if err == nil && s.tail == nil || err != nil && !errors.Is(err, syscall.EIO) {
			t.Errorf("%d writes have no room, and then all fail: %v", n, err)
		}
		hurt.Inject(nil)
		same(t, "then", hurt.Kill(), want)
	}
}

// TestReserveThatCannotBeMade has one call of the system fail while the reserve is made:
// it is told.
func TestReserveThatCannotBeMade(t *testing.T) {
	fs, _, want := died(t, 1, 0)
	must(t, fs.Remove(reserveName))
	for _, op := range []crashfs.Op{crashfs.OpCreate, crashfs.OpWrite, crashfs.OpSize} {
		odd := errors.New("odd")
		hurt := fs.Copy()
		hurt.Inject(func(o crashfs.Op, name string) error {
			if o == op && name == reserveName {
				return odd
			}
			return nil
		})
		if _, err := openByHand(hurt, small()); !errors.Is(err, odd) || hurt.Descriptors() != 0 {
			t.Errorf("%v of the reserve fails: %v, and %d files are open", op, err, hurt.Descriptors())
		}
		hurt.Inject(nil)
		same(t, "then", hurt.Kill(), want)
	}
}

// TestProblemsTellWhatIsWrong tells a segment that is missing from one whose beginning
// is damaged, and how many bytes of one are.
func TestProblemsTellWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		hurt    func(fs *crashfs.FS, g string)
		damaged bool
		text    string
	}{
		"missing": {func(fs *crashfs.FS, g string) { must(t, fs.Remove(g)) }, false, "the file is missing"},
		"damaged": {func(fs *crashfs.FS, g string) {
			for off := range int64(record.HeaderSize) {
				fs.Flip(g, off, 1)
			}
		}, true, ""},
		"unreadable in part":    {func(fs *crashfs.FS, g string) { fs.Spoil(g, 4096, 8192) }, true, "4096 bytes: "},
		"damaged behind a list": {func(fs *crashfs.FS, g string) { fs.Flip(g, 4096+4, 1); fs.Flip(g, 4096+5, 1) }, true, " bytes: "},
	} {
		fs, s := openSmall(t)
		mustPut(t, s)
		mustPut(t, s)
		g := s.current.file.name
		s.rollNow = true
		mustPut(t, s)
		must(t, s.Close())
		must(t, withoutCheckpoints(fs))
		c.hurt(fs, g)
		problems, err := check(fs.Copy())
		must(t, err)
		s, err = openByHand(fs, Options{})
		must(t, err)
		for what, list := range map[string][]Problem{"Open": s.problems, "Check": problems} {
			if len(list) == 0 || list[0].File != g || isDamage(list[0].Err) != c.damaged || !strings.Contains(list[0].Err.Error(), c.text) {
				t.Errorf("%s: %s tells %v", name, what, list)
			}
		}
	}
}

// TestTwoCheckpoints has two checkpoints there, of which the first could not be removed:
// the newest counts, and both go with the next.
func TestTwoCheckpoints(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	mustPut(t, s)
	must(t, s.takeCheckpoint(ctx))
	mustPut(t, s)
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpRemove && strings.HasPrefix(name, checkpointPrefix) {
			return syscall.EROFS
		}
		return nil
	})
	must(t, s.takeCheckpoint(ctx))
	newest := s.checkpoint
	fs = fs.Kill()
	s, err := openByHand(fs, Options{})
	must(t, err)
	if s.checkpoint != newest {
		t.Errorf("opened from the checkpoint at %v, want %v", s.checkpoint, newest)
	}
	mustPut(t, s)
	must(t, s.takeCheckpoint(ctx))
	list, err := fs.List()
	must(t, err)
	for _, f := range list {
		if strings.HasPrefix(f.Name, checkpointPrefix) && f.Name != fileName(checkpointPrefix, 3) {
			t.Errorf("%s is there still", f.Name)
		}
	}
}

// TestSegmentThatCouldNotBeRemoved has the file of a segment that was given up still
// there, where the system removes no open file: opening removes it and leaves no file
// open.
func TestSegmentThatCouldNotBeRemoved(t *testing.T) {
	fs, s := openSmall(t)
	fs.SetDevice(crashfs.Device{KeepsOpen: true})
	mustPut(t, s)
	deliverAll(t, s)
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	fs.Inject(crashfs.FailNth(crashfs.OpRemove, 1, true, syscall.EROFS))
	must(t, s.maintain(context.Background()))
	name := fileName(segmentPrefix, g.number)
	fs = fs.Kill()
	if _, err := sizeOf(fs, name); err != nil || s.segments.byNumber[g.number] != nil {
		t.Fatalf("the file: %v, and the segment was given up: %v", err, s.segments.byNumber[g.number] == nil)
	}
	s, err := openByHand(fs, Options{})
	must(t, err)
	if _, err := fs.Open(name, false); err == nil {
		t.Error("the file is there still")
	}
	must(t, s.Close())
	if n := fs.Descriptors(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// TestRecordThatReplacedAnotherIsLost has the state of a delivery moved out of a segment
// that was given up, and what was moved damaged. A checkpoint knows of the delivery: it
// is named as damaged, and not taken for ended.
func TestRecordThatReplacedAnotherIsLost(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	id := mustPut(t, s)
	s.rollNow = true
	must(t, s.HoldUntil(ctx, now, id, queue.Terms{Until: now.Add(time.Hour)}))
	second := s.current
	s.rollNow = true
	must(t, s.Hold(ctx, mustPut(t, s)))
	must(t, s.takeCheckpoint(ctx))
	must(t, s.compact(ctx, second))
	must(t, s.Close())
	number, _ := parseID(id)
	name, from := find(t, fs, number, record.KindDelivery)
	if name == second.file.name {
		t.Fatal("the segment was not given up")
	}
	fs.Flip(name, from+record.FrameSize+4, 1)
	s, err = openByHand(fs, small())
	must(t, err)
	named := map[string]bool{}
	for _, p := range s.problems {
		named[p.File] = true
	}
	if !named[second.file.name] || !named[name] {
		t.Errorf("the problems are %v", s.problems)
	}
	if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("the delivery is %v, want ErrDamaged", err)
	}
	must(t, s.Drop(ctx, id))
	mustPut(t, s)
	must(t, s.maintain(ctx))
	must(t, s.Close())
	if problems, err := check(fs); err != nil || len(problems) > 1 { // the damaged record is not needed, and there
		t.Errorf("when it was dropped: %v, %v", problems, err)
	}
}

// TestContentOfNoMessage has the content of a message that was never put: its file goes,
// and so that it may come back its number is not given to another.
func TestContentOfNoMessage(t *testing.T) {
	fs, s := openSmall(t)
	id := mustPut(t, s)
	fs = fs.Kill()
	orphan := fileName(contentPrefix, index.Number(ordinalOf(id)+5, 1))
	f, err := fs.Create(orphan)
	must(t, err)
	must(t, f.Close())
	s, err = openByHand(fs, Options{})
	must(t, err)
	if _, err := sizeOf(fs, orphan); err == nil {
		t.Error("the content is there still")
	}
	if next := ordinalOf(mustPut(t, s)); next != ordinalOf(id)+6 {
		t.Errorf("message %d is put, want %d", next, ordinalOf(id)+6)
	}
}

// TestPostponementsOfASegmentThatHasGone opens a spool by a checkpoint that knows of many
// postponements, whose segment was given up since when they were over: none holds.
func TestPostponementsOfASegmentThatHasGone(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const many = 3 * holdMax
	fs, s := openSmall(t)
	list := make([]queue.Postponement, many)
	for i := range list {
		list[i] = queue.Postponement{Destination: fmt.Sprintf("d%d.example", i), Until: now.Add(time.Minute)}
	}
	must(t, s.Postpone(ctx, now, list...))
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	must(t, s.takeCheckpoint(ctx))
	s.mu.Lock()
	s.index.At(now.Add(time.Hour))
	s.mu.Unlock()
	must(t, s.compact(ctx, g))
	if s.segments.byNumber[g.number] != nil {
		t.Fatal("the segment is there")
	}
	room := s.index.NameRoom()
	s, err := openByHand(fs.Kill(), Options{})
	must(t, err)
	for _, p := range list {
		if until, _ := s.index.Postponed(p.Destination); !until.IsZero() {
			t.Fatalf("%s is postponed until %v", p.Destination, until)
		}
	}
	if got := s.index.NameRoom(); got != room {
		t.Errorf("a checkpoint has room for %d bytes of names, want %d", got, room)
	}
}

// TestDueAfterOpening has a checkpoint due if much of the log was read to open the spool,
// and not where it was little.
func TestDueAfterOpening(t *testing.T) {
	ctx := context.Background()
	for _, checkpoint := range []bool{false, true} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		must(t, err)
		for range 40 {
			_, err := s.Put(ctx, time.Unix(1e9, 0), textMessage(strings.Repeat("x", 3000)))
			must(t, err)
		}
		for s.current.size < s.limit-2000 { // at the end of a segment
			mustPut(t, s)
		}
		if checkpoint {
			must(t, s.takeCheckpoint(ctx))
		}
		s, err = openByHand(fs.Kill(), small())
		must(t, err)
		if s.checkpointDue() == checkpoint {
			t.Errorf("with a checkpoint at the end %v: another is due %v", checkpoint, !checkpoint)
		}
	}
}

// TestUnreadableAndDamagedEnd has the end of the log unreadable and what is behind it
// damaged: all of it stays as it is, so that it is there if it can be read another time.
func TestUnreadableAndDamagedEnd(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	mustPut(t, s)
	last := s.current
	begin := last.size
	id := mustPut(t, s)
	end := last.size
	mustPut(t, s)
	fs = fs.Kill()
	fs.Spoil(last.file.name, begin, end)
	fs.Flip(last.file.name, end+record.FrameSize, 1)
	before, err := sizeOf(fs, last.file.name)
	must(t, err)
	_, err = openByHand(fs, small())
	must(t, err)
	if after, err := sizeOf(fs, last.file.name); err != nil || after != before {
		t.Errorf("the file has %d bytes of %d: %v", after, before, err)
	}
	fs = fs.Kill()
	fs.Mend(last.file.name)
	s, err = openByHand(fs, small())
	must(t, err)
	if _, err := s.Show(context.Background(), id); err != nil {
		t.Errorf("when it can be read: %v", err)
	}
}
