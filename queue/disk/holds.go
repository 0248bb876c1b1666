package disk

import (
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
	if r := s.heldTicket(slot, number, &d, h, err, t, held, on); r != nil {
		t.join(r) // which may take long
	}
	return nil
}

// heldTicket is what is to be written for that, nil for nothing.
func (s *Spool) heldTicket(
	slot index.Slot, number uint64, d *record.Delivery, from handle, err error, t *ticket, held bool, on queue.Terms,
) *ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // nothing of it can be written again
		s.index.SetFlag(slot, index.Held, held)
		s.holdEnds.set(number, held, on.Until)
		return nil
	}
	s.unpinLocked(from.segment)
	if d.Held == held && d.Hold == on {
		return nil
	}
	t.changes = t.changes || d.Held && !held
	d.Held, d.Hold = held, on
	r := s.rewrite(slot, d, false)
	apply := r.apply
	r.apply = func(h *hold, g *segment, at []uint32) {
		apply(h, g, at)
		s.holdEnds.set(number, held, on.Until)
		if c := s.leased(slot); c != nil {
			c.record.Hold = on // for the settlement
		}
	}
	return r
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
			until, again := s.holdEnds.Of(number)
			s.mu.Unlock()
			if again && until > index.Micros(now) { // it was held anew meanwhile
				return nil
			}
			return s.holdOne(slot, number, t, false, queue.Terms{})
		})
		if err == nil || errors.Is(err, queue.ErrNotFound) {
			continue
		}
		s.mu.Lock()
		if _, again := s.holdEnds.Of(number); !again {
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

// holdEnds is the messages whose holds end by themselves.
type holdEnds struct{ index.Ends }

// set notes that a message is on hold until a time, or without an end, or not at all.
func (h *holdEnds) set(number uint64, held bool, until time.Time) {
	if !held || until.IsZero() {
		h.Delete(number)
		return
	}
	h.Set(number, index.Micros(until))
}

// over takes a message out whose hold is over.
func (h *holdEnds) over(now int64) (number uint64, ok bool) {
	number, until, ok := h.First()
	if !ok || until > now {
		return 0, false
	}
	h.Delete(number)
	return number, true
}
