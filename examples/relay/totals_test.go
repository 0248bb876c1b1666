package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// slow is a queue that takes a while to count.
type slow struct {
	memory.Queue
	cost  time.Duration
	calls int
	err   error
}

func (s *slow) Total(ctx context.Context) (queue.Totals, error) {
	s.calls++
	time.Sleep(s.cost)
	if s.err != nil {
		return queue.Totals{}, s.err
	}
	return queue.Totals{Messages: s.calls}, nil
}

// TestCountedNowAndThen: to count a queue takes a small part of the time, however often
// somebody asks.
func TestCountedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{cost: 2 * time.Second}
		c := &counted{Queue: s}
		ask := func(want int) {
			t.Helper()
			if total, err := queue.Total(t.Context(), c); err != nil || total.Messages != want {
				t.Errorf("Total = %+v, %v, want %d", total, err, want)
			}
		}
		for range 20 {
			ask(1)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		ask(2)
		time.Sleep(time.Hour)
		s.err = errors.New("away")
		if _, err := queue.Total(t.Context(), c); !errors.Is(err, s.err) {
			t.Errorf("of a queue that does not answer Total = %v", err)
		}
		s.err = nil
		ask(4)
		if _, ok := queue.As[queue.Lister](c); !ok {
			t.Error("the queue can do less than before")
		}
	})
}
