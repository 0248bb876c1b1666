package delivery

import (
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// part is a delivery that is claimed, and where it goes.
type part struct {
	id       sched.ID
	delivery *queue.Delivery
	lease    held
	route    mx.Route
	asked    time.Time     // when the route was found
	dns      time.Duration // that it took
	claimed  time.Time

	policyLookedAt bool // once more, before it is given up
}

// shipment is deliveries of one message that are sent to one site together.
type shipment struct {
	ship  sched.Ship
	site  string
	parts []*part
	one   [1]*part // if there is only one
}

// messageOf is the message of the parts with the recipients of all of them.
func messageOf(parts []*part, content queue.Content) queue.Message {
	m := parts[0].delivery.Message
	m.Content = content
	if len(parts) > 1 {
		m.Recipients = nil
		for _, p := range parts {
			m.Recipients = append(m.Recipients, p.delivery.Message.Recipients...)
		}
	}
	return m
}

// leases has the leases of all claimed deliveries.
type leases struct {
	mu   sync.Mutex
	held map[leaseKey]*held
}

// held is a lease as it has been extended. It is used under the lock of the leases.
type held struct {
	queue.Lease
	over bool // lost, or settled
}

type leaseKey struct{ message, destination string }

func keyOf(l *queue.Lease) leaseKey { return leaseKey{l.Message, l.Destination} }

// add takes the leases of parts. Earlier ones of the same deliveries are lost.
func (l *leases) add(list []*part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(map[leaseKey]*held)
	}
	for _, p := range list {
		h, key := &p.lease, keyOf(&p.lease.Lease)
		if earlier := l.held[key]; earlier != nil {
			earlier.over = true
		}
		l.held[key] = h
	}
}

// lost reports whether a lease was lost.
func (l *leases) lost(h *held) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return h.over
}

// release forgets a lease that was settled. A later claim's lease of the same
// delivery stays.
func (l *leases) release(h *held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(h)
}

// drop is release under the lock.
func (l *leases) drop(h *held) {
	if !h.over {
		h.over = true
		delete(l.held, keyOf(&h.Lease))
	}
}

// find returns the entry of a lease, or nil if the lease was lost. The lock is held.
func (l *leases) find(lease *queue.Lease) *held {
	if h := l.held[keyOf(lease)]; h != nil && h.Token == lease.Token {
		return h
	}
	return nil
}

// remove forgets a lease that was lost.
func (l *leases) remove(lease *queue.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.find(lease); h != nil {
		l.drop(h)
	}
}

// leaseMargin is how much of a lease must be left for a final dot: the time
// the server may take to act on it is not ours to know, the way there is.
const leaseMargin = 5 * time.Second

// valid reports whether a lease has time left, so that only this agent may send the
// delivery.
func (l *leases) valid(h *held, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !h.over && now.Add(leaseMargin).Before(h.Until)
}

// ending are the leases that end before a time.
func (l *leases) ending(before time.Time) (list []queue.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		if h.Until.Before(before) {
			list = append(list, h.Lease)
		}
	}
	return list
}

// extended notes how long a lease lasts now.
func (l *leases) extended(lease queue.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.find(&lease); h != nil {
		h.Until = lease.Until
	}
}

// watcher tells the scheduler when the queue says that another claim is worth while.
type watcher struct{ claimed chan uint64 }

// watch says that a claim has seen so much. The caller is one goroutine.
func (w *watcher) watch(seen uint64) {
	select {
	case <-w.claimed:
	default:
	}
	w.claimed <- seen
}
