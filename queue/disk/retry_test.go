package disk

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// checkpointRig is a spool whose checkpoints fail so many times.
type checkpointRig struct {
	fs    *crashfs.FS
	s     *Spool
	begun int // files of checkpoints
}

func newCheckpointRig(t *testing.T, fails int, fail func(*Spool, crashfs.Op) error) *checkpointRig {
	t.Helper()
	r := &checkpointRig{fs: crashfs.New(1)}
	s, err := openByHand(r.fs, small())
	must(t, err)
	r.s = s
	for range 20 {
		mustPut(t, s)
	}
	r.fs.Inject(func(op crashfs.Op, name string) (err error) {
		if !strings.HasPrefix(name, checkpointPrefix) {
			return nil
		}
		if op == crashfs.OpCreate {
			r.begun++
		}
		if op == crashfs.OpWrite || op == crashfs.OpSync {
			if fails > 0 {
				err = fail(s, op)
			}
			if op == crashfs.OpSync || err != nil {
				fails--
			}
		}
		return err
	})
	return r
}

// check sees to it that nothing is left of checkpoints that failed, that mail comes and
// goes, and that there is one when nothing fails any more.
func (r *checkpointRig) check(t *testing.T) {
	t.Helper()
	list, err := r.fs.List()
	must(t, err)
	for _, f := range list {
		if strings.HasSuffix(f.Name, newSuffix) {
			t.Errorf("%s is left", f.Name)
		}
	}
	r.fs.Inject(nil)
	mustPut(t, r.s)
	deliverAll(t, r.s)
	must(t, r.s.takeCheckpoint(context.Background()))
	s, err := openByHand(r.fs.Kill(), small())
	must(t, err)
	if s.checkpoint.Segment == 0 || len(s.problems) > 0 || s.index.Len() > 0 {
		t.Errorf("opened from %v with %d deliveries, %v", s.checkpoint, s.index.Len(), s.problems)
	}
}

// writtenAgain says that what was answered and not saved was written again meanwhile, as
// it is where a device says only then that it is full.
func writtenAgain(s *Spool, op crashfs.Op) error {
	if op == crashfs.OpSync {
		s.mends++
	}
	return nil
}

func full(*Spool, crashfs.Op) error { return syscall.ENOSPC }

// takenAgain says that there is no room, and has what was made of it be in the reserve
// again by then, as Put sees to.
func takenAgain(s *Spool, _ crashfs.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare.size = 1 << 20
	return syscall.ENOSPC
}

// TestCheckpointIsTriedAgain has checkpoints fail a few times because of what others do:
// one that is taken in the end is good.
func TestCheckpointIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func(*Spool, crashfs.Op) error
		times int
		begun int
	}{
		"records are written again": {writtenAgain, 3, 4},
		"there is no room":          {full, 1, 1}, // for a piece of it
	} {
		t.Run(name, func(t *testing.T) {
			r := newCheckpointRig(t, c.times, c.fail)
			must(t, r.s.takeCheckpoint(context.Background()))
			if r.begun != c.begun || r.s.isBlocked() {
				t.Errorf("a checkpoint was begun %d times, want %d; the next waits: %v", r.begun, c.begun, r.s.isBlocked())
			}
			r.check(t)
		})
	}
}

// TestCheckpointIsGivenUpInTheEnd has checkpoints fail all the time: because records are
// written again meanwhile, or because others take the room that is made for it. That is
// not tried for ever.
func TestCheckpointIsGivenUpInTheEnd(t *testing.T) {
	ctx := context.Background()
	t.Run("records are written again", func(t *testing.T) {
		r := newCheckpointRig(t, 1<<30, writtenAgain)
		err := r.s.takeCheckpoint(ctx)
		if !errors.Is(err, queue.ErrFull) || !errors.Is(err, errMended) || r.begun != mostTries {
			t.Errorf("a checkpoint that cannot be taken was begun %d times, want %d: %v", r.begun, mostTries, err)
		}
		if !r.s.isBlocked() {
			t.Error("the next does not wait")
		}
		r.check(t)
	})
	t.Run("others take the room", func(t *testing.T) {
		r := newCheckpointRig(t, 1<<30, takenAgain)
		err := r.s.takeCheckpoint(ctx)
		if !errors.Is(err, queue.ErrFull) || r.begun != mostTries {
			t.Errorf("a checkpoint without room was begun %d times, want %d: %v", r.begun, mostTries, err)
		}
		if !r.s.isBlocked() {
			t.Error("the next does not wait")
		}
		r.check(t)
	})
}
