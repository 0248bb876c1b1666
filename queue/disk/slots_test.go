package disk

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// fewSlots is a spool that can tell few segments apart, some of which are taken by those
// that are in use no more.
func fewSlots(t *testing.T, slots, ghosts int) (*crashfs.FS, *Spool) {
	t.Helper()
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{SegmentSize: 16 << 10})
	must(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments.most = slots
	for range ghosts {
		g := newSegment(s.nextSegment)
		s.nextSegment++
		g.slot = uint16(len(s.segments.list))
		s.segments.list = append(s.segments.list, g)
	}
	return fs, s
}

// TestNoSlotForASegment puts until all slots of segments are taken, also by segments that
// are in use no more. What was put can be read, what was not put says that the spool is
// full, and that passes as mail leaves: its settlements need no slot.
func TestNoSlotForASegment(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, ghosts := range []int{0, 1, 3} {
		fs, s := fewSlots(t, 6, ghosts)
		text := string(make([]byte, 6<<10))
		var ids []string
		for range 100 {
			id, err := s.Put(ctx, now, &queue.Message{Content: queue.String(text), Recipients: []queue.Recipient{{Address: "a@b.example"}}})
			if errors.Is(err, queue.ErrFull) {
				break
			}
			must(t, err)
			ids = append(ids, id)
		}
		if len(ids) < 4 || len(ids) == 100 {
			t.Fatalf("%d ghosts: %d messages were put in 6 segments of 16 KiB", ghosts, len(ids))
		}
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1000})
		must(t, err)
		if len(c.Unreadable) > 0 || len(c.Deliveries) != len(ids) {
			t.Errorf("%d ghosts: of %d messages %d can be claimed and %d not be read", ghosts, len(ids), len(c.Deliveries), len(c.Unreadable))
		}
		var batch []queue.Settlement
		for i := range c.Deliveries {
			batch = append(batch, queue.Settlement{Lease: c.Deliveries[i].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}})
		}
		for one := range slices.Chunk(batch, 1) {
			done, err := s.Settle(ctx, now, one)
			must(t, err)
			if done[0].Err != nil {
				t.Fatalf("%d ghosts: settling: %v", ghosts, done[0].Err)
			}
		}
		must(t, s.save())
		must(t, s.maintain(ctx))
		if _, err := s.Put(ctx, now, &queue.Message{Content: queue.String(text), Recipients: []queue.Recipient{{Address: "a@b.example"}}}); err != nil {
			t.Errorf("%d ghosts: Put when all has left: %v", ghosts, err)
		}
		must(t, s.Close())
		s, err = openByHand(fs, Options{})
		must(t, err)
		if total, err := s.Total(ctx); err != nil || total.Messages != 1 || len(s.problems) > 0 {
			t.Errorf("%d ghosts: opened again: %+v, %v, problems %v", ghosts, total, err, s.problems)
		}
		must(t, s.Close())
	}
}

// TestNoSlotForWhatACheckpointSpeaksOf opens a spool whose checkpoint speaks of segments
// that are in use no more, and that has slots only for those that are: the log is read
// without the checkpoint, and says the same.
func TestNoSlotForWhatACheckpointSpeaksOf(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	mustPut(t, s)
	var old []*segment
	for range 3 {
		old = append(old, s.current)
		s.rollNow = true
		mustPut(t, s)
	}
	must(t, s.takeCheckpoint(ctx))
	s.rollNow = true
	mustPut(t, s)
	for _, g := range old {
		must(t, s.compact(ctx, g))
	}
	must(t, s.save())
	inUse := len(s.segments.byNumber)
	total, err := s.Total(ctx)
	must(t, err)
	for _, slots := range []int{maxSegments, inUse} {
		again := newSpool(fs.Kill(), Options{})
		again.byHand, again.segments.most = true, slots
		must(t, again.recover(false))
		for number := range again.segments.byNumber {
			if again.segments.list[again.segments.byNumber[number].slot].number != number {
				t.Errorf("segment %d stands in a slot of another", number)
			}
		}
		if got, err := again.Total(ctx); err != nil || got != total {
			t.Errorf("with %d slots: %+v, %v, want %+v", slots, got, err, total)
		}
		if used := again.checkpoint.Segment != 0; used != (slots == maxSegments) {
			t.Errorf("with %d slots: the checkpoint was used: %v", slots, used)
		}
	}
}
