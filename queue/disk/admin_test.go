package disk

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// TestNothingIsInUseAfterACall: no call leaves a segment in use, a delivery reserved or a
// destination being written about.
func TestNothingIsInUseAfterACall(t *testing.T) {
	for name, call := range calls(t) {
		s := varied(t, crashfs.New(1), 0)
		must(t, call(s)())
		if n := pins(s); n > 0 {
			t.Errorf("%s leaves %d segments in use", name, n)
		}
		if len(s.reserved) > 0 || len(s.passing) > 0 || len(s.flushes) > 0 {
			t.Errorf("%s leaves %d deliveries reserved, %d destinations being written about and %d flushes under way",
				name, len(s.reserved), len(s.passing), len(s.flushes))
		}
	}
}

// changes are the calls that change a message.
func changes() map[string]func(context.Context, *Spool, string) error {
	now := time.Unix(1e9, 0)
	return map[string]func(context.Context, *Spool, string) error{
		"Hold":    func(ctx context.Context, s *Spool, id string) error { return s.Hold(ctx, id) },
		"Release": func(ctx context.Context, s *Spool, id string) error { return s.Release(ctx, id) },
		"HoldUntil": func(ctx context.Context, s *Spool, id string) error {
			return s.HoldUntil(ctx, now, id, queue.Terms{Until: now.Add(time.Hour)})
		},
		"Drop": func(ctx context.Context, s *Spool, id string) error { return s.Drop(ctx, id) },
	}
}

// besideAnother has a call wait for a delivery that another call has reserved, do something
// meanwhile, and get its turn.
func besideAnother(t *testing.T, s *Spool, slot index.Slot, call, meanwhile func()) {
	t.Helper()
	s.mu.Lock()
	s.reserved.take(slot)
	s.mu.Unlock()
	var group sync.WaitGroup
	group.Go(call)
	for waits := false; !waits; runtime.Gosched() {
		s.mu.Lock()
		waits = s.reserved[slot] != nil
		s.mu.Unlock()
	}
	meanwhile()
	s.release([]index.Slot{slot})
	group.Wait()
}

// TestChangeOfAMessageThatLeaves has deliveries of a message end while a call waits to
// change it: what is left is changed, and if nothing is, the call answers that.
func TestChangeOfAMessageThatLeaves(t *testing.T) {
	ctx := context.Background()
	for name, change := range changes() {
		for _, left := range []int{0, 1, 2} {
			_, s := openSmall(t)
			id := putWide(t, s, 3)
			if name == "Release" {
				must(t, s.Hold(ctx, id))
			}
			number, _ := parseID(id)
			slots := s.slots(number)
			var err error
			besideAnother(t, s, slots[0], func() { err = change(ctx, s, id) }, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, slot := range slots[left:] {
					s.index.Remove(slot)
				}
			})
			if errors.Is(err, queue.ErrNotFound) != (left == 0) || err != nil && left > 0 {
				t.Errorf("%s of a message of which %d of 3 deliveries are left = %v", name, left, err)
			}
			n := 0
			for _, slot := range s.slots(number) {
				if s.isHeld(slot) == (name != "Release") {
					n++
				}
			}
			if want := map[bool]int{false: left}[name == "Drop"]; n != want || s.index.Len() != want {
				t.Errorf("%s of a message of which %d of 3 deliveries are left: %d of %d are so, want %d", name, left, n, s.index.Len(), want)
			}
		}
	}
}

// TestChangeThatIsCutOff has a call wait for its turn with a message, and be cut off: it
// changes nothing, and says so.
func TestChangeThatIsCutOff(t *testing.T) {
	for name, change := range changes() {
		_, s := openSmall(t)
		id := mustPut(t, s)
		if name == "Release" {
			must(t, s.Hold(t.Context(), id))
		}
		number, _ := parseID(id)
		slot := s.slots(number)[0]
		ctx, cancel := context.WithCancel(t.Context())
		before := s.isHeld(slot)
		done := make(chan error, 1)
		besideAnother(t, s, slot, func() { done <- change(ctx, s, id) }, func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("%s = %v, want that it was cut off", name, err)
			}
		})
		if !s.index.Is(slot, number) || s.isHeld(slot) != before || len(s.reserved) > 0 {
			t.Errorf("%s was cut off; the message is there: %v, on hold: %v, and %d are reserved", name, s.index.Is(slot, number), s.isHeld(slot), len(s.reserved))
		}
	}
}

// TestPostponementsAreWithoutTheProcess postpones until a time that the process knows by
// its own clock, too: it counts as a time of day alone, as after a restart.
func TestPostponementsAreWithoutTheProcess(t *testing.T) {
	ctx, now := context.Background(), time.Now()
	_, s := openSmall(t)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
	until, _ := s.index.Postponed("slow.example")
	if want := now.Add(time.Hour).Round(0); until != want {
		t.Errorf("it is postponed until %v, want %v", until, want)
	}
}
