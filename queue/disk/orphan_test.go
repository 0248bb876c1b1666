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
)

// TestContentsOfNobodyBesideDamage opens a spool of which a segment is missing and
// that has a content that nothing speaks of: what spoke of it may be lost, so the
// content stays. When a checkpoint says what is there it goes, whatever stays damaged.
func TestContentsOfNobodyBesideDamage(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	mustPut(t, s) // in the segment that gets lost
	lost := s.current
	s.rollNow = true
	large, err := s.Put(ctx, time.Unix(1e9, 0), textMessage(strings.Repeat("large ", 2000)))
	must(t, err)
	must(t, s.takeCheckpoint(ctx)) // which knows of the message in the lost segment
	mustPut(t, s)
	must(t, s.Close())
	number, _ := parseID(large)
	orphan, own := fileName(contentPrefix, number+16*100), fileName(contentPrefix, number)
	f, err := fs.Create(orphan)
	must(t, err)
	must(t, f.Close())
	must(t, fs.Remove(fileName(segmentPrefix, lost.number)))
	must(t, fs.Remove(fileName(checkpointPrefix, 1)))

	has := func(name string) bool { _, err := sizeOf(fs, name); return err == nil }
	s, err = openByHand(fs, small())
	must(t, err)
	if !s.hidden || !has(orphan) || !has(own) {
		t.Errorf("damage is known: %v; the content of nobody is there: %v", s.hidden, has(orphan))
	}
	must(t, s.takeCheckpoint(ctx))
	must(t, s.Close())
	s, err = openByHand(fs, small())
	must(t, err)
	if s.hidden || has(orphan) || !has(own) {
		t.Errorf("after a checkpoint: damage where the log is read: %v; the content of nobody is there: %v, and that of a message: %v",
			s.hidden, has(orphan), has(own))
	}
	if text, err := readContent(s, large); err != nil || len(text) != 12000 {
		t.Errorf("the content of a message: %d bytes, %v", len(text), err)
	}
}

// TestSegmentThatFailedComesBack has the write that begins a segment fail though all
// of it reached the device, and the removal of its file be lost in a power cut. It is
// not taken for the newest: what was retired since is not missed, no content is kept
// for it, and numbers go on where they were.
func TestSegmentThatFailedComesBack(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(150) {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			fs := crashfs.New(seed)
			s, err := openByHand(fs, small())
			must(t, err)
			a := mustPut(t, s)
			first := s.current
			s.rollNow = true
			b := mustPut(t, s)
			s.rollNow = true
			begun := ""
			fs.Inject(func(op crashfs.Op, name string) error {
				if op == crashfs.OpWrite && strings.HasPrefix(name, segmentPrefix) && (begun == "" || name == begun) {
					begun = name
					return cause
				}
				return nil
			})
			if _, err := putSize(s, "c.example", 10); err == nil && cause == syscall.EIO {
				t.Fatal("a Put whose segment could not be begun succeeded")
			}
			fs.Inject(nil)
			if s.failed() != nil {
				t.Fatalf("a write that fails ends the spool: %v", s.failed())
			}
			c := mustPut(t, s)
			must(t, s.compact(ctx, first))
			d := mustPut(t, s)
			again, err := openByHand(fs.Restart(), small())
			must(t, err)
			if len(again.problems) > 0 || again.hidden {
				t.Errorf("seed %d, %v: %v", seed, cause, again.problems)
			}
			if next := again.nextMessage.Load(); next > 20 {
				t.Errorf("seed %d, %v: the next message is %d", seed, cause, next)
			}
			for _, id := range []string{a, b, c, d} {
				if _, err := again.Show(ctx, id); err != nil {
					t.Errorf("seed %d, %v: %s: %v", seed, cause, id, err)
				}
			}
		}
	}
}

// TestMarkOnAFullDevice marks what may be sent at most once while there is no room
// for a mark: that is refused or recorded, and others are claimed and settled.
func TestMarkOnAFullDevice(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	fs.SetDevice(crashfs.Device{Room: 300 << 10})
	s, err := openByHand(fs, Options{SegmentSize: 16 << 10})
	must(t, err)
	now := time.Unix(1e9, 0)
	for n := 0; ; n++ {
		m := textMessage(strings.Repeat("x", 1000))
		m.Recipients[0].Address = fmt.Sprintf("a@d%d.example", n%4)
		if n%2 == 0 {
			m.Guarantee = queue.AtMostOnce
		}
		if _, err := s.Put(ctx, now, m); err != nil {
			if !errors.Is(err, queue.ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	fs.Inject(func(op crashfs.Op, name string) error { // and nothing can be had by giving up the reserve
		if op == crashfs.OpWrite && strings.HasPrefix(name, segmentPrefix) {
			return syscall.ENOSPC
		}
		return nil
	})
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1000})
	if err != nil || len(c.Deliveries) != s.index.Len() || len(c.Deliveries) < 20 {
		t.Fatalf("Claim beside mail that cannot be marked = %d deliveries of %d, %v", len(c.Deliveries), s.index.Len(), err)
	}
	marked := 0
	for i := range c.Deliveries {
		d := &c.Deliveries[i]
		if err := s.Mark(ctx, []queue.Lease{d.Lease}); err == nil && d.Message.Guarantee == queue.AtMostOnce {
			t.Fatalf("Mark without any room succeeded")
		} else if err != nil && !errors.Is(err, queue.ErrFull) {
			t.Fatalf("Mark without any room = %v, want ErrFull", err)
		}
	}
	fs.Inject(nil)
	for i := range c.Deliveries {
		d := &c.Deliveries[i]
		if d.Message.Guarantee == queue.AtMostOnce {
			if err := s.Mark(ctx, []queue.Lease{d.Lease}); errors.Is(err, queue.ErrFull) {
				continue // it waits
			} else if err != nil {
				t.Fatal(err)
			}
			number, _ := parseID(d.Lease.Message)
			if s.index.Get(s.slots(number)[0]).Flags&index.Marked == 0 {
				t.Error("a mark that was answered is not there")
			}
			marked++
		}
		done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
		if err != nil || done[0].Err != nil {
			t.Fatalf("Settle on a full device: %v, %v", err, done)
		}
	}
	if marked == 0 {
		t.Error("nothing could be marked while mail left")
	}
	must(t, s.maintain(ctx))
	if _, err := s.Put(ctx, now, textMessage("x")); err != nil {
		t.Errorf("Put when mail has left: %v", err)
	}
}
