package disk

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestMarkOfASlotThatIsAnothersNow marks a delivery that was dropped, and whose
// place in memory is another message's, claimed and on hold: nothing is recorded of
// that one.
func TestMarkOfASlotThatIsAnothersNow(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	once := textMessage("once")
	once.Guarantee = queue.AtMostOnce
	id, err := s.Put(ctx, now, once)
	must(t, err)
	first, err := s.Claim(ctx, now, queue.ClaimOptions{})
	must(t, err)
	number, _ := parseID(id)
	slot := s.slots(number)[0]
	must(t, s.Drop(ctx, id))
	second, err := s.Put(ctx, now, once)
	must(t, err)
	if number, _ := parseID(second); !s.index.Is(slot, number) {
		t.Fatal("the slot was not used again")
	}
	if _, err = s.Claim(ctx, now, queue.ClaimOptions{}); err != nil {
		t.Fatal(err)
	}
	must(t, s.Hold(ctx, second))
	if err := s.Mark(ctx, []queue.Lease{first.Deliveries[0].Lease}); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("Mark of what was dropped = %v, want ErrLeaseLost", err)
	}
	for range 2 {
		e, err := s.Show(ctx, second)
		must(t, err)
		if number, _ := parseID(second); !e.Held || s.index.Get(s.slots(number)[0]).Flags&index.Marked != 0 {
			t.Errorf("the other message: on hold %v", e.Held)
		}
		must(t, s.Close())
		s, err = openByHand(fs, Options{})
		must(t, err)
	}
}

// TestClaimBesideMark has a delivery that may be sent at most once claimed again, its
// lease having ended, while the one who had it marks it. Only one of the two may send:
// where Mark answers that all is well, the other is told that the delivery was marked.
func TestClaimBesideMark(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, take := range []bool{false, true} {
		fs, s := openSmall(t)
		once := textMessage("once")
		once.Guarantee = queue.AtMostOnce
		id, err := s.Put(ctx, now, once)
		must(t, err)
		first, err := s.Claim(ctx, now, queue.ClaimOptions{Lease: time.Minute})
		must(t, err)
		lease := first.Deliveries[0].Lease
		later := now.Add(time.Hour)
		var again []queue.Delivery
		var claim sync.WaitGroup
		fs.Meanwhile(func() { // the mark is being saved
			claim.Go(func() {
				if take {
					c, err := s.Take(ctx, later, id, time.Minute)
					must(t, err)
					again = c.Deliveries
					return
				}
				c, err := s.Claim(ctx, later, queue.ClaimOptions{})
				must(t, err)
				again = c.Deliveries
			})
			for leased := false; !leased; runtime.Gosched() {
				s.mu.Lock()
				_, holds := s.slotOf(&lease)
				leased = !holds
				s.mu.Unlock()
			}
			for range 1000 { // time to read the delivery, for who does not wait
				runtime.Gosched()
			}
		})
		err = s.Mark(ctx, []queue.Lease{lease})
		fs.Meanwhile(nil)
		claim.Wait()
		if len(again) != 1 {
			t.Fatalf("the other got %d deliveries", len(again))
		}
		if err == nil && !again[0].Interrupted {
			t.Errorf("taken %v: two are told that they may send it", take)
		}
		if len(s.marking) > 0 {
			t.Errorf("%d deliveries are still being marked", len(s.marking))
		}
		must(t, s.Close())
	}
}

// claimedOnce is a spool with a message that may be sent at most once, which is claimed
// for a minute.
func claimedOnce(t *testing.T) (fs *crashfs.FS, s *Spool, lease queue.Lease, slot index.Slot) {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s = openSmall(t)
	once := textMessage("once")
	once.Guarantee = queue.AtMostOnce
	id, err := s.Put(ctx, now, once)
	must(t, err)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Lease: time.Minute})
	must(t, err)
	number, _ := parseID(id)
	return fs, s, c.Deliveries[0].Lease, s.slots(number)[0]
}

// isMarked reports whether a delivery is marked, before and after a power cut.
func isMarked(t *testing.T, fs *crashfs.FS, s *Spool, slot index.Slot) (is, then bool) {
	t.Helper()
	number := s.index.Get(slot).Message
	again, err := openByHand(fs.Copy().Restart(), Options{})
	must(t, err)
	is = s.index.Get(slot).Flags&index.Marked != 0
	for _, slot := range again.slots(number) { // none if its record is damaged
		then = again.index.Get(slot).Flags&index.Marked != 0
	}
	return is, then
}

// TestMarkWaitsForItsTurn has a delivery being changed by another call while it is marked.
// What has become of it meanwhile counts.
func TestMarkWaitsForItsTurn(t *testing.T) {
	now := time.Unix(1e9, 0)
	for what, c := range map[string]struct {
		meanwhile func(s *Spool, lease *queue.Lease, cancel func())
		err       error
		marked    bool
	}{
		"nothing happens":     {func(*Spool, *queue.Lease, func()) {}, nil, true},
		"the caller gives up": {func(_ *Spool, _ *queue.Lease, cancel func()) { cancel() }, context.Canceled, false},
		"the lease ends and another has it": {func(s *Spool, lease *queue.Lease, _ func()) {
			taken, err := s.Take(context.Background(), now.Add(time.Hour), lease.Message, time.Minute)
			must(t, err)
			if len(taken.Deliveries) != 1 {
				t.Errorf("%d deliveries are taken", len(taken.Deliveries))
			}
		}, queue.ErrLeaseLost, false},
	} {
		fs, s, lease, slot := claimedOnce(t)
		ctx, cancel := context.WithCancel(context.Background())
		s.reserved.take(slot)
		ended := make(chan error)
		go func() { ended <- s.Mark(ctx, []queue.Lease{lease}) }()
		for waits := false; !waits; runtime.Gosched() {
			s.mu.Lock()
			waits = s.reserved[slot] != nil
			s.mu.Unlock()
		}
		c.meanwhile(s, &lease, cancel)
		if c.err != context.Canceled {
			s.release([]index.Slot{slot})
		}
		if err := <-ended; !errors.Is(err, c.err) {
			t.Errorf("%s: Mark = %v, want %v", what, err, c.err)
		}
		cancel()
		if is, then := isMarked(t, fs, s, slot); is != c.marked || then != c.marked {
			t.Errorf("%s: it is marked: %v, after a power cut %v, want %v", what, is, then, c.marked)
		}
		if len(s.marking) > 0 {
			t.Errorf("%s: %d deliveries are still being marked", what, len(s.marking))
		}
	}
}

// TestMarkOfWhatWasMoved marks a delivery that was claimed. If its record was moved since,
// it is read once more, and nothing is marked if it cannot be; else it need not be read.
func TestMarkOfWhatWasMoved(t *testing.T) {
	for what, c := range map[string]struct{ moved, damaged bool }{
		"as it was": {}, "moved": {moved: true}, "damaged": {damaged: true}, "moved and damaged": {moved: true, damaged: true},
	} {
		fs, s, lease, slot := claimedOnce(t)
		if c.moved {
			s.index.Note(slot, nil)
		}
		if c.damaged {
			flipper(t, fs, s, lease.Message, record.KindDelivery)()
		}
		fails := c.moved && c.damaged
		if err := s.Mark(context.Background(), []queue.Lease{lease}); errors.Is(err, queue.ErrDamaged) != fails || !fails && err != nil {
			t.Errorf("%s: Mark = %v", what, err)
		}
		if is, then := isMarked(t, fs, s, slot); is == fails || then == fails {
			t.Errorf("%s: it is marked: %v, after a power cut %v", what, is, then)
		}
		if n := pins(s); n > 0 {
			t.Errorf("%s: %d segments are kept open", what, n)
		}
	}
}

// TestMarkSaysNothingElse marks a delivery, once or with its lease named many times, after
// it was put on hold and made due at once: that stays as it is, and one record is written.
func TestMarkSaysNothingElse(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	var sizes []int64
	for _, named := range []int{1, 100} {
		fs, s, lease, slot := claimedOnce(t)
		must(t, s.Hold(ctx, lease.Message))
		must(t, s.save())
		before := s.current.size
		must(t, s.Mark(ctx, slices.Repeat([]queue.Lease{lease}, named)))
		sizes = append(sizes, s.current.size-before)
		if is, then := isMarked(t, fs, s, slot); !is || !then {
			t.Errorf("it is marked: %v, after a power cut %v", is, then)
		}
		must(t, s.save())
		again, err := openByHand(fs.Copy().Restart(), Options{})
		must(t, err)
		for _, s := range []*Spool{s, again} {
			if e, err := s.Show(ctx, lease.Message); err != nil || !e.Held {
				t.Errorf("it is on hold: %v, %v", e.Held, err)
			}
			c, err := s.Claim(ctx, now.Add(time.Hour), queue.ClaimOptions{})
			must(t, err)
			if len(c.Deliveries) > 0 {
				t.Error("what is on hold is claimed")
			}
		}
	}
	if sizes[0] != sizes[1] {
		t.Errorf("the marks take %d bytes", sizes)
	}
}
