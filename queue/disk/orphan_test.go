package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
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
// of it reached the device, and its file stay: because it cannot be removed, or because
// the power is cut before that is saved. It is not taken for the newest: what was retired
// since is not missed, no content is kept for it, and numbers go on where they were. What
// was answered is there, and nothing else, and so it is after another power cut.
func TestSegmentThatFailedComesBack(t *testing.T) {
	for _, c := range []struct {
		cause error
		stays bool // the file cannot be removed
		seeds uint64
		least int
	}{
		{syscall.EIO, true, 100, 5},
		{syscall.ENOSPC, true, 100, 5}, // a Put tries again at once
		{syscall.EIO, false, 300, 5},   // what is lost must be just that
	} {
		t.Run(fmt.Sprintf("%v, cannot be removed: %v", c.cause, c.stays), func(t *testing.T) {
			back, retired := 0, 0
			for seed := range c.seeds {
				c := &comeback{t: t, seed: seed, cause: c.cause, stays: c.stays, fs: crashfs.New(seed)}
				if c.run(); c.back {
					back++
					if c.retired {
						retired++
					}
				}
			}
			if back < c.least || c.stays && retired < c.least {
				t.Errorf("the segment came back %d times, %d of them when another was retired, want at least %d", back, retired, c.least)
			}
		})
	}
}

// comeback is one such segment.
type comeback struct {
	t     *testing.T
	seed  uint64
	cause error
	stays bool // its file cannot be removed
	fs    *crashfs.FS
	s     *Spool

	name    string   // of the file
	want    []string // messages that are there
	unsure  bool     // and there may be one more
	retired bool     // the first segment was, since
	back    bool
}

func (c *comeback) run() {
	t := c.t
	s, err := openByHand(c.fs, small())
	must(t, err)
	c.s = s
	c.put()
	first := s.current
	s.rollNow = true
	c.put()
	s.rollNow = true
	c.fs.Inject(func(op crashfs.Op, name string) error {
		switch begins := op == crashfs.OpWrite && strings.HasPrefix(name, segmentPrefix); {
		case begins && c.name == "", begins && name == c.name:
			c.name = name
			return c.cause
		case op == crashfs.OpRemove && name == c.name && c.stays:
			return syscall.EROFS
		}
		return nil
	})
	id, err := putSize(s, "c.example", 10)
	switch {
	case err == nil && errors.Is(c.cause, syscall.ENOSPC):
		c.want = append(c.want, id)
	case !errors.Is(err, c.cause):
		t.Fatalf("seed %d: a Put whose segment could not be begun: %v", c.seed, err)
	}
	if s.failed() != nil {
		t.Fatalf("a write that fails ends the spool: %v", s.failed())
	}
	if c.stays {
		c.fs.CutAt(c.fs.Writes() + 1 + int(c.seed%16))
	} else { // before the next is begun
		c.fs.CutAt(c.fs.Writes() + 1 + int(c.seed%4))
	}
	if c.put() {
		err := s.compact(context.Background(), first)
		c.retired = err == nil
		if err == nil {
			c.put()
		} else if !errors.Is(err, crashfs.ErrPowerCut) {
			t.Fatalf("seed %d: %v", c.seed, err)
		}
	}
	c.fs = c.fs.Restart()
	size, err := sizeOf(c.fs, c.name)
	c.back = err == nil && size > record.HeaderSize
	for range 2 {
		c.check()
	}
}

// put reports false where the power was cut.
func (c *comeback) put() bool {
	id, err := putSize(c.s, "d.example", 10)
	if err == nil {
		c.want = append(c.want, id)
		return true
	}
	if !errors.Is(err, crashfs.ErrPowerCut) {
		c.t.Fatalf("seed %d: %v", c.seed, err)
	}
	c.unsure = true
	return false
}

// check opens what is left, puts a message more and cuts the power.
func (c *comeback) check() {
	t, ctx := c.t, context.Background()
	s, err := openByHand(c.fs, small())
	must(t, err)
	c.s = s
	if len(s.problems) > 0 || s.hidden {
		t.Errorf("seed %d: %v", c.seed, s.problems)
	}
	if number, _ := numberOf(c.name, segmentPrefix); c.back && s.nextSegment <= number {
		t.Errorf("seed %d: the next segment is %d, and there was %d", c.seed, s.nextSegment, number)
	}
	if next := s.nextMessage.Load(); next > 20 {
		t.Errorf("seed %d: the next message is %d", c.seed, next)
	}
	page, err := s.List(ctx, queue.ListOptions{})
	must(t, err)
	var got []string
	for i := range page.Entries {
		got = append(got, page.Entries[i].Message.ID)
		if _, err := readContent(s, got[i]); err != nil {
			t.Errorf("seed %d: %s: %v", c.seed, got[i], err)
		}
	}
	if c.unsure && len(got) == len(c.want)+1 {
		c.want = append(c.want, got[len(got)-1])
	}
	if !slices.Equal(got, c.want) {
		t.Errorf("seed %d: %v are there, want %v", c.seed, got, c.want)
	}
	c.unsure = false
	c.put()
	c.fs = c.fs.Restart()
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
