package delivery

import (
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// coalescer is the deliveries of one message that were claimed together. They wait
// for each other's routes, for a moment, so that those which lead to one site go
// in one transaction (QUE-12).
type coalescer struct {
	run *run

	mu      sync.Mutex
	left    int // without a route yet
	ready   []part
	closed  bool // whoever comes now goes alone
	waiting *time.Timer
}

// coalesceTime is how long a route is waited for on behalf of the others.
const coalesceTime = 20 * time.Millisecond

// claimedItem is a delivery on its way to its route; group is nil where it
// goes alone.
type claimedItem struct {
	delivery *queue.Delivery
	group    *coalescer
}

// coalesce groups neighbours of the same message.
func (r *run) coalesce(found []queue.Delivery) []claimedItem {
	items := make([]claimedItem, len(found))
	for i := range found {
		items[i].delivery = &found[i]
		if i == 0 || found[i].Message.ID != found[i-1].Message.ID {
			continue
		}
		c := items[i-1].group
		if c == nil {
			c = r.newCoalescer()
			items[i-1].group = c
		}
		c.left++
		items[i].group = c
	}
	return items
}

func (r *run) newCoalescer() *coalescer {
	c := &coalescer{run: r, left: 1}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.workers.Add(1)
	c.waiting = time.AfterFunc(coalesceTime, func() {
		defer r.workers.Done()
		c.end()
	})
	return c
}

// add brings a delivery that has found its route.
func (c *coalescer) add(p part) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.run.enqueue(p)
		return
	}
	c.ready = append(c.ready, p)
	c.mu.Unlock()
	c.less()
}

// less says that one delivery less is waited for.
func (c *coalescer) less() {
	c.mu.Lock()
	c.left--
	last := c.left == 0
	c.mu.Unlock()
	if last {
		c.end()
	}
}

// end sends on those that are there.
func (c *coalescer) end() {
	c.mu.Lock()
	list := c.ready
	c.ready, c.closed = nil, true
	if c.waiting.Stop() {
		defer c.run.workers.Done()
	}
	c.mu.Unlock()
	c.run.enqueue(list...)
}
