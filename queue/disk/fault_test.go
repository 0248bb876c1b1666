package disk

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestFaults uses a spool at random while calls of the file system fail, kills
// or cuts the power of what has failed, opens it again and compares.
func TestFaults(t *testing.T) {
	collectLess(t)
	seeds := seeds(120, 10_000)
	for _, c := range []struct {
		op  crashfs.Op
		all bool // every such call from then on
		err error
	}{
		{crashfs.OpWrite, false, syscall.EIO},
		{crashfs.OpWrite, false, syscall.ENOSPC},
		{crashfs.OpWrite, true, syscall.ENOSPC},
		{crashfs.OpWrite, true, syscall.EROFS},
		{crashfs.OpSync, false, syscall.EIO},
		{crashfs.OpSync, true, syscall.EIO},
		{crashfs.OpSync, false, syscall.ENOSPC},
		{crashfs.OpSync, true, syscall.ENOSPC},
		{crashfs.OpSyncDir, true, syscall.EDQUOT},
		{crashfs.OpCreate, true, syscall.EMFILE},
		{crashfs.OpSyncDir, false, syscall.EIO},
		{crashfs.OpCreate, false, syscall.ENOSPC},
		{crashfs.OpCreate, true, syscall.EROFS},
		{crashfs.OpTruncate, false, syscall.EIO},
		{crashfs.OpRename, false, syscall.EIO},
		{crashfs.OpRemove, true, syscall.EROFS},
		{crashfs.OpRead, false, syscall.EIO},
		{crashfs.OpOpen, false, syscall.EMFILE},
	} {
		t.Run(fmt.Sprintf("%v %v always=%v", c.op, c.err, c.all), func(t *testing.T) {
			for seed := range (seeds + 9) / 10 {
				if err := faults(seed, c.op, c.all, c.err); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

func faults(seed uint64, op crashfs.Op, all bool, cause error) error {
	l := newLife(seed, small())
	l.lossy = loses(cause, op)
	if seed%2 == 1 && !vfsFull(cause) { // without room sectors are shared at times
		l.fs.SetDevice(crashfs.Device{Shears: l.o.sector})
	}
	if err := l.open(); err != nil {
		return err
	}
	for round := range 6 {
		if round%2 == 0 {
			l.fs.Inject(crashfs.FailNth(op, 1+l.rng.IntN(40), all, cause))
		}
		for range 60 {
			if err := l.step(); err != nil {
				if !errors.Is(err, cause) && !errors.Is(err, ErrFailed) {
					return fmt.Errorf("round %d: %v does not tell the cause", round, err)
				}
				if err := l.afterError(err); err != nil {
					return fmt.Errorf("round %d: %w", round, err)
				}
			}
		}
		l.fs.Inject(nil)
		if err := l.again(); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

// afterError holds the spool to what an error means: one that goes on working
// has done nothing of what it was asked, and one that has failed does nothing
// more.
func (l *life) afterError(cause error) error {
	if !errors.Is(cause, ErrFailed) {
		if l.s.torn { // it was written, and the device may have that without what followed
			l.refused = append(l.refused, l.flight...)
		}
		l.flight = nil
		l.claims = nil
		return nil
	}
	l.fs.Inject(nil)
	ctx := context.Background()
	m, _ := l.message()
	if _, err := l.s.Put(ctx, l.now, m); !errors.Is(err, ErrFailed) {
		return fmt.Errorf("Put after a failure = %v", err)
	}
	if _, err := l.s.Claim(ctx, l.now, queue.ClaimOptions{}); !errors.Is(err, ErrFailed) {
		return fmt.Errorf("Claim after a failure = %v", err)
	}
	return l.again()
}

// again ends the program, with or without the machine, and opens the spool.
func (l *life) again() error {
	if l.rng.IntN(2) == 0 {
		l.fs = l.fs.Restart()
		return l.reopen()
	}
	l.fs, l.refused = l.fs.Kill(), nil
	if err := l.open(); err != nil {
		return fmt.Errorf("open after a kill: %w", err)
	}
	if err := l.compare(); err != nil {
		return fmt.Errorf("after a kill: %w", err)
	}
	// What was opened is safe from now on, whatever the device did before.
	l.flight = nil
	l.fs = l.fs.Restart()
	if err := l.reopen(); err != nil {
		return fmt.Errorf("after a kill, an opening and a power cut: %w", err)
	}
	return nil
}
