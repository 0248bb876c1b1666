package disk

import (
	"context"
	"slices"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// turns says which deliveries are reserved and who waits for them. A delivery is
// handed from one caller to the next in the order in which they came.
type turns map[index.Slot]*turn

// turn is a caller that waits for a delivery.
type turn struct {
	given chan struct{} // closed when the delivery is this caller's
	next  *turn
}

// take reserves a delivery if it is free.
func (t turns) take(slot index.Slot) bool {
	if _, reserved := t[slot]; reserved {
		return false
	}
	t[slot] = nil
	return true
}

// takeAll reserves some deliveries if all of them are free.
func (t turns) takeAll(slots []index.Slot) bool {
	for _, slot := range slots {
		if _, reserved := t[slot]; reserved {
			return false
		}
	}
	for _, slot := range slots {
		t[slot] = nil
	}
	return true
}

// wait lines up for a delivery that is reserved.
func (t turns) wait(slot index.Slot) *turn {
	w := &turn{given: make(chan struct{})}
	if t[slot] == nil {
		t[slot] = w
		return w
	}
	last := t[slot]
	for last.next != nil {
		last = last.next
	}
	last.next = w
	return w
}

// leave takes a caller out of the line for a delivery. It reports false where the
// delivery is that caller's by now.
func (t turns) leave(slot index.Slot, w *turn) bool {
	if t[slot] == w {
		t[slot] = w.next
		return true
	}
	for before := t[slot]; before != nil; before = before.next {
		if before.next == w {
			before.next = w.next
			return true
		}
	}
	return false
}

// give passes a delivery to the call that has waited for it longest, if there is one.
func (t turns) give(slot index.Slot) {
	first := t[slot]
	if first == nil {
		delete(t, slot)
		return
	}
	t[slot] = first.next
	close(first.given)
}

// acquire reserves deliveries, so that no other call changes them; release gives them
// back. What may have changed meanwhile must be looked up again. It takes them one
// after another, in the same order as all other calls, and keeps those it has while it
// waits. So no call waits longer than those before it take, and two calls never wait
// for each other. A call that has reserved deliveries must not call acquire, and no
// delivery may be named twice: it would wait for itself.
func (s *Spool) acquire(ctx context.Context, slots []index.Slot) error {
	slots = slices.Clone(slots)
	slices.Sort(slots)
	for have := 0; have < len(slots); {
		s.mu.Lock()
		var w *turn
		for to := min(have+holdMax, len(slots)); have < to && w == nil; {
			if s.reserved.take(slots[have]) {
				have++
			} else {
				w = s.reserved.wait(slots[have])
			}
		}
		s.mu.Unlock()
		if w == nil {
			continue
		}
		select {
		case <-w.given:
			have++
		case <-ctx.Done():
			s.mu.Lock()
			if !s.reserved.leave(slots[have], w) {
				have++
			}
			s.mu.Unlock()
			s.release(slots[:have])
			return ctx.Err()
		}
	}
	return nil
}

func (s *Spool) release(slots []index.Slot) {
	for len(slots) > 0 {
		n := min(holdMax, len(slots))
		s.mu.Lock()
		for _, slot := range slots[:n] {
			s.reserved.give(slot)
		}
		s.mu.Unlock()
		slots = slots[n:]
	}
}
