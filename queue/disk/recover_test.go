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
		hurt, seen, failed := fs.Copy(), 0, false
		hurt.Inject(func(op crashfs.Op, name string) error {
			if op != crashfs.OpWrite || !strings.HasPrefix(name, segmentPrefix) {
				return nil
			}
			if seen++; seen <= n {
				return syscall.ENOSPC
			}
			failed = true
			return syscall.EIO
		})
		_, err := openByHand(hurt, small())
		if errors.Is(err, syscall.EIO) != failed || err != nil && !failed {
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
		"damaged behind a list": {func(fs *crashfs.FS, g string) { fs.Flip(g, 4096+4, 1); fs.Flip(g, 4096+5, 1) }, true, "88 bytes: "},
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
	mustPut(t, s)
	deleted := 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpRemove && name == second.file.name {
			deleted++
		}
		return nil
	})
	must(t, s.maintainFor(ctx, anyLive)) // nothing is gained by giving it up
	fs.Inject(nil)
	if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrDamaged) || deleted > 0 {
		t.Errorf("after maintenance the delivery is %v, want ErrDamaged, and its segment was deleted %d times", err, deleted)
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
	for _, g := range s.segments.list {
		if g != nil && s.segments.byNumber[g.number] != g {
			t.Errorf("segment %d has a slot still", g.number)
		}
	}
}

// TestDueAfterOpening has a checkpoint due if much of the log was read to open the spool,
// and not where it was little.
func TestDueAfterOpening(t *testing.T) {
	ctx, o := context.Background(), Options{SegmentSize: 16 << 10, LargeContent: 1 << 20, sector: 512}
	for _, checkpoint := range []bool{false, true} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, o)
		must(t, err)
		for range 40 {
			_, err := s.Put(ctx, time.Unix(1e9, 0), textMessage(strings.Repeat("x", 3000)))
			must(t, err)
		}
		_, err = s.Put(ctx, time.Unix(1e9, 0), &queue.Message{Recipients: []queue.Recipient{{Address: "a@example.com"}},
			Content: queue.String(strings.Repeat("x", 60<<10))})
		must(t, err) // its segment is longer than others
		if checkpoint {
			must(t, s.takeCheckpoint(ctx))
		}
		s, err = openByHand(fs.Kill(), o)
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
	damaged := last.size
	mustPut(t, s)
	mustPut(t, s)
	fs = fs.Kill()
	fs.Spoil(last.file.name, begin, end)
	fs.Flip(last.file.name, damaged+record.FrameSize, 1)
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

// TestNewestSegmentIsDamaged has the newest segment damaged at its beginning, or in all of
// it that says something. It is known to have been begun, so it is named, and its file and
// its number stay; one that was never written to counts for nothing.
func TestNewestSegmentIsDamaged(t *testing.T) {
	destroyed := func(fs *crashfs.FS, g *segment) {
		for off := range int64(record.HeaderSize) {
			fs.Flip(g.file.name, off, 1)
		}
	}
	for what, c := range map[string]struct {
		hurt  func(fs *crashfs.FS, g *segment)
		named bool
	}{
		"its beginning":    {hurt: destroyed, named: true},
		"the only message": {hurt: func(fs *crashfs.FS, g *segment) { fs.Flip(g.file.name, 1536+record.FrameSize+4, 1) }, named: true},
		"nothing of it":    {hurt: func(*crashfs.FS, *segment) {}},
	} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		must(t, err)
		first := mustPut(t, s)
		s.rollNow = true
		_, err = s.Put(context.Background(), time.Unix(1e9, 0), textMessage(strings.Repeat("x", 700)))
		must(t, err)
		g := s.current
		must(t, s.Close())
		c.hurt(fs, g)
		for range 2 {
			s, err = openByHand(fs, small())
			must(t, err)
			if named := len(s.problems) > 0 && s.problems[0].File == g.file.name; named != c.named {
				t.Errorf("%s is damaged: the problems are %v", what, s.problems)
			}
			if s.nextSegment != g.number+1 {
				t.Errorf("%s is damaged: the next segment is %d", what, s.nextSegment)
			}
			if _, err := s.Show(context.Background(), first); err != nil {
				t.Errorf("%s is damaged: the first message: %v", what, err)
			}
			_ = s.Close()
			fs = fs.Kill()
			if _, err := sizeOf(fs, g.file.name); err != nil {
				t.Errorf("%s is damaged: %v", what, err)
			}
		}
	}
}

// TestNewestSegmentWithoutItsList has the list of the newest segment damaged, which says
// what other segments there are. What is in the segment counts, saved or not, and so does
// what is in those before.
func TestNewestSegmentWithoutItsList(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	var ids []string
	for range 3 {
		s.rollNow = true
		ids = append(ids, mustPut(t, s))
	}
	must(t, s.Postpone(ctx, time.Unix(1e9, 0), queue.Postponement{Destination: "slow.example", Until: time.Unix(2e9, 0)})) // not saved
	g := s.current
	fs = fs.Kill()
	fs.Flip(g.file.name, record.HeaderSize+record.FrameSize+1, 1)
	for round := range 2 {
		s, err = openByHand(fs, small())
		must(t, err)
		if len(s.problems) != 1 || s.problems[0].File != g.file.name {
			t.Errorf("opening %d: the problems are %v", round, s.problems)
		}
		for i, id := range ids {
			if _, err := s.Show(ctx, id); err != nil {
				t.Errorf("opening %d: message %d: %v", round, i, err)
			}
		}
		if until, _ := s.index.Postponed("slow.example"); until.IsZero() {
			t.Errorf("opening %d: what was read at the end of the log has gone", round)
		}
		fs = fs.Restart()
	}
}

// TestShortDamageAtTheEnd has the only record of the newest segment damaged, which is
// shorter than a list of all segments can be: it was saved, so it is named.
func TestShortDamageAtTheEnd(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	for range 100 {
		s.rollNow = true
		mustPut(t, s)
	}
	s.rollNow = true
	must(t, s.Postpone(context.Background(), time.Unix(1e9, 0), queue.Postponement{Destination: "slow.example", Until: time.Unix(2e9, 0)}))
	g, at := s.current, int64(s.current.saved)
	must(t, s.Close())
	fs.Flip(g.file.name, at+record.FrameSize+1, 1)
	s, err = openByHand(fs, small())
	must(t, err)
	if len(s.problems) != 1 || s.problems[0].File != g.file.name || s.problems[0].Offset != at {
		t.Errorf("the problems are %v, want %s at %d", s.problems, g.file.name, at)
	}
}

// TestSegmentThatWasNeverWrittenTo has a segment begun, whose list is longer than a
// sector, that the log does not go on in: whole or with a beginning that is torn it
// counts for nothing, also when one of those it lists is given up since.
func TestSegmentThatWasNeverWrittenTo(t *testing.T) {
	ctx := context.Background()
	for _, torn := range []bool{false, true} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		must(t, err)
		var ids []string
		for range 250 {
			s.rollNow = true
			ids = append(ids, mustPut(t, s))
		}
		list := record.Segments{Next: 5000}
		for _, g := range s.segments.list {
			list.List = append(list.List, record.Extent{Segment: g.number, Saved: g.saved})
		}
		g, err := s.createSegment(s.nextSegment, list)
		must(t, err)
		must(t, g.file.Close())
		if g.size < record.HeaderSize+1024 {
			t.Fatalf("the list takes %d bytes", g.size)
		}
		must(t, s.Drop(ctx, ids[0]))
		must(t, s.compact(ctx, s.segments.byNumber[1]))
		if torn {
			for off := range int64(record.HeaderSize) {
				fs.Flip(g.file.name, off, 1)
			}
		}
		must(t, s.Postpone(ctx, time.Unix(1e9, 0), queue.Postponement{Destination: "slow.example", Until: time.Unix(2e9, 0)})) // not saved
		s, err = openByHand(fs.Kill(), small())
		must(t, err)
		if len(s.problems) > 0 || s.hidden || s.tail != nil {
			t.Errorf("torn %v: %v", torn, s.problems)
		}
		for i, id := range ids {
			if _, err := s.Show(ctx, id); errors.Is(err, queue.ErrNotFound) != (i == 0) {
				t.Errorf("torn %v: message %d of %d: %v", torn, i, len(ids), err)
			}
		}
		if next := ordinalOf(mustPut(t, s)); torn == (next >= 5000) {
			t.Errorf("torn %v: the next message is %d, and the list says 5000", torn, next)
		}
		again, err := openByHand(s.fs.(*crashfs.FS).Restart(), small())
		must(t, err)
		if until, _ := again.index.Postponed("slow.example"); until.IsZero() {
			t.Errorf("torn %v: what was read at the end of the log was not saved", torn)
		}
	}
}

// TestDamagedCopyOfWhatIsThere has half of a segment moved and what was moved damaged:
// the message is read where it was.
func TestDamagedCopyOfWhatIsThere(t *testing.T) {
	l := newLife(7, small())
	must(t, l.open())
	text := strings.Repeat("text ", 50)
	id, err := l.s.Put(context.Background(), l.now, textMessage(text))
	must(t, err)
	l.s.rollNow = true
	mustPut(t, l.s)
	moveOne(t, l.s, id)
	l.s.rollNow = true
	mustPut(t, l.s) // what was moved is known to be saved
	number, _ := parseID(id)
	name, from := find(t, l.fs.Copy(), number, record.KindMessage)
	if name != fileName(segmentPrefix, 2) {
		t.Fatalf("the copy is in %s", name)
	}
	l.fs.Flip(name, from+record.FrameSize+4, 1)
	l.fs = l.fs.Kill()
	must(t, l.open())
	if got, err := readContent(l.s, id); err != nil || got != text {
		t.Errorf("the content has %d bytes, want %d: %v", len(got), len(text), err)
	}
}

// TestDamageAtTheEndStaysKnown has one record of the last message damaged when the spool
// is opened, twice, and nothing is written meanwhile: the second opening knows of the
// message what the first knew, and what of it can be delivered is.
func TestDamageAtTheEndStaysKnown(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, hit := range []record.Kind{record.KindDelivery, record.KindMessage} {
		for _, end := range []string{"closed", "killed", "without power"} {
			fs := crashfs.New(1)
			s, err := openByHand(fs, small())
			must(t, err)
			m := textMessage("text of the message")
			m.Recipients = nil
			for i := range 3 {
				m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@d%d.example", i)})
			}
			id, err := s.Put(ctx, now, m)
			must(t, err)
			must(t, s.Close())
			number, _ := parseID(id)
			name, at := find(t, fs.Copy(), number, hit)
			fs.Flip(name, at+record.FrameSize+4, 1)
			for round := range 3 {
				if s, err = openByHand(fs, small()); err != nil {
					t.Fatal(err)
				}
				if n := len(s.slots(number)); n < 2 || len(s.problems) == 0 {
					t.Errorf("%v, opening %d: %d deliveries are known, and the problems are %v", hit, round, n, s.problems)
				}
				switch end {
				case "closed":
					must(t, s.Close())
				case "killed":
					fs = fs.Kill()
				default:
					fs = fs.Restart()
				}
			}
			if s, err = openByHand(fs, small()); err != nil {
				t.Fatal(err)
			}
			c, err := s.Claim(ctx, now, queue.ClaimOptions{})
			must(t, err)
			if ok, bad := len(c.Deliveries), len(c.Unreadable); hit == record.KindDelivery && ok != 2 || hit == record.KindMessage && bad != 3 {
				t.Errorf("%v: %d deliveries can be read, and %d are known as damaged", hit, ok, bad)
			}
		}
	}
}
