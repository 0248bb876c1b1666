package disk

import (
	"bytes"
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

// noCheckpoint is a device without room for checkpoints; begun counts those begun.
func noCheckpoint(begun *int) crashfs.Injector {
	return func(op crashfs.Op, name string) error {
		if op == crashfs.OpCreate && strings.HasPrefix(name, checkpointPrefix) {
			*begun++
			return syscall.ENOSPC
		}
		return nil
	}
}

// TestCheckpointIsTriedAgainWhenMoreWasWritten has no room for checkpoints, and none is
// given back: one is tried again when about twice as much would have to be read without
// it, and when one was taken the next waits for nothing.
func TestCheckpointIsTriedAgainWhenMoreWasWritten(t *testing.T) {
	ctx := context.Background()
	fs, s, _, g := flushed(t, func(*Spool) {}, func(*Spool) {})
	begun := 0
	fs.Inject(noCheckpoint(&begun))
	if err := s.takeCheckpoint(ctx); !errors.Is(err, queue.ErrFull) {
		t.Fatalf("a checkpoint without room = %v", err)
	}
	before := s.sinceCheckpoint
	begun = 0
	for s.sinceCheckpoint < 2*before+s.segmentSize {
		if err := s.compact(ctx, g); !errors.Is(err, queue.ErrFull) || begun > 0 {
			t.Fatalf("when %d bytes were written, and %d the time before, it is %v with %d checkpoints begun", s.sinceCheckpoint, before, err, begun)
		}
		mustPut(t, s)
	}
	if err := s.compact(ctx, g); !errors.Is(err, queue.ErrFull) || begun == 0 {
		t.Errorf("when %d bytes were written, and %d the time before, it is %v with %d checkpoints begun", s.sinceCheckpoint, before, err, begun)
	}
	for s.sinceCheckpoint < 2*s.blocked.bytes+s.segmentSize {
		mustPut(t, s)
	}
	fs.Inject(nil)
	must(t, s.takeCheckpoint(ctx))
	later := textMessage("later")
	later.NotBefore = time.Unix(1e9, 0).Add(time.Hour)
	id, err := s.Put(ctx, time.Unix(1e9, 0), later)
	must(t, err)
	_, err = s.Flush(ctx, time.Unix(1e9, 0), queue.Selection{Message: id})
	must(t, err)
	g = s.current
	s.rollNow = true
	mustPut(t, s)
	if err := s.compact(ctx, g); err != nil || s.segments.byNumber[g.number] != nil {
		t.Errorf("after a checkpoint was taken a segment with a flush is not given up: %v", err)
	}
}

// TestCheckpointMakesRoomAtOnce has a device that tells when a file is saved that there is
// no room for a checkpoint: enough of the reserve is given up for all of it, so that it
// is begun only once more.
func TestCheckpointMakesRoomAtOnce(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{sector: 512})
	must(t, err)
	const entries = 3000
	name := strings.Repeat("long-name.", 20)
	mustPut(t, s)
	for n := range entries {
		s.index.Add([]index.Entry{{Message: index.Number(uint64(1000+n), 1), Destination: fmt.Sprint(name, n, ".example"),
			Home: s.current.slot, Record: s.current.place(8), AtOnce: true}})
	}
	mustPut(t, s) // and so the reserve has room for the checkpoint
	begun := 0
	fs.Inject(func(op crashfs.Op, file string) error {
		if op == crashfs.OpCreate && strings.HasPrefix(file, checkpointPrefix) {
			begun++
		}
		if op == crashfs.OpSync && strings.HasPrefix(file, checkpointPrefix) && begun == 1 {
			return syscall.ENOSPC
		}
		return nil
	})
	before := s.spare.size
	must(t, s.takeCheckpoint(context.Background()))
	fs.Inject(nil)
	given := before - s.spare.size
	if want := rowRoom*int64(entries) + s.index.NameRoom(); begun != 2 || given < want {
		t.Errorf("a checkpoint was begun %d times, and %d bytes of the reserve were given up for it, want %d", begun, given, want)
	}
}

// TestCheckpointLeavesOutWhatIsOver takes a checkpoint of destinations whose
// postponements are over: it has none of them, nor has the index.
func TestCheckpointLeavesOutWhatIsOver(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	const many = 2 * holdMax
	list := make([]queue.Postponement, many)
	for i := range list {
		list[i] = queue.Postponement{Destination: fmt.Sprintf("d%d.example", i), Until: now.Add(time.Minute)}
	}
	must(t, s.Postpone(ctx, now, list...))
	_, err := s.Claim(ctx, now.Add(time.Hour), queue.ClaimOptions{})
	must(t, err)
	must(t, s.takeCheckpoint(ctx))
	must(t, s.Close())
	var out bytes.Buffer
	must(t, dump(fs, &out))
	if !strings.Contains(out.String(), "table from") || strings.Contains(out.String(), fmt.Sprint(holdMax, " destinations")) {
		t.Errorf("the checkpoint has what is over:\n%s", out.String())
	}
}

// TestCheckpointCoversFlushesInTheLog takes a checkpoint while the index has only a part
// of what a flush says that is in the log: it covers all of it, so the segment of the flush can
// be given up without another.
func TestCheckpointCoversFlushesInTheLog(t *testing.T) {
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
	must(t, s.takeCheckpoint(ctx))
	if f.at.Segment == 0 || !f.at.Before(s.checkpoint) {
		t.Errorf("the flush is at %v, and the checkpoint covers the log before %v", f.at, s.checkpoint)
	}
	s, err := openByHand(fs.Restart(), Options{})
	must(t, err)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{})
	must(t, err)
	if len(c.Deliveries) != 6 {
		t.Errorf("%d of 6 deliveries are due that were flushed", len(c.Deliveries))
	}
}
