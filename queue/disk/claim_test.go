package disk

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// beforeItIsRead has a claim lease the only delivery of a spool, do something, and then
// read it.
func beforeItIsRead(t *testing.T, s *Spool, id string, claim func(), do func()) {
	t.Helper()
	number, _ := parseID(id)
	slot := s.slots(number)[0]
	m := &marking{done: make(chan struct{})} // a claim waits for that before it reads
	s.mu.Lock()
	s.marking[slot] = m
	_, before, _, _ := s.index.Leased(slot)
	s.mu.Unlock()
	var group sync.WaitGroup
	group.Go(claim)
	for leased := false; !leased; runtime.Gosched() {
		s.mu.Lock()
		_, until, _, is := s.index.Leased(slot)
		leased = is && !until.Equal(before)
		s.mu.Unlock()
	}
	do()
	s.mu.Lock()
	delete(s.marking, slot)
	s.mu.Unlock()
	close(m.done)
	group.Wait()
}

// TestClaimOfWhatIsGoneMeanwhile has a delivery that a claim has leased leave before it
// is read, or be leased by another claim after the end of the lease: the first claim
// returns nothing of it.
func TestClaimOfWhatIsGoneMeanwhile(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	claim := func(t *testing.T, s *Spool, now time.Time, found *queue.Claimed) func() {
		return func() {
			var err error
			*found, err = s.Claim(ctx, now, queue.ClaimOptions{Lease: time.Minute})
			if err != nil {
				t.Error(err)
			}
		}
	}
	for name, leave := range map[string]func(t *testing.T, s *Spool, id string) int{
		"dropped": func(t *testing.T, s *Spool, id string) int { must(t, s.Drop(ctx, id)); return 0 },
		"taken": func(t *testing.T, s *Spool, id string) int {
			number, _ := parseID(id)
			picks, _, err := s.takeAll(now.Add(time.Hour), number, time.Minute, nil)
			must(t, err)
			return len(picks)
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := openSmall(t)
			id := mustPut(t, s)
			var found queue.Claimed
			taken := 0
			beforeItIsRead(t, s, id, claim(t, s, now, &found), func() { taken = leave(t, s, id) })
			if len(found.Deliveries)+len(found.Unreadable) > 0 {
				t.Errorf("the claim returned %v and %v, and %d are another's", found.Deliveries, found.Unreadable, taken)
			}
		})
	}
}

// TestClaimTellsWhenTheNextIsDue has a hold end before or after the next delivery is due.
func TestClaimTellsWhenTheNextIsDue(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, c := range []struct{ due, hold, want int }{{1, 2, 1}, {2, 1, 1}, {0, 1, 1}, {1, 0, 1}} {
		_, s := openSmall(t)
		if c.due > 0 {
			later := textMessage("later")
			later.NotBefore = now.Add(time.Duration(c.due) * time.Hour)
			_, err := s.Put(ctx, now, later)
			must(t, err)
		}
		if c.hold > 0 {
			must(t, s.HoldUntil(ctx, now, mustPut(t, s), queue.Terms{Until: now.Add(time.Duration(c.hold) * time.Hour)}))
		}
		found, err := s.Claim(ctx, now, queue.ClaimOptions{})
		must(t, err)
		if want := now.Add(time.Duration(c.want) * time.Hour); !found.Next.Equal(want) || len(found.Deliveries) > 0 {
			t.Errorf("with mail due in %d hours and a hold that ends in %d the next is due at %v, want %v", c.due, c.hold, found.Next.UTC(), want.UTC())
		}
	}
}

// TestClaimThatCanReadSome claims deliveries of which some can be read, some are damaged
// and for some there is no descriptor. Those are due again at once, and the claim fails
// only if they are all there are.
func TestClaimThatCanReadSome(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, c := range []struct{ sound, damaged, exhausted int }{
		{1, 0, 1}, {0, 1, 1}, {1, 1, 1}, {2, 1, 1}, {0, 0, 2}, {1, 1, 0},
	} {
		t.Run(fmt.Sprintf("%d sound, %d damaged, %d without a descriptor", c.sound, c.damaged, c.exhausted), func(t *testing.T) {
			fs, s := openSmall(t)
			var without []string
			for i := range c.sound + c.damaged + c.exhausted {
				segmentsOfOne(t, s, 1)
				switch {
				case i < c.sound:
				case i < c.sound+c.damaged:
					fs.Flip(s.current.file.name, s.current.size-sectorSize+record.FrameSize, 1)
				default:
					without = append(without, s.current.file.name)
				}
			}
			s.rollNow = true
			must(t, s.Hold(ctx, mustPut(t, s)))
			closeIdle(s)
			fs.Inject(func(op crashfs.Op, name string) error {
				if op == crashfs.OpOpen && slices.Contains(without, name) {
					return syscall.EMFILE
				}
				return nil
			})
			found, err := s.Claim(ctx, now, queue.ClaimOptions{})
			fs.Inject(nil)
			if none := c.sound+c.damaged == 0; errors.Is(err, syscall.EMFILE) != none || err != nil != none {
				t.Errorf("Claim = %v", err)
			}
			if len(found.Deliveries) != c.sound || len(found.Unreadable) != c.damaged {
				t.Errorf("%d are read and %d unreadable, want %d and %d", len(found.Deliveries), len(found.Unreadable), c.sound, c.damaged)
			}
			if err == nil && found.Next.Equal(now) != (c.exhausted > 0) {
				t.Errorf("the next is due at %v", found.Next)
			}
			again, err := s.Claim(ctx, now, queue.ClaimOptions{})
			if err != nil || len(again.Deliveries) != c.exhausted {
				t.Errorf("with descriptors %d are claimed, %v; want %d", len(again.Deliveries), err, c.exhausted)
			}
		})
	}
}

// closeIdle closes the files of the log that are not in use.
func closeIdle(s *Spool) {
	for {
		s.files.mu.Lock()
		f := s.files.giveUp()
		s.files.mu.Unlock()
		if f == nil {
			return
		}
		_ = s.files.close(f)
	}
}

// TestClaimOfWhatIsToBeWrittenAgain claims what was answered and could not be saved for
// want of room. While there is none the claim fails, and names nothing as unreadable. If
// the device fails for good, the claim says so.
func TestClaimOfWhatIsToBeWrittenAgain(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, fails := range []error{nil, syscall.EIO} {
		fs, s := openSmall(t)
		mustPut(t, s)
		must(t, settleOne(s, queue.Deferred, nil))
		must(t, s.spare.file.Truncate(0))
		s.spare.size = 0
		fs.SetDevice(crashfs.Device{Room: fs.Used() - 1, AtSync: true})
		long := plainTicket(ending)
		if err := together(s, long)[0]; !errors.Is(err, queue.ErrFull) || !s.torn {
			t.Fatalf("what there is no room for: %v, and the end of the log is in pieces: %v", err, s.torn)
		}
		if fails != nil {
			fs.Inject(crashfs.FailNth(crashfs.OpSync, 1, true, fails))
		}
		found, err := s.Claim(ctx, now, queue.ClaimOptions{})
		if want := map[bool]error{false: queue.ErrFull, true: ErrFailed}[fails != nil]; !errors.Is(err, want) {
			t.Errorf("Claim = %v, want %v", err, want)
		}
		if len(found.Deliveries)+len(found.Unreadable) > 0 {
			t.Errorf("the claim returned %v and %v", found.Deliveries, found.Unreadable)
		}
		if fails != nil {
			continue
		}
		fs.SetDevice(crashfs.Device{})
		found, err = s.Claim(ctx, now, queue.ClaimOptions{})
		if err != nil || len(found.Deliveries) != 1 {
			t.Errorf("with room %d are claimed, %v", len(found.Deliveries), err)
		}
	}
}

// TestLeaseThatIsLostIsNotGivenUp has a claim give up a delivery that is another's by
// now, or has left: the other keeps it.
func TestLeaseThatIsLostIsNotGivenUp(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	id := mustPut(t, s)
	number, _ := parseID(id)
	first, _, err := s.takeAll(now, number, time.Minute, nil)
	must(t, err)
	other, err := s.Take(ctx, now.Add(time.Hour), id, time.Minute)
	must(t, err)
	s.giveUp(&first[0])
	if list, err := s.Extend(ctx, now.Add(time.Hour), []queue.Lease{other.Deliveries[0].Lease}, time.Minute); err != nil || list[0].Err != nil {
		t.Errorf("the other has lost its lease: %v, %v", err, list)
	}
	must(t, s.Drop(ctx, id))
	s.giveUp(&first[0])
	if s.index.Len() > 0 {
		t.Error("what was dropped is there")
	}
}

// TestNoTokenIsNoLease names a delivery that nobody has leased, with no token.
func TestNoTokenIsNoLease(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	lease := queue.Lease{Message: mustPut(t, s), Destination: "example.com"}
	if list, err := s.Extend(ctx, now, []queue.Lease{lease}, time.Minute); err != nil || !errors.Is(list[0].Err, queue.ErrLeaseLost) {
		t.Errorf("Extend = %v, %v, want ErrLeaseLost", list, err)
	}
	done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
	if err != nil || !errors.Is(done[0].Err, queue.ErrLeaseLost) {
		t.Errorf("Settle = %v, %v, want ErrLeaseLost", done, err)
	}
}

// TestLeaseKeepsOnlyWhatIsSo has a record written again or moved after a claim has read
// it: the lease does not keep what it was.
func TestLeaseKeepsOnlyWhatIsSo(t *testing.T) {
	now := time.Unix(1e9, 0)
	for name, c := range map[string]struct {
		change func(p *pick, note *claimed)
		kept   bool
	}{
		"as it was read": {func(*pick, *claimed) {}, true},
		"its record is elsewhere": {func(p *pick, _ *claimed) {
			p.entry.Record.Offset++
		}, false},
		"its message is elsewhere": {func(_ *pick, note *claimed) {
			note.record.Home.Segment++
		}, false},
	} {
		_, s := openSmall(t)
		number, _ := parseID(mustPut(t, s))
		picks, _, err := s.takeAll(now, number, time.Hour, nil)
		must(t, err)
		d, m, err := s.readBoth(picks[0].slot, number)
		must(t, err)
		note := noteOf(&d, &m)
		c.change(&picks[0], note)
		if !s.keep(&picks[0], note) || (s.leased(picks[0].slot) != nil) != c.kept {
			t.Errorf("%s: the lease keeps %v", name, s.leased(picks[0].slot))
		}
	}
}

// TestClaimForgetsWhatLeftMeanwhile has mail leave while a claim goes through more than
// one hold of the lock takes: its destination is not known any more afterwards.
func TestClaimForgetsWhatLeftMeanwhile(t *testing.T) {
	_, s := openSmall(t)
	const many = 2 * holdMax
	var last uint64
	for n := range many {
		id, err := putSize(s, fmt.Sprintf("d%d.example", n), 10)
		must(t, err)
		last, _ = parseID(id)
	}
	leaves, turns := s.slots(last)[0], 0
	s.mu.watch = stateWatch(func() {
		if turns++; turns == 3 {
			s.index.Remove(leaves)
		}
	})
	found, err := s.Claim(context.Background(), time.Unix(1e9, 0), queue.ClaimOptions{Max: many})
	s.mu.watch = nil
	must(t, err)
	if names, _ := s.index.Destinations(0, 1<<20); len(found.Deliveries) != many-1 || len(names) != many-1 {
		t.Errorf("%d deliveries are claimed and %d destinations known, want %d", len(found.Deliveries), len(names), many-1)
	}
}

// TestClaimBesideAnother has a claim lease and read while another has leased and not read
// yet: each returns its own.
func TestClaimBesideAnother(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	mustPut(t, s)
	deliverAll(t, s) // and so a claim has left room for the next
	first, second := mustPut(t, s), ""
	var got queue.Claimed
	beforeItIsRead(t, s, first, func() {
		var err error
		if got, err = s.Claim(ctx, now, queue.ClaimOptions{}); err != nil {
			t.Error(err)
		}
	}, func() {
		second = mustPut(t, s)
		c, err := s.Claim(ctx, now, queue.ClaimOptions{})
		if err != nil || len(c.Deliveries) != 1 || c.Deliveries[0].Lease.Message != second {
			t.Errorf("the second claim = %v, %v, want %s", c.Deliveries, err, second)
		}
	})
	if len(got.Deliveries) != 1 || got.Deliveries[0].Lease.Message != first {
		t.Errorf("the first claim = %v, want %s", got.Deliveries, first)
	}
}

// TestClaimCutOffWhileItWaits has a claim wait to end a hold, because another call has
// the delivery, and be cut off: it says so, and leases nothing.
func TestClaimCutOffWhileItWaits(t *testing.T) {
	now := time.Unix(1e9, 0)
	_, s := openSmall(t)
	id := mustPut(t, s)
	must(t, s.HoldUntil(t.Context(), now, id, queue.Terms{Until: now.Add(time.Hour)}))
	other := mustPut(t, s)
	number, _ := parseID(id)
	slot := s.slots(number)[0]
	s.mu.Lock()
	s.reserved.take(slot)
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		found, err := s.Claim(ctx, now.Add(2*time.Hour), queue.ClaimOptions{})
		if !errors.Is(err, context.Canceled) || len(found.Deliveries) > 0 {
			t.Errorf("Claim = %v, %v, want that it was cut off", found.Deliveries, err)
		}
	})
	for waits := false; !waits; runtime.Gosched() {
		s.mu.Lock()
		waits = s.reserved[slot] != nil
		s.mu.Unlock()
	}
	cancel()
	group.Wait()
	s.release(s.slots(number))
	found, err := s.Claim(t.Context(), now.Add(2*time.Hour), queue.ClaimOptions{})
	if err != nil || len(found.Deliveries) != 2 {
		t.Errorf("another Claim = %v, %v, want %s and %s", found.Deliveries, err, id, other)
	}
}

// TestNoKeyIsRememberedOfMailWithoutOne has mail without a key leave: nothing is
// remembered of it.
func TestNoKeyIsRememberedOfMailWithoutOne(t *testing.T) {
	_, s := openSmall(t)
	mustPut(t, s)
	deliverAll(t, s)
	must(t, s.Drop(t.Context(), mustPut(t, s)))
	if n, err := s.CountKeys(t.Context()); err != nil || n.Remembered > 0 {
		t.Errorf("%d keys are remembered, %v", n.Remembered, err)
	}
}
