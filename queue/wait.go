package queue

import (
	"context"
	"sync"
)

// Waiter is a queue that tells a claimer when mail may have become due earlier than its
// last claim foresaw, whichever process changed the queue (rule W1). With other queues, a
// claimer has only Claimed.Next.
type Waiter interface {
	// Wait returns nil when something may have become due since the claim that
	// returned seen. Errors: ctx's, ErrClosed.
	Wait(ctx context.Context, seen uint64) error
}

// Wait returns when a claim from q may find something that the claim which returned seen
// did not foresee. It returns errors.ErrUnsupported if q is not a Waiter.
func Wait(ctx context.Context, q Queue, seen uint64) error {
	if w, ok := As[Waiter](q); ok {
		return w.Wait(ctx, seen)
	}
	return unsupported("wait")
}

// Changes counts the changes of a queue and lets callers wait for the next. A queue within
// one process can implement Waiter with it. The zero value is ready for use. It is safe
// for concurrent use.
type Changes struct {
	mu      sync.Mutex
	count   uint64
	waiting chan struct{} // closed at the next change; nil if nothing waits
}

// Add counts a change and ends all calls of Wait.
func (c *Changes) Add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if c.waiting != nil {
		close(c.waiting)
		c.waiting = nil
	}
}

// Count returns the number of changes.
func (c *Changes) Count() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// Wait returns nil once there have been more changes than seen, or ctx's error if ctx ends
// first.
func (c *Changes) Wait(ctx context.Context, seen uint64) error {
	for {
		c.mu.Lock()
		if c.count > seen {
			c.mu.Unlock()
			return nil
		}
		if c.waiting == nil {
			c.waiting = make(chan struct{})
		}
		waiting := c.waiting
		c.mu.Unlock()
		select {
		case <-waiting:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
