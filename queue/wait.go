package queue

import (
	"context"
	"sync"
)

// Waiter is a queue that tells when a claim is worth while before the time that
// the last one has foreseen, whoever changed the queue (rule W1). For other queues
// Claimed.Next is all that a claimer has.
type Waiter interface {
	// Wait returns nil when something may have become due since the claim that
	// returned seen. Errors: ctx's, ErrClosed.
	Wait(ctx context.Context, seen uint64) error
}

// Wait returns when a claim from q may find something that the one which returned
// seen did not foresee. It answers errors.ErrUnsupported for a queue that is no
// Waiter.
func Wait(ctx context.Context, q Queue, seen uint64) error {
	if w, ok := As[Waiter](q); ok {
		return w.Wait(ctx, seen)
	}
	return unsupported("wait")
}

// Changes counts what happens to a queue and lets callers wait for more to happen:
// what a Waiter inside one process needs. Its zero value is ready, and it is safe
// for concurrent use.
type Changes struct {
	mu      sync.Mutex
	count   uint64
	waiting chan struct{} // closed at the next change; nil where nobody waits
}

// Add counts a change and wakes all who wait.
func (c *Changes) Add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if c.waiting != nil {
		close(c.waiting)
		c.waiting = nil
	}
}

// Count is how many changes there have been.
func (c *Changes) Count() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// Wait returns nil when there have been more changes than seen, and ctx's error
// if that ends first.
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
