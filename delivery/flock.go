package delivery

import (
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// flock is the deliveries of one message that were claimed together. They wait
// for each other's routes, for a moment, so that those which lead to one site go
// in one transaction (QUE-12).
type flock struct {
	run *run

	mu      sync.Mutex
	left    int // without a route yet
	ready   []part
	flown   bool // whoever comes now goes alone
	waiting *time.Timer
}

// flockTime is how long a route is waited for on behalf of the others.
const flockTime = 20 * time.Millisecond

// claimedItem is a delivery on its way to its route; flock is nil where it has
// no company.
type claimedItem struct {
	delivery *queue.Delivery
	flock    *flock
}

// flocks groups neighbours of the same message.
func (r *run) flocks(found []queue.Delivery) []claimedItem {
	items := make([]claimedItem, len(found))
	for i := range found {
		items[i].delivery = &found[i]
		if i == 0 || found[i].Message.ID != found[i-1].Message.ID {
			continue
		}
		f := items[i-1].flock
		if f == nil {
			f = r.newFlock()
			items[i-1].flock = f
		}
		f.left++
		items[i].flock = f
	}
	return items
}

func (r *run) newFlock() *flock {
	f := &flock{run: r, left: 1}
	f.mu.Lock()
	defer f.mu.Unlock()
	r.workers.Add(1)
	f.waiting = time.AfterFunc(flockTime, func() {
		defer r.workers.Done()
		f.fly()
	})
	return f
}

// add brings a delivery that has found its route.
func (f *flock) add(p part) {
	f.mu.Lock()
	if f.flown {
		f.mu.Unlock()
		f.run.enqueue(p)
		return
	}
	f.ready = append(f.ready, p)
	f.mu.Unlock()
	f.less()
}

// less says that one less is waited for.
func (f *flock) less() {
	f.mu.Lock()
	f.left--
	last := f.left == 0
	f.mu.Unlock()
	if last {
		f.fly()
	}
}

// fly sends on those that are there.
func (f *flock) fly() {
	f.mu.Lock()
	list := f.ready
	f.ready, f.flown = nil, true
	if f.waiting.Stop() {
		defer f.run.workers.Done()
	}
	f.mu.Unlock()
	f.run.enqueue(list...)
}
