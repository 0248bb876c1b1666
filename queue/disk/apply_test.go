package disk

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestNobodyIsWokenBeforeTheIndexHasIt writes a group that is in the index after several
// holds of the lock: who waits for it is not told in between.
func TestNobodyIsWokenBeforeTheIndexHasIt(t *testing.T) {
	for _, durable := range []bool{false, true} {
		_, s := openSmall(t)
		mustPut(t, s)
		tk := plainTicket(ending)
		tk.durable, tk.frames = durable, nil
		applied := 0
		for range 3 * holdMax {
			tk.join(&ticket{frames: plainTicket(ending).frames, apply: func(*hold, *segment, []uint32) { applied++ }})
		}
		tk.apply = func(*hold, *segment, []uint32) {}
		s.line.enqueue(tk)
		between := 0
		s.mu.watch = stateWatch(func() {
			if applied == 0 || applied == 3*holdMax {
				return
			}
			between++
			done := tk.batch.written
			if durable {
				done = tk.batch.done
			}
			select {
			case <-done:
				t.Errorf("durable %v: the caller is told when %d of %d records are in the index", durable, applied, 3*holdMax)
			default:
			}
		})
		must(t, s.wait(tk))
		s.mu.watch = nil
		if between < 2 || applied != 3*holdMax {
			t.Errorf("durable %v: others had their turn %d times, and %d records are in the index", durable, between, applied)
		}
	}
}

// TestWhatNeedNotBeSavedIsAnsweredBeforeTheSync has a settlement be written together with
// a message: it does not wait until the device has saved that.
func TestWhatNeedNotBeSavedIsAnsweredBeforeTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, s := openSmall(t)
		mustPut(t, s)
		fs.Meanwhile(func() { time.Sleep(time.Second) })
		began := time.Now()
		quick, slow := plainTicket(ending), plainTicket(growing)
		quick.durable = false
		s.line.enqueue(slow)
		s.line.enqueue(quick)
		var group sync.WaitGroup
		group.Go(func() {
			must(t, s.wait(slow))
			if took := time.Since(began); took != time.Second {
				t.Errorf("what is to be saved took %v", took)
			}
		})
		synctest.Wait()
		must(t, s.wait(quick))
		if took := time.Since(began); took != 0 {
			t.Errorf("what need not be saved took %v", took)
		}
		group.Wait()
	})
}

// TestMaintenanceRunsByItself has mail come and go, and nobody call for maintenance: the
// log does not grow.
func TestMaintenanceRunsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New(1)
		s, err := open(fs, small())
		must(t, err)
		for range 200 {
			_, err := putSize(s, "a.example", 2000)
			must(t, err)
			deliverAll(t, s)
			synctest.Wait()
		}
		if n := segmentFiles(t, fs); n > 8 {
			t.Errorf("there are %d segments of a log in which nearly nothing is needed", n)
		}
		must(t, s.Close())
	})
}

// TestUnsavedIsSavedEarlyWhereRoomIsShort writes much that nobody waits to be saved. If
// room is short it is saved now and then, since there may turn out to be none for it; else
// it is not.
func TestUnsavedIsSavedEarlyWhereRoomIsShort(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, short := range []bool{false, true} {
		fs, s := openSmall(t)
		mustPut(t, s)
		s.short.Store(short)
		syncs, written := 0, int64(0)
		fs.Inject(func(op crashfs.Op, name string) error {
			if op == crashfs.OpSync {
				syncs++
			}
			return nil
		})
		for range 400 {
			before := s.current.size
			must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour), Reason: strings.Repeat("x", 200)}))
			written += s.current.size - before
			if unsaved := s.current.size - int64(s.current.saved); short && unsaved > minRoom+4*sectorSize {
				t.Fatalf("%d bytes are not saved", unsaved)
			}
		}
		if most := int(written / minRoom); short && (syncs < 2 || syncs > most) || !short && syncs > 0 {
			t.Errorf("room is short: %v, and %d bytes were saved %d times", short, written, syncs)
		}
	}
}

// TestWaitingForMail has records written that make no mail due: who waits for mail is
// not told of them, but of what is written together with them.
func TestWaitingForMail(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	mustPut(t, s)
	seen := s.changes.Count()
	deliverAll(t, s)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
	must(t, s.save())
	if n := s.changes.Count(); n != seen {
		t.Errorf("a delivery and a postponement count as %d changes", n-seen)
	}
	change, other := plainTicket(working), plainTicket(working)
	change.changes = true
	for _, err := range together(s, change, other) {
		must(t, err)
	}
	if n := s.changes.Count(); n != seen+1 {
		t.Errorf("a change and what is written behind it count as %d changes, want 1", n-seen)
	}
}

// TestRecordsAreWrittenAgainOnce has no room for a batch, which shows when it is saved,
// and then some: what was answered before and what waits are written again, each once.
func TestRecordsAreWrittenAgainOnce(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	from := s.current.size
	failed := false
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && strings.HasPrefix(name, segmentPrefix) && !failed {
			failed = true
			return syscall.ENOSPC
		}
		return nil
	})
	var list []*ticket
	for i := range 4 {
		list = append(list, plainTicket(ending))
		list[i].durable = i%2 == 0
	}
	for _, err := range together(s, list...) {
		must(t, err)
	}
	if !failed || s.torn {
		t.Fatalf("the sync failed: %v, and the end of the log is in pieces: %v", failed, s.torn)
	}
	n := 0
	groups := s.current.groups(from)
	for groups.Next() {
		for _, f := range groups.Frames() {
			if f.Kind == record.KindSaved {
				n++
			}
		}
	}
	if n != len(list) {
		t.Errorf("%d records are in the log, want %d", n, len(list))
	}
}

// TestWhatIsRefusedTakesNoRoom has a large message refused, beside a small record for
// which some of the reserve must be given up: not as much as the message would have
// taken.
func TestWhatIsRefusedTakesNoRoom(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	const large, reserve = 1 << 20, 4 << 20
	must(t, s.spare.file.Allocate(reserve))
	s.spare.size = reserve
	s.mu.Lock()
	_, _, _, all := s.roomNeeded()
	s.mu.Unlock()
	must(t, s.spare.file.Truncate(all))
	s.spare.size = all
	tries := 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpWrite && strings.HasPrefix(name, segmentPrefix) {
			if tries++; tries <= 2 { // with the message, and without
				return syscall.ENOSPC
			}
		}
		return nil
	})
	long, end := plainTicket(growing), plainTicket(ending)
	long.frames[0].Body = make([]byte, large)
	long.frames[0].BodySum = record.Sum(long.frames[0].Body)
	errs := together(s, long, end)
	if !errors.Is(errs[0], queue.ErrFull) || errs[1] != nil {
		t.Fatalf("the message: %v, the end: %v", errs[0], errs[1])
	}
	if given, most := all-s.spare.size, max(2*minRoom, all/8); given == 0 || given > most {
		t.Errorf("%d bytes of the reserve of %d were given up, want at most %d", given, all, most)
	}
}

// TestRefusedForItsOwnReason has no room for what grows, and then the device fail for the
// rest: who was refused for want of room is told so.
func TestRefusedForItsOwnReason(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	must(t, s.spare.file.Truncate(0))
	s.spare.size = 0
	odd := errors.New("odd")
	fs.Inject(func(op crashfs.Op, name string) error {
		switch {
		case op == crashfs.OpWrite && name == reserveName:
			return syscall.ENOSPC
		case op == crashfs.OpWrite:
			return odd
		}
		return nil
	})
	errs := together(s, plainTicket(growing), plainTicket(working))
	if !errors.Is(errs[0], queue.ErrFull) || errors.Is(errs[0], odd) || !errors.Is(errs[1], odd) {
		t.Errorf("what grows: %v, want ErrFull; the rest: %v, want the error of the device", errs[0], errs[1])
	}
}
