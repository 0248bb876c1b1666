package guide

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Counted is a queue that counts the messages put into it.
type Counted struct {
	queue.Queue
	N atomic.Int64
}

// Put counts the messages that the inner queue accepts.
func (c *Counted) Put(ctx context.Context, now time.Time, m *queue.Message) (string, error) {
	id, err := c.Queue.Put(ctx, now, m)
	if err == nil {
		c.N.Add(1)
	}
	return id, err
}

// Unwrap lets package queue find the optional methods of the inner queue: list, hold, drop
// and so on.
func (c *Counted) Unwrap() queue.Queue { return c.Queue }
