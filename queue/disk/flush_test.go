package disk

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// flushBesideRead runs do, and a flush while do reads for the n-th time: the flush is
// in line before do writes what it has read. It reports whether do read so often.
func flushBesideRead(t *testing.T, fs *crashfs.FS, s *Spool, what queue.Selection, nth int, do func()) bool {
	t.Helper()
	now := time.Unix(1e9, 0)
	var group sync.WaitGroup
	reads := 0
	fs.Inject(func(op crashfs.Op, _ string) error {
		if op != crashfs.OpRead {
			return nil
		}
		if reads++; reads != nth {
			return nil
		}
		s.mu.Lock()
		before := s.flushed
		s.mu.Unlock()
		group.Go(func() {
			if _, err := s.Flush(context.Background(), now, what); err != nil {
				t.Error(err)
			}
		})
		for flushed := before; flushed == before; runtime.Gosched() {
			s.mu.Lock()
			flushed = s.flushed
			s.mu.Unlock()
		}
		return nil
	})
	do()
	group.Wait()
	fs.Inject(nil)
	return reads >= nth
}

// TestFlushBesideAnotherRecord has a flush get in line while somebody else has read
// the delivery and is about to write it anew. What the flush has answered is so after
// a restart, too.
func TestFlushBesideAnotherRecord(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for name, of := range map[string]struct {
		held bool
		do   func(t *testing.T, s *Spool, id string, old *segment)
	}{
		"a compaction of its message": {do: func(t *testing.T, s *Spool, _ string, old *segment) { must(t, s.compact(ctx, old)) }},
		"a compaction of its record": {held: true, do: func(t *testing.T, s *Spool, id string, old *segment) {
			must(t, s.compact(ctx, old))
		}},
		"a hold": {do: func(t *testing.T, s *Spool, id string, _ *segment) {
			must(t, s.Hold(ctx, id))
			must(t, s.Release(ctx, id))
		}},
		"a release": {held: true, do: func(t *testing.T, s *Spool, id string, _ *segment) { must(t, s.Release(ctx, id)) }},
	} {
		for _, what := range []string{"its message", "its destination", "everything"} {
			t.Run(name+" and a flush of "+what, func(t *testing.T) {
				for nth := 1; ; nth++ {
					fs, s := openSmall(t)
					id, err := s.Put(ctx, now, &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("text"),
						Recipients: []queue.Recipient{{Address: "a@later.example"}, {Address: "a@other.example"}}})
					must(t, err)
					old := s.current
					s.rollNow = true
					mustPut(t, s)
					if of.held {
						must(t, s.Hold(ctx, id))
						old = s.current
						s.rollNow = true
						mustPut(t, s)
					}
					if nth%2 == 0 {
						must(t, s.takeCheckpoint(ctx))
					}
					selection := queue.Selection{}
					switch what {
					case "its message":
						selection.Message = id
					case "its destination":
						selection.Destination = "later.example"
					}
					more := flushBesideRead(t, fs, s, selection, nth, func() { of.do(t, s, id, old) })
					if len(s.flushes) > 0 {
						t.Errorf("%d flushes are still under way", len(s.flushes))
					}
					mustPut(t, s) // so that all is saved
					before, err := s.Show(ctx, id)
					must(t, err)
					s, err = openByHand(fs.Kill(), Options{})
					must(t, err)
					after, err := s.Show(ctx, id)
					must(t, err)
					for i := range before.Waiting {
						if was, is := before.Waiting[i].Next, after.Waiting[i].Next; !was.Equal(is) {
							t.Errorf("read %d: %s was due at %v and is after a restart at %v",
								nth, before.Waiting[i].Destination, was.UTC(), is.UTC())
						}
					}
					if !more {
						break
					}
				}
			})
		}
	}
}

// TestFlushInPieces flushes more than is gone through at a time, beside callers that
// put, defer and hold: what is due is the same after a restart.
func TestFlushInPieces(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	const many = 3 * holdMax
	var group sync.WaitGroup
	ids := make([]string, many)
	for worker := range 16 {
		group.Go(func() {
			for n := worker; n < many; n += 16 {
				var err error
				ids[n], err = s.Put(ctx, now, &queue.Message{NotBefore: now.Add(time.Hour + time.Duration(n)), Content: queue.String("text"),
					Recipients: []queue.Recipient{{Address: "a@big.example"}}})
				must(t, err)
			}
		})
	}
	group.Wait()
	for caller := range 4 {
		group.Go(func() {
			for n := caller; n < many; n += 64 {
				must(t, s.Hold(ctx, ids[n]))
				must(t, s.Release(ctx, ids[n]))
			}
		})
		group.Go(func() {
			for n := range 20 {
				c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 5})
				must(t, err)
				for _, d := range c.Deliveries {
					_, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease, Results: []queue.Result{{}},
						NotBefore: now.Add(time.Duration(n+2) * time.Hour)}})
					must(t, err)
				}
			}
		})
	}
	group.Go(func() {
		for range 3 {
			_, err := s.Flush(ctx, now, queue.Selection{Destination: "big.example"})
			must(t, err)
			must(t, s.takeCheckpoint(ctx))
		}
	})
	group.Wait()
	if n, err := s.Flush(ctx, now); err != nil || n != 0 {
		t.Errorf("a flush of nothing = %d, %v", n, err)
	}
	must(t, s.save())
	dues := func(s *Spool) map[string]string {
		list := map[string]string{}
		for _, id := range ids {
			e, err := s.Show(ctx, id)
			must(t, err)
			list[id] = fmt.Sprint(e.Waiting[0].Next.UTC())
		}
		return list
	}
	before := dues(s)
	s, err := openByHand(fs.Kill(), Options{})
	must(t, err)
	after, differ := dues(s), 0
	for id, was := range before {
		if after[id] != was {
			if differ++; differ < 5 {
				t.Errorf("%s was due at %s, and is after a restart at %s", id, was, after[id])
			}
		}
	}
}

// TestFlushSaysNothingOfWhatComesAfter has a delivery be claimed and deferred after a
// flush is in the log and before the index has it: it stays deferred.
func TestFlushSaysNothingOfWhatComesAfter(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	id, err := s.Put(ctx, now, &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("text"),
		Recipients: []queue.Recipient{{Address: "a@later.example"}}})
	must(t, err)
	s.mu.Lock()
	f := s.newFlush(&record.Flush{Since: now})
	s.flushes, s.flushed = append(s.flushes, f), s.flushed+1
	s.mu.Unlock()
	flushed := f.ticket()
	s.pass(flushed, nil)
	must(t, s.passed(flushed, nil))
	must(t, s.Hold(ctx, id)) // takes into its record what the flush says
	must(t, s.Release(ctx, id))
	c, err := s.Claim(ctx, now, queue.ClaimOptions{})
	must(t, err)
	until := now.Add(2 * time.Hour)
	_, err = s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{}}, NotBefore: until}})
	must(t, err)
	s.finish(f)
	must(t, s.save())
	for _, when := range []string{"before", "after"} {
		e, err := s.Show(ctx, id)
		must(t, err)
		if got := e.Waiting[0].Next; !got.Equal(until) {
			t.Errorf("%s a restart it is due at %v, want %v", when, got.UTC(), until.UTC())
		}
		s, err = openByHand(fs.Kill(), Options{})
		must(t, err)
	}
}

// TestCheckpointInTheMiddleOfAFlush takes a checkpoint while the index has half of
// what a flush says: the rest is read from the log.
func TestCheckpointInTheMiddleOfAFlush(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	for range 6 {
		_, err := s.Put(ctx, now, &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("text"),
			Recipients: []queue.Recipient{{Address: "a@later.example"}}})
		must(t, err)
	}
	s.mu.Lock()
	f := s.newFlush(&record.Flush{Since: now})
	s.flushes, s.flushed = append(s.flushes, f), s.flushed+1
	s.mu.Unlock()
	flushed := f.ticket()
	s.pass(flushed, nil)
	must(t, s.passed(flushed, nil))
	must(t, s.save())
	s.mu.Lock()
	s.index.Flush(&f.Flushing, 3)
	first := &record.Table{From: s.from(), Next: s.nextMessage.Load()}
	s.mu.Unlock()
	s.beginCheckpoint(first)
	size, err := s.writeCheckpoint(ctx, 1, first)
	must(t, err)
	must(t, s.useCheckpoint(1, first, size))
	s, err = openByHand(fs.Restart(), Options{})
	must(t, err)
	if len(s.problems) > 0 || s.checkpoint != first.From {
		t.Errorf("opening used the checkpoint at %v, want %v: %v", s.checkpoint, first.From, s.problems)
	}
	c, err := s.Claim(ctx, now, queue.ClaimOptions{})
	must(t, err)
	if len(c.Deliveries) != 6 {
		t.Errorf("%d of 6 deliveries are due that were flushed", len(c.Deliveries))
	}
}

// TestFlushWithoutTheOneBefore has a power cut take a flush, or two, and leave a later one of
// the same delivery: it is due.
func TestFlushWithoutTheOneBefore(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for lost := range 4 {
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		must(t, err)
		m := textMessage("text")
		m.NotBefore = now.Add(time.Hour)
		id, err := s.Put(ctx, now, m)
		must(t, err)
		var at []int64
		for i := range 3 {
			at = append(at, s.current.size)
			_, err := s.Flush(ctx, now.Add(time.Duration(i)*time.Minute), queue.Selection{Message: id})
			must(t, err)
		}
		for _, off := range at[:lost] {
			fs.Flip(s.current.file.name, off+record.FrameSize, 1)
		}
		s, err = openByHand(fs.Kill(), small())
		must(t, err)
		e, err := s.Show(ctx, id)
		must(t, err)
		if due := e.Waiting[0].Next.IsZero(); due != (lost < 3) {
			t.Errorf("when %d of three flushes are lost: due at once %v, at %v", lost, due, e.Waiting[0].Next)
		}
	}
}
