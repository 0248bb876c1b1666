package disk

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Hold keeps a message from being claimed.
func (s *Spool) Hold(ctx context.Context, id string) error {
	return s.setHeld(ctx, id, true, queue.Terms{})
}

// HoldUntil keeps a message from being claimed on some terms.
func (s *Spool) HoldUntil(ctx context.Context, now time.Time, id string, on queue.Terms) error {
	on.Since = now
	return s.setHeld(ctx, id, true, on.Bounded())
}

// Release ends a hold.
func (s *Spool) Release(ctx context.Context, id string) error {
	return s.setHeld(ctx, id, false, queue.Terms{})
}

func (s *Spool) setHeld(ctx context.Context, id string, held bool, on queue.Terms) error {
	return s.change(ctx, id, func(slot index.Slot, number uint64, t *ticket) error {
		t.durable = true
		return s.holdOne(slot, number, t, held, on)
	})
}

// holdOne adds to a ticket what puts one delivery on hold or releases it.
func (s *Spool) holdOne(slot index.Slot, number uint64, t *ticket, held bool, on queue.Terms) error {
	d, h, err := s.readDelivery(slot, number)
	if err != nil && (!errors.Is(err, queue.ErrDamaged) || vfs.IsUnreadable(err)) {
		return err // which may be read another time
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // nothing of it can be written again
		s.index.SetFlag(slot, index.Held, held)
		s.holdEnds.set(number, held, on.Until)
		return nil
	}
	s.unpinLocked(h.segment)
	if d.Held == held && d.Hold == on {
		return nil
	}
	t.changes = t.changes || d.Held && !held
	d.Held, d.Hold = held, on
	r := s.rewrite(slot, &d, false)
	apply := r.apply
	r.apply = func(g *segment, at []uint32) {
		apply(g, at)
		s.holdEnds.set(number, held, on.Until)
		if c := s.leased(slot); c != nil {
			c.record.Hold = on // for the settlement
		}
	}
	t.join(r)
	return nil
}

// endHolds releases messages that were held until a time that has come, so many of
// them, and reports whether there may be more. It is written, and need not be saved:
// if that is lost the hold ends once more. What cannot be released now is tried again
// with the next claim.
func (s *Spool) endHolds(ctx context.Context, now time.Time) (more bool, err error) {
	for range holdMax {
		s.mu.Lock()
		number, ended := s.holdEnds.over(index.Micros(now))
		s.mu.Unlock()
		if !ended {
			return false, nil
		}
		err := s.change(ctx, formatID(number), func(slot index.Slot, number uint64, t *ticket) error {
			s.mu.Lock()
			again := s.holdEnds.until[number] > index.Micros(now)
			s.mu.Unlock()
			if again { // it was held anew meanwhile
				return nil
			}
			return s.holdOne(slot, number, t, false, queue.Terms{})
		})
		if err == nil || errors.Is(err, queue.ErrNotFound) {
			continue
		}
		s.mu.Lock()
		if _, again := s.holdEnds.until[number]; !again {
			s.holdEnds.set(number, true, now)
		}
		s.mu.Unlock()
		if errors.Is(err, queue.ErrFull) || errors.Is(err, queue.ErrDamaged) || vfs.IsExhausted(err) {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

// holdEnds is the messages whose holds end by themselves. What was changed stays in
// the heap as it was until its old time.
type holdEnds struct {
	until map[uint64]int64 // microseconds, by message
	list  []record.HoldEnd
}

func newHoldEnds() holdEnds { return holdEnds{until: map[uint64]int64{}} }

// set notes that a message is on hold until a time, or without an end, or not at all.
func (h *holdEnds) set(number uint64, held bool, until time.Time) {
	if !held || until.IsZero() {
		delete(h.until, number)
		if len(h.until) == 0 {
			h.list = nil
		}
		return
	}
	h.put(record.HoldEnd{Message: number, Until: index.Micros(until)})
}

func (h *holdEnds) put(e record.HoldEnd) {
	if old, known := h.until[e.Message]; known && old == e.Until {
		return
	}
	h.until[e.Message] = e.Until
	if len(h.list) > 2*len(h.until)+holdMax {
		h.list = h.list[:0]
		for message, until := range h.until {
			h.list = append(h.list, record.HoldEnd{Message: message, Until: until})
		}
		heap.Init(h)
		return
	}
	heap.Push(h, e)
}

// first is the one that ends first.
func (h *holdEnds) first() (e record.HoldEnd, ok bool) {
	for len(h.list) > 0 {
		if e = h.list[0]; h.until[e.Message] == e.Until {
			if _, known := h.until[e.Message]; known {
				return e, true
			}
		}
		heap.Pop(h)
	}
	return e, false
}

// over takes a message out whose hold is over.
func (h *holdEnds) over(now int64) (number uint64, ok bool) {
	e, ok := h.first()
	if !ok || e.Until > now {
		return 0, false
	}
	delete(h.until, e.Message)
	heap.Pop(h)
	return e.Message, true
}

// Len, Less, Swap, Push and Pop are the heap's.
func (h *holdEnds) Len() int           { return len(h.list) }
func (h *holdEnds) Less(i, j int) bool { return h.list[i].Until < h.list[j].Until }
func (h *holdEnds) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *holdEnds) Push(e any)         { h.list = append(h.list, e.(record.HoldEnd)) }
func (h *holdEnds) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list = h.list[:last]
	return e
}

// all returns them in no order.
func (h *holdEnds) all() (list []record.HoldEnd) {
	for message, until := range h.until {
		list = append(list, record.HoldEnd{Message: message, Until: until})
	}
	return list
}
