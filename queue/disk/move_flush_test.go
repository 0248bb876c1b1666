package disk

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestFlushWhileAMessageMoves flushes a message while a compaction moves it: before that
// begins and not to its end, or when the records have been read and are not in line yet.
// It is due at once, also when the log is read again.
func TestFlushWhileAMessageMoves(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, between := range []bool{false, true} {
		fs, s := openSmall(t)
		id, err := s.Put(ctx, now, &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("text"),
			Recipients: []queue.Recipient{{Address: "a@a.example"}, {Address: "a@b.example"}}})
		must(t, err)
		number, _ := parseID(id)
		g := s.current
		s.rollNow = true
		mustPut(t, s)
		_, from := find(t, fs.Copy(), number, record.KindMessage)
		h, m, err := s.openMessage(number, false)
		must(t, err)
		s.unpin(h.segment)

		f := s.newFlush(&record.Flush{Since: now})
		begin := func() { // of a flush, as far as the log; s.flushing is held
			s.mu.Lock()
			s.flushes = append(s.flushes, f)
			s.flushed++
			s.mu.Unlock()
			tk := f.ticket()
			s.line.enqueue(tk)
			must(t, s.wait(tk))
		}
		var reads atomic.Int32
		fs.Inject(func(op crashfs.Op, _ string) error {
			if op == crashfs.OpRead {
				reads.Add(1)
			}
			return nil
		})
		s.flushing.Lock()
		if !between {
			begin()
			s.flushing.Unlock()
		}
		c := &compaction{s: s, g: g, ctx: ctx, slots: map[index.Slot]bool{}}
		moved := make(chan error)
		go func() {
			err := c.message(uint32(from), &m)
			if flush := c.flush(); err == nil {
				err = flush
			}
			moved <- err
		}()
		if between {
			for reads.Load() == 0 {
				runtime.Gosched()
			}
			begin()
			s.finish(f)
			s.flushing.Unlock()
		}
		must(t, <-moved)
		if !between {
			s.finish(f)
		}
		fs.Inject(nil)
		must(t, s.save())
		due := func(what string, s *Spool) {
			t.Helper()
			e, err := s.Show(ctx, id)
			must(t, err)
			for _, w := range e.Waiting {
				if !w.Next.IsZero() {
					t.Errorf("flushed in between %v, %s: %s is due at %v, want at once", between, what, w.Destination, w.Next)
				}
			}
			c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{"a.example", "b.example"}})
			must(t, err)
			if len(c.Deliveries) != 2 || len(s.problems) > 0 {
				t.Errorf("flushed in between %v, %s: %d of 2 deliveries are due, %v", between, what, len(c.Deliveries), s.problems)
			}
			for _, d := range c.Deliveries {
				if !d.Due.Equal(now) {
					t.Errorf("flushed in between %v, %s: it is due since %v, want %v", between, what, d.Due, now)
				}
			}
		}
		due("then", s)
		fs = fs.Restart()
		must(t, withoutCheckpoints(fs))
		s, err = openByHand(fs, Options{})
		must(t, err)
		due("opened again", s)
	}
}
