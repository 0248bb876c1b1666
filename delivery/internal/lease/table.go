package lease

import (
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Table has the leases of all claimed deliveries. The zero value has none. All methods are
// safe for concurrent use.
type Table struct {
	mu   sync.Mutex
	held map[Key]*Held
}

// Held is a lease as it was extended last. Once it was added to a Table, only the Table
// reads and writes it.
type Held struct {
	queue.Lease
	over bool // lost, or settled
}

// Key names a delivery.
type Key struct{ Message, Destination string }

// KeyOf returns the key of the delivery of a lease.
func KeyOf(l *queue.Lease) Key { return Key{l.Message, l.Destination} }

// Add adds the lease of a delivery that was claimed. An earlier lease of the same delivery
// is lost.
func (t *Table) Add(h *Held) {
	key := KeyOf(&h.Lease)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = make(map[Key]*Held)
	}
	if earlier := t.held[key]; earlier != nil {
		earlier.over = true
	}
	t.held[key] = h
}

// Release forgets a lease of which the delivery was settled. The lease of a later claim of
// the same delivery stays.
func (t *Table) Release(h *Held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(h)
}

// Remove forgets a lease that the queue says is lost.
func (t *Table) Remove(l *queue.Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.find(l); h != nil {
		t.drop(h)
	}
}

// drop forgets a lease. The lock is held.
func (t *Table) drop(h *Held) {
	if !h.over {
		h.over = true
		delete(t.held, KeyOf(&h.Lease))
	}
}

// find returns the entry of a lease, or nil if it is not held. The lock is held.
func (t *Table) find(l *queue.Lease) *Held {
	if h := t.held[KeyOf(l)]; h != nil && h.Token == l.Token {
		return h
	}
	return nil
}

// Extended notes until when a lease lasts now.
func (t *Table) Extended(l *queue.Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.find(l); h != nil {
		h.Until = l.Until
	}
}

// Ending returns the leases that end before a time.
func (t *Table) Ending(before time.Time) (list []queue.Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.held {
		if h.Until.Before(before) {
			list = append(list, h.Lease)
		}
	}
	return list
}

// Lost reports whether a lease is no longer held.
func (t *Table) Lost(h *Held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return h.over
}

// margin is how long a lease must last beyond the time at which the final dot is sent: it
// is not known how long the dot is on its way, and how long the host takes to act on it.
const margin = 5 * time.Second

// Valid reports whether a delivery may be sent: its lease is held and lasts long enough for
// a final dot that is sent now.
func (t *Table) Valid(h *Held, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !h.over && now.Add(margin).Before(h.Until)
}
