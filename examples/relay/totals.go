package main

import (
	"context"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// spared is by how many times the cost of counting a queue is further apart than that at
// least: a long queue takes a database seconds to count.
const spared = 30

// counted is a queue that is not counted again at once.
type counted struct {
	queue.Queue

	mu    sync.Mutex // of who counts
	total queue.Totals
	next  time.Time
}

// Unwrap is for all else that the queue can do.
func (c *counted) Unwrap() queue.Queue { return c.Queue }

// Total is what was counted, a while ago perhaps.
func (c *counted) Total(ctx context.Context) (queue.Totals, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if began.Before(c.next) {
		return c.total, nil
	}
	total, err := queue.Total(ctx, c.Queue)
	if err != nil {
		return total, err
	}
	now := time.Now()
	c.total, c.next = total, now.Add(spared*now.Sub(began))
	return total, nil
}

// Survey is the queue's.
func (c *counted) Survey(ctx context.Context, after string, most int) ([]queue.Destination, error) {
	return queue.Survey(ctx, c.Queue, after, most)
}
