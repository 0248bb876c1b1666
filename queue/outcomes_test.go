package queue_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestOutcomesAfter: the iterator has every outcome after a position once, however many
// pages they take, and ends with the first error.
func TestOutcomesAfter(t *testing.T) {
	q, now := &memory.Queue{KeepOutcomes: time.Hour}, time.Now()
	var want []string
	settle := func(n int) {
		for range n {
			address := fmt.Sprintf("u%d@example.com", len(want))
			want = append(want, address)
			if _, err := q.Put(t.Context(), now, messageTo(address)); err != nil {
				t.Fatal(err)
			}
			claimed, err := q.Claim(t.Context(), now, queue.ClaimOptions{})
			if err != nil || len(claimed.Deliveries) != 1 {
				t.Fatalf("%+v, %v", claimed, err)
			}
			if _, err := q.Settle(t.Context(), now, []queue.Settlement{{
				Lease: claimed.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}},
			}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(after string, most int) (got []string, last string) {
		for o, err := range queue.OutcomesAfter(t.Context(), q, after) {
			if err != nil {
				t.Fatal(err)
			}
			got, last = append(got, o.Address), o.Position
			if len(got) == most {
				break
			}
		}
		return got, last
	}
	if got, _ := read("", -1); got != nil {
		t.Errorf("a new queue has the outcomes %v", got)
	}
	settle(2*queue.DefaultMax + 1)
	if got, _ := read("", -1); !slices.Equal(got, want) {
		t.Errorf("%d outcomes, want %d in their order", len(got), len(want))
	}
	first, position := read("", 3)
	settle(1)
	rest, position := read(position, -1)
	if got := append(first, rest...); !slices.Equal(got, want) {
		t.Errorf("%d and %d outcomes, want %d in all", len(first), len(rest), len(want))
	}
	if got, _ := read(position, -1); got != nil {
		t.Errorf("after the last there are %v", got)
	}
	for name, c := range map[string]struct {
		q        queue.Queue
		position string
		want     error
	}{
		"a queue that keeps none": {&memory.Queue{}, "", errors.ErrUnsupported},
		"a position of none":      {q, "x", &queue.PositionError{Position: "x"}},
	} {
		n := 0
		for o, err := range queue.OutcomesAfter(t.Context(), c.q, c.position) {
			n++
			if o != (queue.FinalOutcome{}) || !errors.Is(err, c.want) && err.Error() != c.want.Error() {
				t.Errorf("%s: %v, %v; want %v", name, o, err, c.want)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d errors", name, n)
		}
	}
}
