package disk

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestCheckpointThatCannotBeReadTwice has the device fail to read a checkpoint, from the
// first read or from a later one on, when some of it is taken over: it is named, and
// the spool is as it is without the checkpoint.
func TestCheckpointThatCannotBeReadTwice(t *testing.T) {
	l := newLife(5, small())
	must(t, l.open())
	for range 150 {
		must(t, l.step())
	}
	must(t, l.s.HoldUntil(context.Background(), l.now, mustPut(t, l.s), queue.Terms{Until: l.now.Add(time.Hour)}))
	must(t, l.s.takeCheckpoint(context.Background()))
	for range 20 { // so that what the checkpoint speaks of has gone
		must(t, l.step())
	}
	must(t, compactAll(l.s, false))
	must(t, l.s.save())
	name := fileName(checkpointPrefix, l.s.nextCheckpoint-1)
	without := l.fs.Copy()
	must(t, withoutCheckpoints(without))
	plain, err := openByHand(without, l.o)
	must(t, err)
	want := l.reckoning(plain, false)
	failed := 0
	for n, hit := 1, true; hit; n++ {
		fs := l.fs.Copy()
		reads := 0
		hit = false
		fs.Inject(func(op crashfs.Op, of string) error {
			if op != crashfs.OpRead || of != name {
				return nil
			}
			if reads++; reads >= n {
				hit = true
				return syscall.EIO
			}
			return nil
		})
		s, err := openByHand(fs, l.o)
		must(t, err)
		if len(s.problems) == 0 {
			continue // it was read again, or not at all
		}
		failed++
		if s.problems[0].File != name || len(s.problems) > 1 {
			t.Errorf("read %d fails: %v", n, s.problems)
		}
		if d := difference(want, l.reckoning(s, false)); d != "" {
			t.Errorf("read %d fails:\n%s", n, d)
		}
	}
	if failed < 2 {
		t.Errorf("%d reads failed so that it shows", failed)
	}
}

// withRows is the first part of a checkpoint that has rows.
func withRows(t *testing.T, list []*record.Table) *record.Table {
	t.Helper()
	for _, table := range list {
		if len(table.Rows) > 0 {
			return table
		}
	}
	t.Fatal("there are no rows")
	return nil
}

// changeCheckpoint writes a checkpoint anew, with other parts. A part that is nil says
// nothing that can be read.
func changeCheckpoint(t *testing.T, fs *crashfs.FS, name string, change func([]*record.Table) []*record.Table) {
	t.Helper()
	file, err := fs.Open(name, false)
	must(t, err)
	size, err := file.Size()
	must(t, err)
	h, err := record.ReadHeader(file, record.CheckpointFile)
	must(t, err)
	scan := record.NewScanner(file, size, h.Salt, record.HeaderSize)
	var list []*record.Table
	for scan.Next() {
		table, err := record.ParseTable(scan.Frame().Head)
		must(t, err)
		list = append(list, table)
	}
	must(t, file.Close())
	buf := h.Append(nil)
	for _, table := range change(list) {
		frame := record.Frame{Kind: record.KindTable, Flags: record.First | record.Last, Head: []byte{1}}
		if table != nil {
			frame.Head = table.Append(nil)
		}
		buf = frame.Append(buf, h.Salt, int64(len(buf)))
	}
	must(t, fs.Remove(name))
	f, err := fs.Create(name)
	must(t, err)
	_, err = f.WriteAt(buf, 0)
	must(t, err)
	must(t, f.Close())
}

// TestCheckpointWhoseLastRowIsDamaged has nearly all of a checkpoint taken over when its
// last row turns out to speak of what is not in it. Nothing of it counts: what has ended
// since does not come back, and no segment is reckoned with twice.
func TestCheckpointWhoseLastRowIsDamaged(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	l := newLife(7, small())
	must(t, l.open())
	s := l.s
	gone, err := s.Put(ctx, now, keyedMessage("key"))
	must(t, err)
	held := mustPut(t, s)
	must(t, s.HoldUntil(ctx, now, held, queue.Terms{Until: now.Add(time.Hour)}))
	first := s.current
	s.rollNow = true
	moved := mustPut(t, s)
	must(t, s.Hold(ctx, mustPut(t, s)))
	ended := mustPut(t, s)
	second := s.current
	s.rollNow = true
	mustPut(t, s)
	c := &compaction{s: s, g: second, ctx: ctx, slots: map[index.Slot]bool{}}
	number, _ := parseID(moved)
	h, m, err := s.openMessage(number, false)
	must(t, err)
	s.unpin(h.segment)
	must(t, c.message(h.off, &m)) // half of a compaction
	must(t, c.flush())
	must(t, s.Drop(ctx, ended))
	if g := s.current; !g.from[second.number] || g.gone[second.number] == 0 {
		t.Fatalf("segment %d has from %v and gone %v", g.number, g.from, g.gone)
	}
	must(t, s.takeCheckpoint(ctx))
	s.rollNow = true
	must(t, s.Drop(ctx, gone))
	must(t, s.Drop(ctx, held))
	fourth := s.current
	s.rollNow = true
	mustPut(t, s)
	must(t, s.compact(ctx, first))
	must(t, s.compact(ctx, fourth))
	must(t, s.save())
	if len(s.segments.byNumber) != 3 {
		t.Fatalf("%d segments are left", len(s.segments.byNumber))
	}
	plain, fs := l.fs.Copy(), l.fs.Copy()
	must(t, withoutCheckpoints(plain))
	want, err := openByHand(plain, l.o)
	must(t, err)
	name := fileName(checkpointPrefix, 1)
	changeCheckpoint(t, fs, name, func(list []*record.Table) []*record.Table {
		var last *record.Row
		for _, table := range list {
			if n := len(table.Rows); n > 0 {
				last = &table.Rows[n-1]
			}
		}
		last.Destination = 1 << 20
		return list
	})
	s, err = openByHand(fs, l.o)
	must(t, err)
	if len(s.problems) != 1 || s.problems[0].File != name {
		t.Errorf("the problems are %v", s.problems)
	}
	if d := difference(l.reckoning(want, false), l.reckoning(s, false)); d != "" {
		t.Error(d)
	}
}

// TestOlderCheckpoint has two checkpoints there, since the older could not be removed. The
// newest turns out to be damaged at its end: the older counts, though both speak of segments
// that have gone.
func TestOlderCheckpoint(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	mustPut(t, s)
	first := s.current
	s.rollNow = true
	mustPut(t, s)
	must(t, s.takeCheckpoint(ctx))
	older := s.checkpoint
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpRemove && strings.HasPrefix(name, checkpointPrefix) {
			return syscall.EROFS
		}
		return nil
	})
	mustPut(t, s)
	must(t, s.takeCheckpoint(ctx))
	fs.Inject(nil)
	deliverAll(t, s)
	s.rollNow = true
	id := mustPut(t, s)
	must(t, s.compact(ctx, first))
	must(t, s.save())
	fs = fs.Kill()
	changeCheckpoint(t, fs, fileName(checkpointPrefix, 2), func(list []*record.Table) []*record.Table {
		rows := withRows(t, list).Rows
		rows[len(rows)-1].Destination = 1 << 20
		return list
	})
	s, err := openByHand(fs, Options{})
	must(t, err)
	if s.checkpoint != older || len(s.problems) != 1 || s.segments.byNumber[first.number] != nil {
		t.Errorf("opened from the checkpoint at %v, want %v; problems %v", s.checkpoint, older, s.problems)
	}
	if _, err := s.Show(ctx, id); err != nil || s.index.Messages() != 1 {
		t.Errorf("%d messages are there, and the last is %v", s.index.Messages(), err)
	}
}

// TestNumbersOfACheckpoint opens a spool by a checkpoint before which a message came and
// went: no other message gets its id.
func TestNumbersOfACheckpoint(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	mustPut(t, s)
	gone := mustPut(t, s)
	must(t, s.Drop(ctx, gone))
	must(t, s.takeCheckpoint(ctx))
	s, err := openByHand(fs.Kill(), Options{})
	must(t, err)
	if id := mustPut(t, s); id <= gone {
		t.Errorf("%s is put, and %s was before", id, gone)
	}
}

// TestRestOfACompactionAfterACheckpoint has a checkpoint taken when half of a segment has
// been moved, and the rest moved then: the segment with the first half does not wait for
// the one that has gone.
func TestRestOfACompactionAfterACheckpoint(t *testing.T) {
	ctx := context.Background()
	l := newLife(7, small())
	must(t, l.open())
	moved := mustPut(t, l.s)
	mustPut(t, l.s)
	first := l.s.current
	l.s.rollNow = true
	mustPut(t, l.s)
	moveOne(t, l.s, moved)
	l.s.rollNow = true
	mustPut(t, l.s)
	must(t, l.s.takeCheckpoint(ctx))
	must(t, l.s.compact(ctx, first))
	must(t, l.s.save())
	s, err := openByHand(l.fs.Kill(), l.o)
	must(t, err)
	for _, g := range s.segments.byNumber {
		if len(g.from) > 0 || g.number == first.number {
			t.Errorf("segment %d waits for %v", g.number, g.from)
		}
	}
}

// TestCheckpointWithoutItsParts has a checkpoint whose frames are sound and that is not
// whole, or speaks of what is not in it: it is named, and the log read.
func TestCheckpointWithoutItsParts(t *testing.T) {
	source := crashfs.New(1)
	s := varied(t, source, 3)
	want := all(t, s)
	must(t, s.save())
	name := fileName(checkpointPrefix, 1)
	rows := func(list []*record.Table) *record.Table { return withRows(t, list) }
	for what, change := range map[string]func(list []*record.Table) []*record.Table{
		"as it is":        func(list []*record.Table) []*record.Table { return list },
		"without its end": func(list []*record.Table) []*record.Table { return list[:len(list)-1] },
		"with a beginning that has no rows, alone": func(list []*record.Table) []*record.Table {
			return []*record.Table{{From: list[0].From, Next: list[0].Next, Slots: list[0].Slots}}
		},
		"without anything":  func([]*record.Table) []*record.Table { return nil },
		"with a row less":   func(list []*record.Table) []*record.Table { rows(list).Rows = rows(list).Rows[1:]; return list },
		"with its end once": func(list []*record.Table) []*record.Table { return append(list[:len(list):len(list)], list[0]) },
		"of a destination that is not in it": func(list []*record.Table) []*record.Table {
			rows(list).Rows[0].Destination = 1000
			return list
		},
		"of a message in a segment that is not in it": func(list []*record.Table) []*record.Table {
			rows(list).Rows[0].Home = 1000
			return list
		},
		"of a record in a segment that is not in it": func(list []*record.Table) []*record.Table {
			rows(list).Rows[0].Record = 1000
			return list
		},
		"with a part that says nothing": func(list []*record.Table) []*record.Table { return append([]*record.Table{nil}, list...) },
		"of a postponement that is not in it": func(list []*record.Table) []*record.Table { // which costs nothing but that
			for _, table := range list {
				table.Destinations = append(table.Destinations, record.DestinationState{Number: 1000, Name: "odd.example",
					Until: time.Unix(2e9, 0), Slot: 1000, Oldest: 1})
				if len(table.Rows) > 0 {
					break
				}
			}
			return list
		},
	} {
		fs := source.Kill()
		changeCheckpoint(t, fs, name, change)
		s, err := openByHand(fs, small())
		must(t, err)
		sound := what == "as it is" || strings.Contains(what, "postponement")
		if named := len(s.problems) == 1 && s.problems[0].File == name; named == sound {
			t.Errorf("a checkpoint %s: the problems are %v", what, s.problems)
		}
		if got := all(t, s); got != want {
			t.Errorf("a checkpoint %s: the spool has\n%s\nwant\n%s", what, got, want)
		}
	}
}

// TestDestinationsWithoutARecord opens a spool by a checkpoint that names destinations
// that nobody postpones: no segment is kept for a record of them.
func TestDestinationsWithoutARecord(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	must(t, s.takeCheckpoint(context.Background()))
	s, err := openByHand(fs.Kill(), Options{})
	must(t, err)
	for _, g := range s.segments.byNumber {
		if n := s.index.Refs(g.slot).Destinations; n != 0 {
			t.Errorf("segment %d has %d records of destinations", g.number, n)
		}
	}
}

// TestLiftedStaysSoAfterACheckpoint opens a spool by a checkpoint that knows that a
// postponement was lifted, of which the log has a record, and gives the segment up that
// says so: it does not come back when the checkpoint is lost.
func TestLiftedStaysSoAfterACheckpoint(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	must(t, s.Hold(ctx, mustPut(t, s)))
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
	s.rollNow = true
	must(t, s.Hold(ctx, mustPut(t, s)))
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example"}))
	second := s.current.number
	s.rollNow = true
	mustPut(t, s)
	must(t, s.takeCheckpoint(ctx))
	fs = fs.Kill()
	s, err := openByHand(fs, Options{})
	must(t, err)
	mustPut(t, s)
	must(t, s.compact(ctx, s.segments.byNumber[second]))
	must(t, s.save())
	fs = fs.Restart()
	must(t, withoutCheckpoints(fs))
	s, err = openByHand(fs, Options{})
	must(t, err)
	if until, _ := s.index.Postponed("slow.example"); !until.IsZero() || s.segments.byNumber[second] != nil {
		t.Errorf("it is postponed until %v, and the segment has gone: %v", until, s.segments.byNumber[second] == nil)
	}
}

// TestHalfACompactionInACheckpoint has half of a segment moved when a checkpoint is taken
// and the program ends: the segment with what was moved stays for as long as the one it
// came from, and what was delivered there meanwhile does not come back.
func TestHalfACompactionInACheckpoint(t *testing.T) {
	ctx := context.Background()
	for _, again := range []string{"not opened again", "opened by a checkpoint", "opened without"} {
		l := newLife(7, small())
		must(t, l.open())
		moved := mustPut(t, l.s)
		must(t, l.s.Hold(ctx, mustPut(t, l.s))) // keeps the first segment
		l.s.rollNow = true
		mustPut(t, l.s)
		moveOne(t, l.s, moved)
		deliverAll(t, l.s)
		second := l.s.current.number
		l.s.rollNow = true
		must(t, l.s.Hold(ctx, mustPut(t, l.s)))
		if again != "not opened again" {
			if again == "opened by a checkpoint" {
				must(t, l.s.takeCheckpoint(ctx))
			}
			must(t, l.s.save())
			l.saved()
			if err := l.reckonsTheSame(); err != nil {
				t.Errorf("%s: %v", again, err)
			}
			l.fs = l.fs.Kill()
			must(t, l.open())
			mustPut(t, l.s)
		}
		if g := l.s.segments.byNumber[second]; g == nil || !g.from[1] {
			t.Fatalf("%s: the second segment has moved messages of %v", again, g)
		}
		must(t, l.s.maintain(ctx))
		must(t, l.s.maintainFor(ctx, anyLive))
		must(t, l.s.save())
		fs := l.fs.Restart()
		must(t, withoutCheckpoints(fs))
		s, err := openByHand(fs, l.o)
		must(t, err)
		if e, err := s.Show(ctx, moved); err == nil {
			t.Errorf("%s: what was delivered is back: %v", again, e.Waiting)
		}
		if len(s.problems) > 0 {
			t.Error(s.problems)
		}
	}
}
