package disk

import (
	"context"
	"errors"
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
