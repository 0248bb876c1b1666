package disk

import (
	"context"
	"errors"
	"slices"
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
	on.Since, on.Until = now.UTC(), on.Until.UTC() // as a record has them, to be compared
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

// heldTicket returns the ticket to write for that, or nil if there is none.
func (s *Spool) heldTicket(
	slot index.Slot, number uint64, d *record.Delivery, from handle, err error, t *ticket, held bool, on queue.Terms,
) *ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // it cannot be written again
		s.index.SetFlag(slot, index.Held, held)
		s.holdEnds.set(number, on.Until)
		return nil
	}
	s.unpinLocked(from.segment)
	if d.Held == held && d.Hold == on {
		return nil
	}
	if d.Held && !held {
		t.changes = true
	}
	d.Held, d.Hold = held, on
	r := s.rewrite(slot, d, false)
	apply := r.apply
	r.apply = func(h *hold, g *segment, at []uint32) {
		apply(h, g, at)
		s.holdEnds.set(number, on.Until)
		if c := s.leased(slot); c != nil {
			c.record.Hold = on // for the settlement
		}
	}
	return r
}

// endHolds releases messages whose hold has ended, only in the index: their records
// have the end of the hold, and no longer mention it when they are written again.
func (s *Spool) endHolds(ctx context.Context, now time.Time) error {
	for {
		s.mu.Lock()
		number, until, any := s.holdEnds.First()
		if !any || until > index.Micros(now) {
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		slots := s.slots(number)
		if err := s.acquire(ctx, slots); err != nil { // who writes a delivery anew says whether it is held
			return err
		}
		s.endHold(number, until, slots)
		s.release(slots)
	}
}

// endHold releases one message, unless it was held anew. Its deliveries are acquired.
func (s *Spool) endHold(number uint64, until int64, slots []index.Slot) {
	h := s.hold()
	defer h.end()
	if is, _ := s.holdEnds.Of(number); is != until {
		return
	}
	for _, slot := range slots {
		h.step(1)
		if s.index.Is(slot, number) {
			s.index.SetFlag(slot, index.Held, false)
		}
	}
	s.holdEnds.Delete(number)
}

// endHoldsBefore does the same while opening, for a flush that was made at that time.
func (s *Spool) endHoldsBefore(now time.Time) {
	for {
		number, until, any := s.holdEnds.First()
		if !any || until > index.Micros(now) {
			return
		}
		s.endHold(number, until, s.slots(number))
	}
}

// sweepHolds forgets the ends of holds that are over, while opening: a checkpoint or
// the log before it was read to its end has spoken of them.
func (s *Spool) sweepHolds() {
	var over []uint64
	for number := range s.holdEnds.All() {
		if !slices.ContainsFunc(s.slots(number), s.isHeld) {
			over = append(over, number)
		}
	}
	for _, number := range over {
		s.holdEnds.Delete(number)
	}
}

func (s *Spool) isHeld(slot index.Slot) bool { return s.index.Get(slot).Flags&index.Held != 0 }

// holdEnds is the messages whose holds end by themselves.
type holdEnds struct{ index.Ends }

// set notes that a message is on hold until a time, or, if that is zero, without an end or
// not at all.
func (h *holdEnds) set(number uint64, until time.Time) {
	if until.IsZero() {
		h.Delete(number)
		return
	}
	h.Set(number, index.Micros(until))
}
