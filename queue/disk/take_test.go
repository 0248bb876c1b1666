package disk

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// inParts puts a message to three destinations.
func inParts(t *testing.T, s *Spool) (id string) {
	t.Helper()
	m := &queue.Message{Content: queue.String("text")}
	for _, to := range []string{"c", "a", "b"} {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: "x@" + to})
	}
	id, err := s.Put(t.Context(), time.Unix(1e9, 0), m)
	must(t, err)
	return id
}

// TestTakeOfSome takes deliveries of a message by name, and all, while some are leased and
// when no lease is left: in the order of their destinations.
func TestTakeOfSome(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	id := inParts(t, s)
	for _, c := range []struct {
		after time.Duration
		names []string
		want  string
	}{
		{0, []string{"b"}, "[b], 0 leased"},
		{0, []string{"c", "b", "other"}, "[c], 1 leased"},
		{time.Minute - 1, nil, "[a], 2 leased"},
		{time.Minute, nil, "[b c], 1 leased"},
		{time.Hour, nil, "[a b c], 0 leased"},
		{time.Hour, nil, "[], 3 leased"},
	} {
		taken, err := s.Take(ctx, now.Add(c.after), id, time.Minute, c.names...)
		names := []string{}
		for _, d := range taken.Deliveries {
			names = append(names, d.Lease.Destination)
		}
		if got := fmt.Sprintf("%v, %d leased", names, taken.Leased); err != nil || got != c.want {
			t.Errorf("Take of %v after %v: %s, %v, want %s", c.names, c.after, got, err, c.want)
		}
	}
	must(t, s.Drop(ctx, id))
	if _, err := s.Take(ctx, now, id, time.Minute); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("Take of a message that has gone = %v", err)
	}
}

// TestTakeThatCannotRead takes a message when there is no descriptor: it fails with that.
func TestTakeThatCannotRead(t *testing.T) {
	fs, s := openSmall(t)
	id := mustPut(t, s)
	s.rollNow = true
	mustPut(t, s)
	closeIdle(s)
	fs.Inject(func(op crashfs.Op, _ string) error {
		if op == crashfs.OpOpen {
			return syscall.EMFILE
		}
		return nil
	})
	if taken, err := s.Take(t.Context(), time.Unix(1e9, 0), id, time.Minute); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Take = %+v, %v", taken, err)
	}
}

// TestTakeOfWhatLeavesMeanwhile takes a message one delivery of which ends when all have
// been found: the others are taken.
func TestTakeOfWhatLeavesMeanwhile(t *testing.T) {
	_, s := openSmall(t)
	id := inParts(t, s)
	number, _ := parseID(id)
	left := false
	s.mu.watch = stateWatch(func() {
		if slots, _ := s.index.Slots(nil, number, 0, holdMax); !left {
			left = true
			s.index.Remove(slots[1])
		}
	})
	picks, leased, err := s.takeAll(time.Unix(1e9, 0), number, time.Minute, nil)
	if err != nil || len(picks) != 2 || leased != 0 || !left {
		t.Errorf("%d are taken, and %d leased: %v", len(picks), leased, err)
	}
}

// TestTurnsOfThoseWhoLeave has callers wait for a delivery, of whom the first and the middle
// one leave: the last has it next, and when it gives it up nobody has.
func TestTurnsOfThoseWhoLeave(t *testing.T) {
	turns := turns{}
	turns.take(1)
	first, middle, other, last := turns.wait(1), turns.wait(1), turns.wait(1), turns.wait(1)
	for _, w := range []*turn{other, middle, first} {
		if !turns.leave(1, w) {
			t.Error("one that waits cannot leave")
		}
	}
	turns.give(1)
	select {
	case <-last.given:
	default:
		t.Fatal("the last does not have it")
	}
	if turns.leave(1, last) {
		t.Error("one that has it leaves the line")
	}
	turns.give(1)
	if !turns.take(1) {
		t.Error("it is not free")
	}
}

// TestAcquireInOrder acquires deliveries that are named in another order: none that comes
// after one that is waited for, and the list stays as it was.
func TestAcquireInOrder(t *testing.T) {
	_, s := openSmall(t)
	must(t, s.acquire(t.Context(), []index.Slot{1}))
	list := []index.Slot{3, 2, 1}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.acquire(ctx, list) }()
	for waits := false; !waits; runtime.Gosched() {
		s.mu.Lock()
		waits = len(s.reserved) > 1 || s.reserved[1] != nil
		s.mu.Unlock()
	}
	s.mu.Lock()
	n := len(s.reserved)
	s.mu.Unlock()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("acquire = %v, while %d are reserved, want 1", err, n)
	}
	s.release([]index.Slot{1})
	must(t, s.acquire(t.Context(), list))
	if !slices.Equal(list, []index.Slot{3, 2, 1}) {
		t.Errorf("the list is %v", list)
	}
}

// TestAcquireCalledOffWhenItIsGiven has a call that waits for a delivery be called off at the
// moment when it is given it: nobody has it afterwards.
func TestAcquireCalledOffWhenItIsGiven(t *testing.T) {
	_, s := openSmall(t)
	calledOff := 0
	for range 40 { // either may count
		must(t, s.acquire(t.Context(), []index.Slot{1}))
		ctx, cancel := context.WithCancel(t.Context())
		s.mu.watch = stateWatch(func() {
			if s.reserved[1] != nil {
				s.reserved.give(1)
				cancel()
			}
		})
		err := s.acquire(ctx, []index.Slot{1})
		s.mu.watch = nil
		cancel()
		if err == nil {
			s.release([]index.Slot{1})
		} else {
			calledOff++
		}
		if len(s.reserved) > 0 {
			t.Fatalf("it is reserved still: %v", err)
		}
	}
	if calledOff == 0 {
		t.Error("no call was called off")
	}
}
