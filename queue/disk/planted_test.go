package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestNoOtherEnvelope flips every bit of a message's records while the spool has it:
// it is handed out as it was put, or not at all, and never to another address.
func TestNoOtherEnvelope(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	const to, from = "someone@example.com", "sender@example.org"
	m := textMessage("text")
	m.From, m.Recipients[0].Address = from, to
	id, err := s.Put(ctx, now, m)
	must(t, err)
	g := s.current
	number, _ := parseID(id)
	begin := int64(s.index.Get(s.slots(number)[0]).Record.Offset)
	damaged := 0
	for off := begin; off < begin+400 && off < g.size; off++ {
		for bit := range 8 {
			fs.Flip(g.file.name, off, 1<<bit)
			for name, read := range map[string]func() (queue.Message, error){
				"Show": func() (queue.Message, error) { e, err := s.Show(ctx, id); return e.Message, err },
				"Claim": func() (queue.Message, error) {
					now = now.Add(time.Hour) // the lease before is over
					c, err := s.Claim(ctx, now, queue.ClaimOptions{Lease: time.Minute})
					if len(c.Unreadable) > 0 {
						return queue.Message{}, c.Unreadable[0].Err
					}
					if err != nil || len(c.Deliveries) != 1 {
						t.Fatalf("claimed %v, %v", c.Deliveries, err)
					}
					return c.Deliveries[0].Message, nil
				},
			} {
				got, err := read()
				switch {
				case errors.Is(err, queue.ErrDamaged):
					damaged++
				case err != nil || got.From != from || len(got.Recipients) != 1 || got.Recipients[0].Address != to:
					t.Fatalf("%s with bit %d of byte %d flipped: from %s to %v, %v", name, bit, off-begin, got.From, got.Recipients, err)
				}
			}
			fs.Flip(g.file.name, off, 1<<bit)
		}
	}
	if damaged == 0 {
		t.Error("nothing was hit")
	}
}

// TestContentsOfWhatHasLeft has the files of large contents deleted when their
// messages have left, in each of the ways they can.
func TestContentsOfWhatHasLeft(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for name, leave := range map[string]func(*Spool, string, queue.Settlement) error{
		"delivered": func(s *Spool, _ string, b queue.Settlement) error {
			b.Results = []queue.Result{{Outcome: queue.Delivered}}
			_, err := s.Settle(ctx, now, []queue.Settlement{b})
			return errors.Join(err, s.save())
		},
		"failed with a report": func(s *Spool, _ string, b queue.Settlement) error {
			b.Results = []queue.Result{{Outcome: queue.Failed}}
			b.Create = []*queue.Message{textMessage("report")}
			_, err := s.Settle(ctx, now, []queue.Settlement{b})
			return err
		},
		"dropped": func(s *Spool, id string, _ queue.Settlement) error { return s.Drop(ctx, id) },
	} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		must(t, err)
		id, err := s.Put(ctx, now, textMessage(strings.Repeat("large ", 2000)))
		must(t, err)
		c, err := s.Claim(ctx, now, queue.ClaimOptions{})
		must(t, err)
		must(t, leave(s, id, queue.Settlement{Lease: c.Deliveries[0].Lease}))
		mustPut(t, s) // and its sync
		list, err := fs.List()
		must(t, err)
		for _, f := range list {
			if strings.HasPrefix(f.Name, contentPrefix) {
				t.Errorf("%s: %s is there still", name, f.Name)
			}
		}
	}
}

// TestContentThatIsReadWhileItLeaves has a large content open when its message leaves,
// where the system deletes no open file: it is read to its end, and its file goes
// when something is saved after that.
func TestContentThatIsReadWhileItLeaves(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	fs.SetDevice(crashfs.Device{KeepsOpen: true})
	s, err := openByHand(fs, small())
	must(t, err)
	text := strings.Repeat("large ", 20000)
	id, err := s.Put(ctx, now, textMessage(text))
	must(t, err)
	c, err := s.Open(ctx, id)
	must(t, err)
	r, err := c.Open()
	must(t, err)
	must(t, s.Drop(ctx, id))
	mustPut(t, s)
	if got, err := io.ReadAll(r); err != nil || string(got) != text {
		t.Errorf("what was being read: %d bytes, %v", len(got), err)
	}
	must(t, r.Close())
	mustPut(t, s)
	number, _ := parseID(id)
	if _, err := sizeOf(fs, fileName(contentPrefix, number)); err == nil {
		t.Error("the file stays when nobody reads it any more")
	}
}

// TestACheckpointIsAlwaysThere has the power cut at each change of taking a second
// checkpoint: one of the two is there, whole.
func TestACheckpointIsAlwaysThere(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(40) {
		for cut := 1; ; cut++ {
			fs := crashfs.New(seed)
			s, err := openByHand(fs, small())
			must(t, err)
			mustPut(t, s)
			must(t, s.takeCheckpoint(ctx))
			mustPut(t, s)
			fs.CutAt(fs.Writes() + cut)
			done := s.takeCheckpoint(ctx)
			s, err = openByHand(fs.Restart(), small())
			must(t, err)
			if s.checkpoint.Segment == 0 || len(s.problems) > 0 {
				t.Fatalf("seed %d, cut at change %d: no checkpoint is there: %v", seed, cut, s.problems)
			}
			if done == nil {
				break
			}
		}
	}
}

// TestSavedWithinASecond writes what nobody waits to be saved, and leaves it alone:
// a power cut a second later takes nothing of it.
func TestSavedWithinASecond(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			fs := crashfs.New(seed)
			s, err := open(fs, small())
			must(t, err)
			id := mustPut(t, s)
			deliverAll(t, s)
			must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
			time.Sleep(time.Second)
			synctest.Wait()
			again, err := openByHand(fs.Restart(), small())
			must(t, err)
			if _, err := again.Show(ctx, id); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("seed %d: a settlement is lost after a second", seed)
			}
			if until, _ := again.index.Postponed("slow.example"); until.IsZero() {
				t.Errorf("seed %d: a postponement is lost after a second", seed)
			}
			_ = s.Close()
			_ = again.Close()
		})
	}
}

// TestNothingChangesWhileItIsMoved settles a delivery that a compaction has read and
// not written yet: the settlement waits, and stands after a restart.
func TestNothingChangesWhileItIsMoved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		must(t, err)
		id := mustPut(t, s)
		old := s.current
		s.rollNow = true
		mustPut(t, s)
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1})
		must(t, err)
		move := &compaction{s: s, g: old, ctx: ctx, slots: map[index.Slot]bool{}}
		must(t, move.move())
		settled := false
		go func() {
			_, err := s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
			must(t, err)
			settled = true
		}()
		synctest.Wait()
		if settled {
			t.Error("a delivery was settled between its reading and its writing")
		}
		must(t, move.flush())
		synctest.Wait()
		must(t, s.retire(old))
		must(t, s.save())
		again, err := openByHand(fs.Restart(), small())
		must(t, err)
		if _, err := again.Show(ctx, id); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("the delivery that was settled: %v", err)
		}
	})
}

// TestSegmentIsThereWhileItIsRead gives up a segment of which a record is being
// read: its file goes when that is done.
func TestSegmentIsThereWhileItIsRead(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	id := mustPut(t, s)
	old := s.current
	s.rollNow = true
	mustPut(t, s)
	number, _ := parseID(id)
	h, _, err := s.openMessage(number, false)
	must(t, err)
	must(t, s.compact(ctx, old))
	if h.segment != old || s.segments.byNumber[old.number] != nil {
		t.Fatal("the segment was not given up")
	}
	if _, err := record.ReadBody(h.segment.file, int64(h.off), h.header, nil); err != nil {
		t.Errorf("reading on in the segment: %v", err)
	}
	exists := func() bool { _, err := sizeOf(fs, fileName(segmentPrefix, old.number)); return err == nil }
	if !exists() {
		t.Error("the file was deleted while it was read")
	}
	s.unpin(h.segment)
	if exists() {
		t.Error("the file is there when nobody reads it any more")
	}
}

// TestEveryCallAfterAFailure: a spool whose device failed to save hands nothing out
// and takes nothing.
func TestEveryCallAfterAFailure(t *testing.T) {
	f, s := openSmall(t)
	ctx, now := context.Background(), time.Unix(1e9, 0)
	once := textMessage("once")
	once.Guarantee = queue.AtMostOnce
	id, err := s.Put(ctx, now, once)
	must(t, err)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{})
	must(t, err)
	lease := c.Deliveries[0].Lease
	f.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, syscall.EIO))
	if _, err := s.Put(ctx, now, textMessage("x")); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("Put whose sync fails = %v", err)
	}
	f.Inject(nil)
	for name, call := range map[string]func() error{
		"Put":      func() error { _, err := s.Put(ctx, now, textMessage("x")); return err },
		"Claim":    func() error { _, err := s.Claim(ctx, now, queue.ClaimOptions{}); return err },
		"Mark":     func() error { return s.Mark(ctx, []queue.Lease{lease}) },
		"Extend":   func() error { _, err := s.Extend(ctx, now, []queue.Lease{lease}, time.Hour); return err },
		"Settle":   func() error { _, err := s.Settle(ctx, now, []queue.Settlement{{Lease: lease}}); return err },
		"Open":     func() error { _, err := s.Open(ctx, id); return err },
		"Show":     func() error { _, err := s.Show(ctx, id); return err },
		"List":     func() error { _, err := s.List(ctx, queue.ListOptions{}); return err },
		"Total":    func() error { _, err := s.Total(ctx); return err },
		"Survey":   func() error { _, err := s.Survey(ctx, "", 0); return err },
		"Hold":     func() error { return s.Hold(ctx, id) },
		"Release":  func() error { return s.Release(ctx, id) },
		"Drop":     func() error { return s.Drop(ctx, id) },
		"Flush":    func() error { _, err := s.Flush(ctx, now, queue.Selection{}); return err },
		"Postpone": func() error { return s.Postpone(ctx, now, queue.Postponement{Destination: "d.example", Until: now}) },
		"Take":     func() error { _, err := s.Take(ctx, now, id, time.Hour); return err },
		"Suspend": func() error {
			return s.Suspend(ctx, now, queue.Suspension{Subject: queue.Subject{Kind: queue.OfTenant, Name: "t"}})
		},
		"Resume": func() error {
			_, err := s.Resume(ctx, now, queue.Subject{Kind: queue.OfTenant, Name: "t"})
			return err
		},
		"Suspensions": func() error { _, err := s.Suspensions(ctx, now); return err },
		"CountKeys":   func() error { _, err := s.CountKeys(ctx); return err },
		"Wait":        func() error { return s.Wait(ctx, 0) },
	} {
		if err := call(); !errors.Is(err, ErrFailed) || !errors.Is(err, queue.ErrFailed) {
			t.Errorf("%s after a failure = %v, want ErrFailed", name, err)
		}
	}
}

// TestLargeContentWhileItLeaves opens a large content whose message leaves between
// the reading of its record and that of its file, or whose file cannot be opened:
// neither is damage.
func TestLargeContentWhileItLeaves(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	id, err := s.Put(ctx, now, textMessage(strings.Repeat("large ", 2000)))
	must(t, err)
	number, _ := parseID(id)
	for _, cause := range []error{syscall.EMFILE, syscall.EACCES} {
		fs.Inject(func(op crashfs.Op, name string) error {
			if op == crashfs.OpOpen && strings.HasPrefix(name, contentPrefix) {
				return cause
			}
			return nil
		})
		if _, err := readContent(s, id); errors.Is(err, queue.ErrDamaged) || !errors.Is(err, cause) {
			t.Errorf("a sound content whose file cannot be opened for %v: %v", cause, err)
		}
	}
	fs.Inject(nil)
	if text, err := readContent(s, id); err != nil || len(text) != 12000 {
		t.Errorf("then: %d bytes, %v", len(text), err)
	}
	must(t, s.Drop(ctx, id))
	mustPut(t, s)
	if _, err := s.openLarge(number, 12000); !errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDamaged) {
		t.Errorf("the content of a message that has just left = %v, want ErrNotFound", err)
	}
}

// TestDumpOfDamage shows what is before damage, the damage, and what is behind it.
func TestDumpOfDamage(t *testing.T) {
	fs, _ := filled(t, 0)
	var sound bytes.Buffer
	must(t, dump(fs, &sound))
	fs.Spoil(fileName(segmentPrefix, 2), 4096, 4608)
	var hurt bytes.Buffer
	must(t, dump(fs, &hurt))
	lines := func(b *bytes.Buffer) int { return bytes.Count(b.Bytes(), []byte("\n")) }
	if lost := lines(&sound) - lines(&hurt); lost > 8 || !strings.Contains(hurt.String(), syscall.EIO.Error()) {
		t.Errorf("with one bad sector Dump shows %d lines less, and its cause: %v", lost, strings.Contains(hurt.String(), fmt.Sprint(syscall.EIO)))
	}
}
