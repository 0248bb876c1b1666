package disk

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
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
