package disk

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestHoldIsSaved holds and releases messages, each before a power cut: what was answered
// is so, with its terms.
func TestHoldIsSaved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0).UTC()
	fs, s := openSmall(t)
	id := mustPut(t, s)
	until := now.Add(time.Hour)
	for what, c := range map[string]struct {
		call func(s *Spool) error
		held bool
		on   queue.Terms
	}{
		"Hold":      {func(s *Spool) error { return s.Hold(ctx, id) }, true, queue.Terms{}},
		"HoldUntil": {func(s *Spool) error { return s.HoldUntil(ctx, now, id, queue.Terms{Until: until, Reason: "why"}) }, true, queue.Terms{Since: now, Until: until, Reason: "why"}},
		"Release":   {func(s *Spool) error { return errors.Join(s.Hold(ctx, id), s.Release(ctx, id)) }, false, queue.Terms{}},
	} {
		cut := fs.Copy()
		again, err := openByHand(cut, Options{})
		must(t, err)
		must(t, c.call(again))
		for _, when := range []string{"before", "after"} {
			e, err := again.Show(ctx, id)
			must(t, err)
			if e.Held != c.held || e.Hold != c.on {
				t.Errorf("%s, %s a power cut: on hold %v, %v, want %v, %v", what, when, e.Held, e.Hold, c.held, c.on)
			}
			again, err = openByHand(cut.Restart(), Options{})
			must(t, err)
		}
	}
}

// TestHoldOfWhatCannotBeRead holds and releases a message whose record is damaged: it is
// on hold as long as the process lives, because there is nothing that could be written
// again. If it cannot be read at all, that is answered, and nothing changes.
func TestHoldOfWhatCannotBeRead(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, cause := range []error{nil, syscall.EIO, errors.New("odd")} {
		fs, s := openSmall(t)
		id := mustPut(t, s)
		number, _ := parseID(id)
		slot := s.slots(number)[0]
		name, from := find(t, fs, number, record.KindDelivery)
		s.rollNow = true
		mustPut(t, s)
		switch cause {
		case nil:
			fs.Flip(name, from+record.FrameSize+1, 1)
		case syscall.EIO:
			fs.Spoil(name, from, from+1)
		default:
			closeIdle(s)
			fs.Inject(func(op crashfs.Op, _ string) error {
				if op == crashfs.OpOpen {
					return cause
				}
				return nil
			})
		}
		size := s.current.size
		for _, held := range []bool{true, false} {
			err := s.setHeld(ctx, id, held, queue.Terms{})
			if held {
				err = errors.Join(err, s.HoldUntil(ctx, now, id, queue.Terms{Until: now.Add(time.Hour)}))
			}
			if !errors.Is(err, cause) || cause == nil && err != nil {
				t.Errorf("its record cannot be read, %v: to set that it is on hold %v = %v", cause, held, err)
			}
			if want := held && cause == nil; s.isHeld(slot) != want || (s.holdEnds.Len() > 0) != want {
				t.Errorf("its record cannot be read, %v: it is on hold %v, and %d holds are to end", cause, s.isHeld(slot), s.holdEnds.Len())
			}
		}
		if s.current.size != size {
			t.Errorf("its record cannot be read, %v, and %d bytes were written", cause, s.current.size-size)
		}
		if n := pins(s); n > 0 {
			t.Errorf("%d segments are in use", n)
		}
	}
}

// TestHoldOnceMore sets what is so already: nothing is written of it, and who waits for
// mail is told only of what comes free.
func TestHoldOnceMore(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	id := mustPut(t, s)
	until := func(hours int) func() error {
		return func() error {
			return s.HoldUntil(ctx, now, id, queue.Terms{Until: now.Add(time.Duration(hours) * time.Hour)})
		}
	}
	hold, release := func() error { return s.Hold(ctx, id) }, func() error { return s.Release(ctx, id) }
	over := func() error { return s.endHolds(ctx, now.Add(time.Hour)) } // which its record does not say
	for i, c := range []struct {
		call  func() error
		wrote bool
		free  bool
	}{
		{release, false, false}, {hold, true, false}, {hold, false, false}, {until(1), true, false}, {until(1), false, false},
		{until(2), true, false}, {hold, true, false}, {release, true, true}, {release, false, false}, {until(1), true, false}, {release, true, true},
		{until(1), true, false}, {over, false, false}, {release, true, false},
	} {
		size, seen := s.current.size, s.changes.Count()
		must(t, c.call())
		if wrote := s.current.size > size; wrote != c.wrote {
			t.Errorf("call %d: it was written: %v", i, wrote)
		}
		if free := s.changes.Count() > seen; free != c.free {
			t.Errorf("call %d: it is told that mail came free: %v", i, free)
		}
	}
}

// TestHoldOfWhatIsBeingDelivered holds mail that is claimed: when it is deferred it is on
// hold still, with its terms.
func TestHoldOfWhatIsBeingDelivered(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	id := mustPut(t, s)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{})
	must(t, err)
	on := queue.Terms{Until: now.Add(time.Hour), Reason: "why"}
	must(t, s.HoldUntil(ctx, now, id, on))
	_, err = s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Deferred}}}})
	must(t, err)
	must(t, s.save())
	for range 2 {
		e, err := s.Show(ctx, id)
		must(t, err)
		if !e.Held || e.Hold.Reason != on.Reason || !e.Hold.Until.Equal(on.Until) {
			t.Errorf("on hold %v, %v, want %v", e.Held, e.Hold, on)
		}
		s, err = openByHand(fs.Restart(), Options{})
		must(t, err)
	}
}

// TestHoldThatIsOverAndChangedMeanwhile has a claim wait to end a hold whose time has come,
// because another call has a delivery of the message, and that call change the hold, or a
// delivery leave whose place in memory another one takes, which is on hold: only what
// is over ends.
func TestHoldThatIsOverAndChangedMeanwhile(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	later := now.Add(10 * time.Hour)
	for name, c := range map[string]struct {
		meanwhile func(s *Spool, number uint64, slots []index.Slot)
		claimed   int
		ends      int // still to come
	}{
		"nothing happens": {func(*Spool, uint64, []index.Slot) {}, 2, 0},
		"it is held anew": {func(s *Spool, number uint64, _ []index.Slot) { s.holdEnds.set(number, later) }, 0, 1},
		"it ends no more": {func(s *Spool, number uint64, _ []index.Slot) { s.holdEnds.Delete(number) }, 0, 0},
		"a delivery leaves": {func(s *Spool, _ uint64, slots []index.Slot) {
			e := s.index.Get(slots[0])
			s.index.Remove(slots[0])
			e.Message, e.Flags = 1<<40, index.Held
			s.index.Add([]index.Entry{e})
		}, 1, 0},
	} {
		_, s := openSmall(t)
		id := putWide(t, s, 2)
		number, _ := parseID(id)
		must(t, s.HoldUntil(ctx, now, id, queue.Terms{Until: now.Add(time.Hour)}))
		slots := s.slots(number)
		var found queue.Claimed
		besideAnother(t, s, slots[0], func() {
			var err error
			if found, err = s.Claim(ctx, now.Add(2*time.Hour), queue.ClaimOptions{}); err != nil {
				t.Error(err)
			}
		}, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			c.meanwhile(s, number, slots)
		})
		if n := len(found.Deliveries) + len(found.Unreadable); n != c.claimed || s.holdEnds.Len() != c.ends {
			t.Errorf("%s: %d deliveries are claimed, want %d, and %d holds are to end, want %d", name, n, c.claimed, s.holdEnds.Len(), c.ends)
		}
	}
}
