package disk

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// halfEmpty is a spool with segments of eight messages each, of which so many are left.
func halfEmpty(t *testing.T, left ...int) (*crashfs.FS, *Spool) {
	t.Helper()
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	var drop []string
	for _, stay := range left {
		s.rollNow = true
		for i := range 8 {
			id, err := putSize(s, fmt.Sprintf("d%d.example", i), 1000)
			must(t, err)
			if i >= stay {
				drop = append(drop, id)
			}
		}
	}
	s.rollNow = true
	for _, id := range drop {
		must(t, s.Drop(ctx, id))
	}
	return fs, s
}

// TestMaintenanceBesideAFileThatCannotBeOpened has a file of the log that cannot be opened,
// for as long as it pleases, and is the first to be given up: what is useless of the others
// is given up all the same, and a checkpoint is taken.
func TestMaintenanceBesideAFileThatCannotBeOpened(t *testing.T) {
	ctx := context.Background()
	fs, s := halfEmpty(t, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2)
	name := fileName(segmentPrefix, 1)
	must(t, s.save())
	fs = fs.Kill()
	o := small()
	o.OpenSegments = MinOpenSegments
	s, err := openByHand(fs, o)
	must(t, err)
	for i := range 8 { // so that other files are open
		s.rollNow = true
		_, err := putSize(s, fmt.Sprintf("e%d.example", i), 10)
		must(t, err)
	}
	fs.Inject(func(op crashfs.Op, n string) error {
		if n == name && (op == crashfs.OpOpen || op == crashfs.OpRead) {
			return syscall.EACCES
		}
		return nil
	})
	s.sinceCheckpoint = 1 << 30
	before := s.nextCheckpoint
	if err := s.maintain(ctx); !errors.Is(err, syscall.EACCES) {
		t.Errorf("maintenance = %v, want EACCES", err)
	}
	stay := 0
	for number := range uint64(12) {
		if s.segments.byNumber[number+1] != nil {
			stay++
		}
	}
	if s.segments.byNumber[1] == nil || stay > 9 {
		t.Errorf("%d of 12 segments are in use still, the first: %v", stay, s.segments.byNumber[1] != nil)
	}
	if s.nextCheckpoint == before {
		t.Error("no checkpoint was taken")
	}
	fs.Inject(nil)
	must(t, s.maintainFor(ctx, anyLive))
	if s.segments.byNumber[1] != nil {
		t.Error("segment 1 is in use when it can be opened again")
	}
	if total, err := s.Total(ctx); err != nil || total.Messages != 1+2*11+8 {
		t.Errorf("%d messages are left, %v", total.Messages, err)
	}
	must(t, s.Close())
}

// TestMaintenanceThatIsStopped stops maintenance while it moves the first of many segments:
// it ends there.
func TestMaintenanceThatIsStopped(t *testing.T) {
	fs, s := halfEmpty(t, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	before := len(s.segments.byNumber)
	ctx, cancel := context.WithCancel(context.Background())
	fs.Inject(func(op crashfs.Op, _ string) error {
		if op == crashfs.OpWrite {
			cancel()
		}
		return nil
	})
	if err := s.maintain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("maintenance = %v, want Canceled", err)
	}
	if n := before - len(s.segments.byNumber); n > 1 {
		t.Errorf("%d segments were given up after the end", n)
	}
	fs.Inject(nil)
	must(t, s.maintain(context.Background()))
	if n := len(s.segments.byNumber); n > before/2 {
		t.Errorf("%d segments of %d are in use after the next one", n, before)
	}
	must(t, s.Close())
}

// TestMaintenanceOneAfterTheOther has others ask for maintenance while one is under way:
// they wait, or until their context ends.
func TestMaintenanceOneAfterTheOther(t *testing.T) {
	_, s := halfEmpty(t, 1)
	s.maintenance <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := s.maintain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("maintenance beside another = %v, want DeadlineExceeded", err)
	}
	<-s.maintenance
	must(t, s.maintain(context.Background()))
	must(t, s.Close())
}
