package postgres

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Calls that come while as many round trips as there may be are under way go together, in
// the order in which they came, and without those that have given up.
func TestCallsThatWaitGoTogether(t *testing.T) {
	r := rounds[int]{most: 2}
	began := 0
	for call := range 9 {
		if err := r.add(call, func() { began++ }); err != nil {
			t.Fatal(err)
		}
	}
	if began != 2 {
		t.Errorf("%d round trips have begun, want 2", began)
	}
	if !r.leave(4) || r.leave(4) {
		t.Error("a call that waits cannot leave once")
	}
	three := func(waiting []int) int { return min(len(waiting), 3) }
	var got [][]int
	for range 3 {
		got = append(got, r.next(three))
	}
	if want := [][]int{{0, 1, 2}, {3, 5, 6}, {7, 8}}; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the round trips are for %v, want %v", got, want)
	}
	if r.leave(8) {
		t.Error("a call left that is under way")
	}
	if got := append(r.next(three), r.next(three)...); got != nil {
		t.Errorf("a round trip is for %v, for which there was one", got)
	}
	if err := r.add(9, func() { began++ }); err != nil || began != 3 {
		t.Errorf("after all have ended, %d have begun, %v; want 3", began, err)
	}
	r.close()
	if err := r.add(10, func() {}); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("add after close = %v, want ErrClosed", err)
	}
}

// A transaction takes so many messages and so much content, and one message at least.
func TestMessagesOfOneTransaction(t *testing.T) {
	waiting := func(n, size int) (list []*putting) {
		for range n {
			list = append(list, &putting{draft: draft{content: make([]byte, size)}})
		}
		return list
	}
	for _, c := range []struct{ n, size, want int }{
		{1, 10, 1}, {mostMessages, 10, mostMessages}, {mostMessages + 1, 10, mostMessages},
		{9, mostBytes / 4, 4}, {2, 2 * mostBytes, 1},
	} {
		if got := inOne(waiting(c.n, c.size)); got != c.want {
			t.Errorf("of %d messages of %d bytes %d go together, want %d", c.n, c.size, got, c.want)
		}
	}
	for name, big := range map[string]draft{
		"destinations": {parts: make([]queue.Part, 10_000)}, "a long envelope": {envelope: make([]byte, mostBytes)},
	} {
		list := waiting(3, 10)
		list[1].draft = big
		if first, then := inOne(list), inOne(list[1:]); first != 1 || then != 1 {
			t.Errorf("a message with %s goes together with others: %d, then %d, want 1 and 1", name, first, then)
		}
	}
}

// Contents that came with a claim are there once for each delivery, for a moment, and for
// their own messages only.
func TestContentsThatCameWithAClaim(t *testing.T) {
	row := func(number int64, text string) claimed {
		tag, size, check := int32(7), int64(len(text)), sum([]byte(text))
		c := claimed{message: &number, tag: &tag, size: &size, contentSum: &check}
		if text != "" {
			c.content = []byte(text)
		}
		return c
	}
	var a ahead
	there := func(number int64, tag int32) bool { return a.take(number, tag) != nil }
	a.add([]claimed{row(1, "one"), row(2, "two"), row(2, "")})
	if there(1, 8) {
		t.Error("the content of another message with the same number is there")
	}
	if !there(1, 7) || there(1, 7) {
		t.Error("a content for one delivery is not there once")
	}
	for i := range 3 {
		if there(2, 7) != (i < 2) {
			t.Errorf("a content for two deliveries, asked for %d times: there %v", i+1, i >= 2)
		}
	}
	a.add([]claimed{row(3, "three"), row(4, "four")})
	a.forget(3)
	a.all[4].came = a.all[4].came.Add(-keptAhead)
	if there(3, 7) || there(4, 7) {
		t.Error("what was settled, or came long ago, is there")
	}
	a.add([]claimed{row(5, "five")})
	a.all[5].came = a.all[5].came.Add(-keptAhead)
	if room := a.room(); room != mostAhead || len(a.order) != 0 || len(a.all) != 0 {
		t.Errorf("there is room for %d bytes, want %d; %d contents are kept", room, mostAhead, len(a.all))
	}
}

// A call is told what has been done, even if its context ended at the same time. It waits
// for a round trip of its own for so long only, and for the end of one that has begun.
func TestCallInARound(t *testing.T) {
	done, yes, no := make(chan struct{}), func() bool { return true }, func() bool { return false }
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := inRound(over, time.Hour, done, yes); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was given up returns %v", err)
	}
	if err := inRound(t.Context(), time.Nanosecond, done, yes); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that waits for too long returns %v", err)
	}
	begun := func() bool { close(done); return false }
	if err := inRound(t.Context(), time.Nanosecond, done, begun); err != nil {
		t.Errorf("a call whose round trip has begun returns %v", err)
	}
	for range 100 {
		if err := inRound(over, time.Hour, done, no); err != nil {
			t.Fatalf("a call that has been made returns %v", err)
		}
	}
}
