package memory

import (
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestOwnersComeAndGo has a destination parked by each set of ten owners after the other.
// When all have gone nothing is left of them that each claim would look at.
func TestOwnersComeAndGo(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	q := new(Queue)
	_, err := q.Put(ctx, now, &queue.Message{Content: queue.String("text"), Recipients: []queue.Recipient{{Address: "a@b.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	park := func(owner int, until time.Time) {
		t.Helper()
		if err := q.Postpone(ctx, now, queue.Postponement{Owner: fmt.Sprint("owner", owner), Destination: "b.example", Until: until}); err != nil {
			t.Fatal(err)
		}
	}
	for set := range 1 << 10 {
		for owner := range 10 {
			if set>>owner&1 == 1 {
				park(owner, now.Add(time.Hour))
			} else {
				park(owner, time.Time{})
			}
		}
	}
	for owner := range 10 {
		park(owner, time.Time{})
	}
	got, err := q.Claim(ctx, now, queue.ClaimOptions{Owner: "owner1"})
	if err != nil || len(got.Deliveries) != 1 {
		t.Fatalf("Claim = %d deliveries, %v", len(got.Deliveries), err)
	}
	if len(q.active) > 1 {
		t.Errorf("%d sets of owners are still looked at", len(q.active))
	}
}
