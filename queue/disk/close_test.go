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
)

// newestCheckpoint is the number of the newest checkpoint in a directory, zero if there is
// none.
func newestCheckpoint(t *testing.T, fs *crashfs.FS) (newest uint64) {
	t.Helper()
	list, err := fs.List()
	must(t, err)
	for _, f := range list {
		if n, ok := numberOf(f.Name, checkpointPrefix); ok {
			newest = max(newest, n)
		}
	}
	return newest
}

// TestCloseTakesACheckpointIfItPays closes spools to which little or much was written
// since the last checkpoint, compared with a segment and with that checkpoint.
func TestCloseTakesACheckpointIfItPays(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	wide := &queue.Message{Content: queue.String("text")}
	for i := range 2000 { // its checkpoint has about 100 KiB
		wide.Recipients = append(wide.Recipients, queue.Recipient{Address: fmt.Sprintf("a@d%d.example", i)})
	}
	for _, c := range []struct {
		name  string
		first *queue.Message // followed by a checkpoint, unless it is nil
		puts  int            // of small messages, each about 1.5 KiB
		taken bool
	}{
		{"little was written", nil, 1, false},
		{"much was written", nil, 20, true},
		{"little beside the last checkpoint", wide, 8, false},
		{"much beside the last checkpoint", wide, 40, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := crashfs.New(1)
			o := Options{SegmentSize: 128 << 10, sector: 512}
			if c.first != nil {
				s, err := openByHand(fs, o)
				must(t, err)
				_, err = s.Put(ctx, now, c.first)
				must(t, err)
				must(t, s.takeCheckpoint(ctx))
				must(t, s.Close())
			}
			before := newestCheckpoint(t, fs)
			s, err := open(fs, o)
			must(t, err)
			for range c.puts {
				mustPut(t, s)
			}
			must(t, s.Close())
			if taken := newestCheckpoint(t, fs) != before; taken != c.taken {
				t.Errorf("Close took a checkpoint: %v, want %v", taken, c.taken)
			}
		})
	}
}

// TestCloseWithoutRoomForACheckpoint closes a spool for whose checkpoint there was no room
// a moment ago, and there is no more now: it is not tried again.
func TestCloseWithoutRoomForACheckpoint(t *testing.T) {
	fs := crashfs.New(1)
	s, err := open(fs, Options{SegmentSize: 128 << 10, sector: 512})
	must(t, err)
	for range 20 {
		mustPut(t, s)
	}
	begun := 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpCreate && strings.HasPrefix(name, checkpointPrefix) {
			begun++
			return syscall.ENOSPC
		}
		return nil
	})
	if err := s.takeCheckpoint(t.Context()); !errors.Is(err, queue.ErrFull) {
		t.Errorf("a checkpoint without room = %v, want ErrFull", err)
	}
	begun = 0
	if err := s.Close(); err != nil || begun > 0 {
		t.Errorf("Close = %v, and began %d checkpoints", err, begun)
	}
}

// manySegments is a directory with more small segments than there may be, merged or not
// when the spool is closed.
func manySegments(t *testing.T) *crashfs.FS {
	t.Helper()
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{sector: 512})
	must(t, err)
	segmentsOfOne(t, s, 3*maxAlike)
	must(t, s.Close())
	return fs
}

// TestCloseMergesSegments closes spools with too many small segments. If something was
// written they are merged, and a checkpoint is taken if it pays; if nothing was, nothing
// is.
func TestCloseMergesSegments(t *testing.T) {
	t.Run("nothing was written", func(t *testing.T) {
		fs := manySegments(t)
		s, err := open(fs, Options{sector: 512})
		must(t, err)
		before := fs.Writes()
		must(t, s.Close())
		if n := fs.Writes() - before; n > 0 {
			t.Errorf("Close changed something %d times", n)
		}
	})
	t.Run("something was written", func(t *testing.T) {
		fs := manySegments(t)
		s, err := open(fs, Options{sector: 512})
		must(t, err)
		mustPut(t, s)
		must(t, s.Close())
		if n := segmentFiles(t, fs); n > maxAlike {
			t.Errorf("after Close there are %d segments", n)
		}
		if newestCheckpoint(t, fs) > 0 {
			t.Error("Close took a checkpoint, and little was written")
		}
	})
	t.Run("much was written", func(t *testing.T) {
		fs := manySegments(t)
		s, err := open(fs, Options{sector: 512, SegmentSize: 128 << 10})
		must(t, err)
		s.mu.Lock()
		s.maintaining = true // nothing is done before Close
		s.mu.Unlock()
		for range 20 {
			mustPut(t, s)
		}
		must(t, s.Close())
		if n := segmentFiles(t, fs); n > maxAlike || newestCheckpoint(t, fs) == 0 {
			t.Errorf("after Close there are %d segments, and the newest checkpoint is %d", n, newestCheckpoint(t, fs))
		}
	})
	t.Run("it fails", func(t *testing.T) {
		fs := manySegments(t)
		s, err := open(fs, Options{sector: 512})
		must(t, err)
		s.mu.Lock()
		s.maintaining = true
		s.mu.Unlock()
		mustPut(t, s)
		odd := errors.New("odd")
		fs.Inject(crashfs.FailNth(crashfs.OpRead, 1, true, odd))
		if err := s.Close(); !errors.Is(err, odd) {
			t.Errorf("Close = %v, want the error of the device", err)
		}
	})
}
