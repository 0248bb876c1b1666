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

// flushed is a spool with a delivery in its first segment that is due at once for a
// flush alone, whose record is in the second segment. The third is written to.
func flushed(t *testing.T, before, after func(s *Spool)) (fs *crashfs.FS, s *Spool, id string, second *segment) {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs = crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	later := textMessage("later")
	later.NotBefore, later.Recipients[0].Address = now.Add(time.Hour), "a@later.example"
	id, err = s.Put(ctx, now, later)
	must(t, err)
	s.rollNow = true
	other := mustPut(t, s)
	before(s)
	_, err = s.Flush(ctx, now, queue.Selection{Message: id})
	must(t, err)
	second = s.current
	after(s)
	must(t, s.Drop(ctx, other))
	s.rollNow = true
	mustPut(t, s)
	return fs, s, id, second
}

// dueAtOnce reports whether a message is due at once when the power has failed.
func dueAtOnce(t *testing.T, fs *crashfs.FS, id string) bool {
	t.Helper()
	s, err := openByHand(fs.Copy().Restart(), small())
	must(t, err)
	defer s.Close()
	e, err := s.Show(context.Background(), id)
	must(t, err)
	return e.Waiting[0].Next.IsZero()
}

// TestFlushOutlivesItsSegment gives up the segment of a flush: first a checkpoint says
// what was flushed, unless one does already, or no delivery is due for it alone. Where
// none can be taken the segment stays.
func TestFlushOutlivesItsSegment(t *testing.T) {
	ctx := context.Background()
	checkpoint := func(s *Spool) { must(t, s.takeCheckpoint(ctx)) }
	nothing := func(*Spool) {}
	for _, c := range []struct {
		name          string
		before, after func(s *Spool)
		taken         uint64 // checkpoints, for the compaction
	}{
		{"no checkpoint", nothing, nothing, 1},
		{"a checkpoint in the segment, before it", checkpoint, nothing, 1},
		{"a checkpoint in the segment, after it", nothing, checkpoint, 1}, // whether it stands before or after is not kept
		{"a checkpoint in the next segment", nothing, func(s *Spool) { s.rollNow = true; mustPut(t, s); checkpoint(s) }, 0},
		{"what was flushed has left", nothing, func(s *Spool) {
			c, err := s.Claim(ctx, time.Unix(1e9, 0), queue.ClaimOptions{Destinations: []string{"later.example"}})
			must(t, err)
			_, err = s.Settle(ctx, time.Unix(1e9, 0), []queue.Settlement{{Lease: c.Deliveries[0].Lease,
				Results: []queue.Result{{Outcome: queue.Delivered}}}})
			must(t, err)
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, s, id, g := flushed(t, c.before, c.after)
			before := s.nextCheckpoint
			must(t, s.compact(ctx, g))
			if taken := s.nextCheckpoint - before; taken != c.taken {
				t.Errorf("%d checkpoints were taken, want %d", taken, c.taken)
			}
			if s.segments.byNumber[g.number] != nil {
				t.Error("the segment is there still")
			}
			if _, err := s.Show(ctx, id); errors.Is(err, queue.ErrNotFound) {
				return
			}
			if !dueAtOnce(t, fs, id) {
				t.Error("it is not due at once any more")
			}
		})
	}
	for name, give := range map[string]func(s *Spool, g *segment) error{
		"compacted":   func(s *Spool, g *segment) error { return s.compact(ctx, g) },
		"in a round":  func(s *Spool, _ *segment) error { return s.maintain(ctx) },
		"when needed": func(s *Spool, _ *segment) error { s.reclaim(ctx); return queue.ErrFull },
	} {
		t.Run("no room for a checkpoint, "+name, func(t *testing.T) {
			fs, s, id, g := flushed(t, nothing, nothing)
			tries := 0
			fs.Inject(func(op crashfs.Op, name string) error {
				if op == crashfs.OpCreate && strings.HasPrefix(name, checkpointPrefix) {
					tries++
					return syscall.ENOSPC
				}
				return nil
			})
			if err := give(s, g); !errors.Is(err, queue.ErrFull) {
				t.Errorf("the answer is %v, want ErrFull", err)
			}
			if tries == 0 {
				t.Error("no checkpoint was tried")
			}
			if !dueAtOnce(t, fs, id) {
				t.Error("it is not due at once any more")
			}
			tries = 0
			if err := s.compact(ctx, g); !errors.Is(err, queue.ErrFull) || tries > 0 {
				t.Errorf("once more: %v, and %d checkpoints were tried where there is no more room", err, tries)
			}
			fs.Inject(nil)
			s.given.Add(1) // room was given back
			must(t, s.compact(ctx, g))
			if s.segments.byNumber[g.number] != nil || !dueAtOnce(t, fs, id) {
				t.Error("when there is room the segment stays, or the flush is lost")
			}
		})
	}
}

// TestCompactionBesideARecordInLine leaves a segment alone for a postponement of which
// a later record is in line that cannot be written: another round gives it up.
func TestCompactionBesideARecordInLine(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "other.example", Until: now.Add(time.Hour)}))
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	s.passing["slow.example"] = 1
	must(t, s.compact(ctx, g))
	if s.segments.byNumber[g.number] == nil || g.broken {
		t.Fatalf("the segment was given up, or for broken: %v", g.broken)
	}
	delete(s.passing, "slow.example")
	must(t, s.compact(ctx, g))
	if s.segments.byNumber[g.number] != nil {
		t.Error("the segment is there still")
	}
	again, err := openByHand(fs.Restart(), Options{})
	must(t, err)
	for _, name := range []string{"slow.example", "other.example"} {
		if until, _ := again.index.Postponed(name); !until.Equal(now.Add(time.Hour)) {
			t.Errorf("after a restart %s is postponed until %v", name, until)
		}
	}
}

// TestUnreadablePartThatNobodyNeeds has a message unreadable that has left. Where the
// segment may have ends of messages that are elsewhere it stays, since one of them may
// be there; else it is given up.
func TestUnreadablePartThatNobodyNeeds(t *testing.T) {
	ctx := context.Background()
	for _, ends := range []bool{false, true} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		must(t, err)
		first := mustPut(t, s)
		s.rollNow = true
		must(t, s.Hold(ctx, mustPut(t, s)))
		g := s.current
		if ends {
			must(t, s.Drop(ctx, first))
		}
		from := g.size
		gone := mustPut(t, s)
		to := g.size
		must(t, s.Drop(ctx, gone))
		if !ends {
			must(t, s.Hold(ctx, first)) // its record is here
		}
		must(t, s.save())
		damaged := g.size
		must(t, s.Drop(ctx, mustPut(t, s)))
		s.rollNow = true
		kept := mustPut(t, s)
		fs.Spoil(g.file.name, from, to)
		fs.Flip(g.file.name, damaged+record.FrameSize, 1) // further on it can be read, and is damaged
		must(t, s.compact(ctx, g))
		if stays := s.segments.byNumber[g.number] != nil; stays != ends {
			t.Errorf("with ends of others %v: the segment stays %v", ends, stays)
		}
		must(t, s.save())
		again, err := openByHand(fs.Restart(), small())
		must(t, err)
		if _, err := again.Show(ctx, kept); err != nil {
			t.Error(err)
		}
		if _, err := again.Show(ctx, first); errors.Is(err, queue.ErrNotFound) != ends {
			t.Errorf("with ends of others %v: the first message is %v", ends, err)
		}
	}
}

// TestMaintenanceTellsWhatFailed has one call of the system fail while maintenance has a
// segment to give up of which nothing is needed: it is told, or the segment has gone.
func TestMaintenanceTellsWhatFailed(t *testing.T) {
	ctx, odd := context.Background(), errors.New("odd")
	for op := crashfs.OpWrite; op <= crashfs.OpLock; op++ {
		for n, hit := 1, true; hit; n++ {
			fs := crashfs.New(uint64(n))
			s, err := openByHand(fs, small())
			must(t, err)
			mustPut(t, s)
			deliverAll(t, s)
			g := s.current
			s.rollNow = true
			mustPut(t, s)
			nth := crashfs.FailNth(op, n, false, odd)
			hit = false
			fs.Inject(func(o crashfs.Op, name string) error {
				err := nth(o, name)
				hit = hit || err != nil
				return err
			})
			err = s.maintain(ctx)
			fs.Inject(nil)
			if gone := s.segments.byNumber[g.number] == nil; err == nil && !gone || err != nil && !errors.Is(err, odd) {
				t.Errorf("%v number %d fails: %v, and the segment has gone: %v", op, n, err, gone)
			}
		}
	}
}

// TestManyPostponementsAreMoved gives up a segment with more postponements than one hold
// of the lock takes: each is moved once, and none is lost. One that another call is about
// to change keeps the segment from being given up.
func TestManyPostponementsAreMoved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const many = 3 * holdMax
	fs, s := openSmall(t)
	list := make([]queue.Postponement, many)
	for i := range list {
		list[i] = queue.Postponement{Destination: fmt.Sprintf("d%d.example", i), Until: now.Add(time.Hour), Reason: "slow"}
	}
	must(t, s.Postpone(ctx, now, list...))
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	s.passing[list[0].Destination] = 1
	must(t, s.compact(ctx, g))
	if s.segments.byNumber[g.number] == nil || g.broken {
		t.Fatalf("beside a record in line: the segment was given up, or for broken: %v", g.broken)
	}
	clear(s.passing)
	before := s.current.cost
	must(t, s.compact(ctx, g))
	if s.segments.byNumber[g.number] != nil {
		t.Error("the segment is there still")
	}
	if moved := (s.current.cost - before) / index.SmallCost; moved > many {
		t.Errorf("%d records were written for %d postponements", moved, many)
	}
	again, err := openByHand(fs.Restart(), Options{})
	must(t, err)
	for _, p := range list {
		if until, why := again.index.Postponed(p.Destination); !until.Equal(p.Until) || why != p.Reason {
			t.Fatalf("after a restart %s is postponed until %v, %q", p.Destination, until, why)
		}
	}
}

// TestCompactionInBatches moves more than is moved at a time: it is told at once where
// that fails, or where it is to end, and the segment stays with what was not moved.
func TestCompactionInBatches(t *testing.T) {
	now := time.Unix(1e9, 0)
	const n = 2*compactBatch/(16<<10) + 10
	prepare := func() (*crashfs.FS, *Spool, *segment) {
		fs := crashfs.New(1)
		s, err := openByHand(fs, Options{SegmentSize: 8 << 20})
		must(t, err)
		for range n {
			_, err := s.Put(context.Background(), now, textMessage(strings.Repeat("x", 16<<10)))
			must(t, err)
		}
		g := s.current
		s.rollNow = true
		mustPut(t, s)
		return fs, s, g
	}
	for name, c := range map[string]struct {
		on   func(fs *crashfs.FS, writes int, cancel func()) error
		want error
	}{
		"nothing fails":             {func(*crashfs.FS, int, func()) error { return nil }, nil},
		"the first write fails":     {func(_ *crashfs.FS, writes int, _ func()) error { return map[bool]error{true: syscall.EIO}[writes == 1] }, syscall.EIO},
		"it is to end in the midst": {func(_ *crashfs.FS, writes int, cancel func()) error { cancel(); return nil }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			fs, s, g := prepare()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			writes, syncs := 0, 0
			fs.Inject(func(op crashfs.Op, name string) error {
				if op == crashfs.OpSync {
					syncs++
				}
				if op != crashfs.OpWrite {
					return nil
				}
				writes++
				return c.on(fs, writes, cancel)
			})
			err := s.compact(ctx, g)
			fs.Inject(nil)
			stays := s.segments.byNumber[g.number] != nil
			if !errors.Is(err, c.want) || stays != (c.want != nil) || c.want == nil && err != nil {
				t.Errorf("%v, and the segment stays: %v", err, stays)
			}
			if c.want == nil && writes < 3 || c.want != nil && writes > 4 {
				t.Errorf("%d writes", writes)
			}
			if syncs > 8 { // one for each of three batches, and what retires the segment
				t.Errorf("%d syncs", syncs)
			}
			must(t, s.compact(context.Background(), g))
			s, err = openByHand(fs.Restart(), Options{})
			must(t, err)
			if total, err := s.Total(context.Background()); err != nil || total.Messages != n+1 || len(s.problems) > 0 {
				t.Errorf("%d messages of %d are there: %v, %v", total.Messages, n+1, err, s.problems)
			}
		})
	}
}

// TestEndsThatGoWithTheirMessages gives up a segment of messages that have come and gone
// there: nothing of it is written again.
func TestEndsThatGoWithTheirMessages(t *testing.T) {
	ctx := context.Background()
	_, s := openSmall(t)
	for range 5 {
		mustPut(t, s)
	}
	deliverAll(t, s)
	must(t, s.Hold(ctx, mustPut(t, s))) // so that something is to be moved
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	before := s.current.cost
	must(t, s.compact(ctx, g))
	if s.segments.byNumber[g.number] != nil || len(s.current.gone) > 0 {
		t.Errorf("the segment is there, or ends were kept: %v", s.current.gone)
	}
	if cost := s.current.cost - before; cost >= index.MessageCost+index.DeliveryCost+2*index.SmallCost {
		t.Errorf("%d was written for one small message", cost)
	}
}

// TestRecordsThatSayNothing has records in the log whose sums are right and that no
// version has written so. Opening names each, nothing else is lost, and the segment is
// given up like any other.
func TestRecordsThatSayNothing(t *testing.T) {
	ctx := context.Background()
	for kind, named := range map[record.Kind]bool{
		record.KindMessage: true, record.KindDelivery: true, record.KindGone: true, record.KindDestination: true, record.KindFlush: true,
		record.KindRetired: false, record.KindSegments: false, 200: false,
	} {
		head, newest := []byte{0x80}, kind == record.KindRetired || kind == record.KindSegments
		if kind == record.KindSegments { // a list that is not where one stands
			head = (&record.Segments{}).Append(nil)
		}
		fs, s := openSmall(t)
		id := mustPut(t, s)
		tk := newTicket()
		tk.durable = true
		f := frame{}
		f.Kind, f.Head = kind, head
		tk.frames = append(tk.frames, f)
		s.line.enqueue(tk)
		must(t, s.wait(tk))
		other := mustPut(t, s)
		if !newest {
			s.rollNow = true
			must(t, s.Hold(ctx, mustPut(t, s)))
		}
		fs = fs.Kill()
		s, err := openByHand(fs, Options{})
		must(t, err)
		if got := len(s.problems) == 1 && s.problems[0].File == fileName(segmentPrefix, 1); got != named || len(s.problems) > 1 {
			t.Errorf("kind %d: the problems are %v, want one: %v", kind, s.problems, named)
		}
		mustPut(t, s)
		must(t, s.compact(ctx, s.segments.byNumber[1]))
		if s.segments.byNumber[1] != nil {
			t.Errorf("kind %d: the segment is there still", kind)
		}
		s, err = openByHand(fs.Restart(), Options{})
		must(t, err)
		for _, id := range []string{id, other} {
			if _, err := s.Show(ctx, id); err != nil {
				t.Errorf("kind %d: %v", kind, err)
			}
		}
		if len(s.problems) > 0 {
			t.Errorf("kind %d, when the segment has gone: %v", kind, s.problems)
		}
	}
}

// TestMissingSegmentIsGivenUp has the file of a segment missing. It stays for as long as
// a message is known to be there, which is named as damaged, and goes with that.
func TestMissingSegmentIsGivenUp(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	id := mustPut(t, s)
	s.rollNow = true
	mustPut(t, s)
	must(t, s.takeCheckpoint(ctx))
	fs = fs.Kill()
	must(t, fs.Remove(fileName(segmentPrefix, 1)))
	s, err := openByHand(fs, Options{})
	must(t, err)
	if len(s.problems) != 1 || s.problems[0].File != fileName(segmentPrefix, 1) {
		t.Errorf("the problems are %v", s.problems)
	}
	mustPut(t, s)
	must(t, s.compact(ctx, s.segments.byNumber[1]))
	if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrDamaged) || !s.segments.byNumber[1].broken {
		t.Errorf("the message in it is %v, want ErrDamaged; and the segment is left alone: %v", err, s.segments.byNumber[1].broken)
	}
	must(t, s.Drop(ctx, id))
	must(t, s.maintain(ctx))
	if s.segments.byNumber[1] != nil {
		t.Error("the segment counts when nothing in it is needed")
	}
	must(t, s.Close())
	s, err = openByHand(fs.Restart(), Options{})
	must(t, err)
	if len(s.problems) > 0 {
		t.Errorf("when nothing in it is needed: %v", s.problems)
	}
}
