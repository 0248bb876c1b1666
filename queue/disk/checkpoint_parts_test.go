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
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// watchedWrites is a directory whose writes to checkpoints are looked at before they are
// done. The spool may be used meanwhile.
type watchedWrites struct {
	*crashfs.FS
	before func(p []byte) error
}

func (w *watchedWrites) Create(name string) (vfs.File, error) {
	f, err := w.FS.Create(name)
	if err != nil || !strings.HasPrefix(name, checkpointPrefix) {
		return f, err
	}
	return &watchedFile{f, w}, nil
}

type watchedFile struct {
	vfs.File
	w *watchedWrites
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.w.before(p); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

// longCheckpoint is a spool whose checkpoint takes several writes: after what put puts, it
// has so many deliveries on hold, which are in the index alone, for more destinations
// than one hold of the lock takes.
func longCheckpoint(t *testing.T, entries int, put func(*Spool)) (*watchedWrites, *Spool) {
	t.Helper()
	w := &watchedWrites{FS: crashfs.New(1)}
	s, err := openByHand(w, Options{})
	must(t, err)
	must(t, s.Hold(t.Context(), mustPut(t, s)))
	put(s)
	for n := range entries {
		number := index.Number(uint64(1000+n), 1)
		s.index.Add([]index.Entry{{Message: number, Destination: fmt.Sprintf("d%d.example", n%(3*holdMax)), Tenant: fmt.Sprint("t", n%3),
			Home: s.current.slot, Record: s.current.place(8), AtOnce: true, Flags: index.Held}})
		s.holdEnds.Set(number, 2e15)
		s.keys.known[keyHash{byte(n), byte(n >> 8), byte(n >> 16)}] = number
	}
	s.nextMessage.Store(uint64(1000 + entries))
	return w, s
}

// TestCheckpointBesideWhatComesAndGoes has mail leave and come, with names that nothing
// else has, between the writes of a checkpoint: what opening makes of it is what was
// there, and no name is taken for another. A checkpoint is written in parts of limited
// length.
func TestCheckpointBesideWhatComesAndGoes(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const entries = 60_000
	put := func(s *Spool, name string) string {
		t.Helper()
		id, err := s.Put(ctx, now, &queue.Message{Tenant: "of " + name, Content: queue.String("text"),
			Recipients: []queue.Recipient{{Address: "a@" + name}}})
		must(t, err)
		return id
	}
	var leaves, came []string
	w, s := longCheckpoint(t, entries, func(s *Spool) {
		for n := range 20 {
			leaves = append(leaves, put(s, fmt.Sprintf("leaves%d.example", n)))
		}
	})
	writes := 0
	w.before = func(p []byte) error {
		if len(p) > writeSize+(700<<10) {
			t.Errorf("write %d has %d bytes", writes, len(p))
		}
		must(t, s.Drop(ctx, leaves[writes]))
		came = append(came, put(s, fmt.Sprintf("came%d.example", writes)))
		writes++
		return nil
	}
	must(t, s.takeCheckpoint(ctx))
	longest(t, w.FS, 700<<10)
	if size := s.checkpointSize; writes < 3 || int64(writes) > size/writeSize+1 || size > entries*(rowRoom+40) {
		t.Errorf("%d writes for a checkpoint of %d bytes with %d deliveries", writes, size, entries)
	}
	names, _ := s.index.Destinations(0, 1<<20)
	tenants, _ := s.index.Tenants(nil, 0, 1<<20)
	if n := 1 + 3*holdMax + 20; len(names) > n || len(tenants) > 1+3+20 {
		t.Errorf("%d destinations and %d tenants are known, want those of what is there", len(names), len(tenants))
	}
	deliveries, holds := s.index.Len(), s.holdEnds.Len()
	must(t, s.save())
	s, err := openByHand(w.Restart(), Options{})
	must(t, err)
	if s.checkpoint.Segment == 0 || len(s.problems) > 0 {
		t.Errorf("opened from the checkpoint at %v, %v", s.checkpoint, s.problems)
	}
	if s.index.Len() != deliveries || s.holdEnds.Len() != holds {
		t.Errorf("after a restart %d deliveries are there and %d holds end, want %d and %d", s.index.Len(), s.holdEnds.Len(), deliveries, holds)
	}
	for n, id := range came {
		e, err := s.Show(ctx, id)
		if name := fmt.Sprintf("came%d.example", n); err != nil || len(e.Waiting) != 1 || e.Waiting[0].Destination != name || e.Message.Tenant != "of "+name {
			t.Errorf("what came at write %d is %v, %v", n, e.Waiting, err)
		}
		if _, err := s.Show(ctx, leaves[n]); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("what left at write %d is there: %v", n, err)
		}
	}
}

// TestWriteOfACheckpointThatFails has each write of a checkpoint fail in its turn, or the
// call cut off before it: nothing more is written, the checkpoint does not count, and
// nothing is left of it.
func TestWriteOfACheckpointThatFails(t *testing.T) {
	odd := errors.New("odd")
	w, s := longCheckpoint(t, 60_000, func(*Spool) {})
	for _, want := range []error{odd, context.Canceled} {
		for fails := 1; ; fails++ {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			writes := 0
			w.before = func([]byte) error {
				if writes++; writes == fails && want == odd {
					return odd
				} else if writes == fails {
					cancel()
				}
				return nil
			}
			before := s.checkpoint
			err := s.takeCheckpoint(ctx)
			if writes < fails {
				must(t, err)
				if fails < 4 {
					t.Errorf("a checkpoint took %d writes", writes)
				}
				break
			}
			if want == odd && (!errors.Is(err, odd) || writes > fails || s.checkpoint != before || s.isBlocked()) {
				t.Errorf("write %d of a checkpoint fails: %v; %d were made, the checkpoint at %v counts, and the next waits: %v",
					fails, err, writes, s.checkpoint, s.isBlocked())
			}
			if want != odd && fails == 1 && !errors.Is(err, want) { // in the midst of the rows
				t.Errorf("cut off before write %d: %v", fails, err)
			}
			list, err := w.List()
			must(t, err)
			for _, f := range list {
				if strings.HasSuffix(f.Name, newSuffix) {
					t.Errorf("%s is left", f.Name)
				}
			}
		}
	}
}

// TestStatesOfSegmentsInPieces has segments that each have the ends of many deliveries,
// and mail that was moved from many others: a checkpoint has them in pieces.
func TestStatesOfSegmentsInPieces(t *testing.T) {
	for name, note := range map[string]func(g *segment, n uint64){
		"ends":  func(g *segment, n uint64) { g.gone[n] = 1 },
		"moved": func(g *segment, n uint64) { g.from[n] = true },
	} {
		t.Run(name, func(t *testing.T) {
			fs, s := openSmall(t)
			segmentsOfOne(t, s, 8)
			for _, g := range s.segments.list {
				for n := range uint64(pieceLen / 3) {
					note(g, 1e6+n)
				}
			}
			must(t, s.takeCheckpoint(context.Background()))
			longest(t, fs, 4*pieceLen/3*5)
		})
	}
}

// TestOldCheckpointsAreDeleted takes one checkpoint after the other: only the newest
// stays, and the spool learns that room was given back. One that could not be deleted
// goes with the next.
func TestOldCheckpointsAreDeleted(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	take := func(want int) {
		t.Helper()
		mustPut(t, s)
		given := s.given.Load()
		must(t, s.takeCheckpoint(ctx))
		list, err := fs.List()
		must(t, err)
		there := 0
		for _, f := range list {
			if strings.HasPrefix(f.Name, checkpointPrefix) {
				there++
			}
		}
		if there != want || len(s.checkpoints) != want {
			t.Errorf("after checkpoint %d there are %d files, and %d are known, want %d", s.nextCheckpoint-1, there, len(s.checkpoints), want)
		}
		if s.sinceCheckpoint > 0 {
			t.Errorf("after a checkpoint %d bytes are to be read", s.sinceCheckpoint)
		}
		if s.nextCheckpoint > 2 && s.given.Load() == given {
			t.Error("nobody learns that room was given back")
		}
	}
	for range 3 {
		take(1)
	}
	fs.Inject(crashfs.FailNth(crashfs.OpRemove, 1, true, syscall.EACCES))
	take(2)
	fs.Inject(nil)
	take(1)
	must(t, fs.Remove(fileName(checkpointPrefix, s.nextCheckpoint-1))) // by somebody
	take(1)
}

// TestCheckpointOfALogThatCannotBeSaved has the device fail to save the log, or say that
// it is full, when a checkpoint is written that speaks of what is not saved yet: the checkpoint does not
// count.
func TestCheckpointOfALogThatCannotBeSaved(t *testing.T) {
	ctx := context.Background()
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		fs, s := openSmall(t)
		mustPut(t, s)
		deliverAll(t, s)
		fs.Inject(func(op crashfs.Op, name string) error {
			if op == crashfs.OpSync && strings.HasPrefix(name, segmentPrefix) || op == crashfs.OpTruncate && cause == syscall.ENOSPC {
				return cause
			}
			return nil
		})
		if err := s.takeCheckpoint(ctx); !errors.Is(err, cause) {
			t.Errorf("%v: a checkpoint = %v", cause, err)
		}
		fs.Inject(nil)
		if n := newestCheckpoint(t, fs); n > 0 {
			t.Errorf("%v: checkpoint %d is there", cause, n)
		}
	}
}

// TestCheckpointThatGetsNoName has a checkpoint be written and not get its name, or that
// name not be saved: the one before stays, and is the one that counts.
func TestCheckpointThatGetsNoName(t *testing.T) {
	ctx, odd := context.Background(), errors.New("odd")
	for _, c := range []struct {
		op          crashfs.Op
		cause, want error
	}{
		{crashfs.OpRename, odd, odd},
		{crashfs.OpSyncDir, syscall.ENOSPC, queue.ErrFull},
		{crashfs.OpSyncDir, syscall.EIO, ErrFailed},
	} {
		fs, s := openSmall(t)
		mustPut(t, s)
		must(t, s.takeCheckpoint(ctx))
		before := s.checkpoint
		mustPut(t, s)
		fs.Inject(crashfs.FailNth(c.op, 1, true, c.cause))
		if err := s.takeCheckpoint(ctx); !errors.Is(err, c.want) || s.checkpoint != before || errors.Is(c.want, ErrFailed) != (s.failed() != nil) {
			t.Errorf("%v fails with %v: a checkpoint = %v, want %v; the one at %v counts", c.op, c.cause, err, c.want, s.checkpoint)
		}
		fs.Inject(nil)
		if _, err := sizeOf(fs, fileName(checkpointPrefix, 1)); err != nil {
			t.Errorf("%v fails with %v: the checkpoint before: %v", c.op, c.cause, err)
		}
	}
}

// TestLogIsReadFromTheFirstFlushUnderWay has flushes under way while a checkpoint begins:
// the log is to be read from the first of which the index has only a part, and one that
// is not in the log yet does not count.
func TestLogIsReadFromTheFirstFlushUnderWay(t *testing.T) {
	now := time.Unix(1e9, 0)
	_, s := openSmall(t)
	mustPut(t, s)
	must(t, s.save())
	flushing := func(written bool) *flush {
		s.mu.Lock()
		f := s.newFlush(&record.Flush{Since: now})
		s.flushes, s.flushed = append(s.flushes, f), s.flushed+1
		s.mu.Unlock()
		if tk := f.ticket(); written {
			s.pass(tk, nil)
			must(t, s.passed(tk, nil))
		}
		return f
	}
	s.mu.Lock()
	want := s.applied
	s.mu.Unlock()
	flushing(false)
	if got := s.from(); got != want {
		t.Errorf("beside a flush in line the log is to be read from %v, want %v", got, want)
	}
	first := flushing(true)
	flushing(true)
	mustPut(t, s)
	if got := s.from(); got != first.at || !got.Before(s.applied) {
		t.Errorf("beside two flushes the log is to be read from %v, want %v", got, first.at)
	}
}
