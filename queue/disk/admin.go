package disk

import (
	"context"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// unpinLocked is unpin where the lock is held: a segment whose delivery has
// been acquired is not retired, so that no file goes.
func (s *Spool) unpinLocked(g *segment) { g.pins-- }

// Drop removes a message.
func (s *Spool) Drop(ctx context.Context, id string) error {
	return s.change(ctx, id, func(slot index.Slot, number uint64, t *ticket) error {
		var dropped leftKey // forgotten, not remembered
		if h, m, err := s.openMessage(number, false); err == nil {
			s.unpin(h.segment)
			dropped = noteOf(&record.Delivery{}, &m).left(time.Time{})
		}
		s.mu.Lock()
		gone := s.goneFrame(slot, leftKey{})
		s.mu.Unlock()
		t.durable, t.class = true, ending
		t.join(&ticket{frames: []frame{gone}, apply: func(_ *hold, g *segment, _ []uint32) {
			s.gone(g, slot, dropped)
		}})
		return nil
	})
}

// change acquires all deliveries of a message, has each of them add to a
// ticket, and has that written.
func (s *Spool) change(
	ctx context.Context, id string, each func(index.Slot, uint64, *ticket) error,
) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	number, _ := parseID(id) // nothing is found if it is not valid
	slots := s.slots(number)
	if err := s.acquire(ctx, slots); err != nil {
		return err
	}
	defer s.release(slots)
	t := &ticket{}
	found := false
	for _, slot := range slots {
		s.mu.Lock()
		is := s.index.Is(slot, number)
		s.mu.Unlock()
		if !is {
			continue
		}
		found = true
		if err := each(slot, number, t); err != nil {
			return err
		}
	}
	if !found {
		return queue.ErrNotFound
	}
	s.line.enqueue(t)
	return s.wait(t)
}

// Postpone keeps the deliveries of destinations back. Postponements with an owner are only
// in memory.
func (s *Spool) Postpone(ctx context.Context, now time.Time, list ...queue.Postponement) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	for i := range list {
		if n := len(list[i].Destination); n > maxName {
			return fmt.Errorf("disk: postpone: a destination of %d bytes", n)
		}
	}
	for len(list) > 0 {
		n := min(len(list), holdMax)
		if err := s.postponeSome(now, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func (s *Spool) postponeSome(now time.Time, list []queue.Postponement) error {
	t := &ticket{}
	var names []string
	h := s.hold()
	s.index.At(now)
	for _, p := range list {
		p = p.Bounded()
		p.Until = p.Until.Round(0)
		t.changes = t.changes || p.Until.IsZero()
		h.step(1)
		switch {
		case p.Owner == "":
			t.join(s.postpone(p))
			names = append(names, p.Destination)
		case !p.Until.IsZero():
			for !s.index.Admit(p.Owner, holdMax) {
				h.step(holdMax)
			}
			s.index.Park(p.Owner, p.Destination, p.Until)
		case p.Destination == "":
			for s.index.UnparkAll(p.Owner, holdMax) {
				h.step(holdMax)
			}
		default:
			s.index.Unpark(p.Owner, p.Destination)
		}
	}
	h.end()
	if len(t.frames) > 0 {
		s.pass(t, names)
		return s.passed(t, names)
	}
	if t.changes {
		s.changes.Add()
	}
	return nil
}

// pass puts a ticket in line that says something of destinations and that a later one may
// undo. It is followed by passed.
func (s *Spool) pass(t *ticket, names []string) {
	h := s.hold()
	for _, name := range names {
		h.step(1)
		s.passing[name]++
	}
	h.end()
	s.line.enqueue(t) // which may take long
}

// passed returns when the index has such a ticket.
func (s *Spool) passed(t *ticket, names []string) error {
	err := s.wait(t)
	h := s.hold()
	defer h.end()
	for _, name := range names {
		h.step(1)
		if s.passing[name]--; s.passing[name] == 0 {
			delete(s.passing, name)
		}
	}
	return err
}

// postpone makes the ticket of a postponement, or of the end of one. If it waits to be
// saved, like that of a flush, a later record may be in the index already; the later
// one in the log counts.
func (s *Spool) postpone(p queue.Postponement) *ticket {
	r := record.Destination{Name: p.Destination, Postponed: p.Until, Reason: p.Reason}
	f := frame{}
	f.Kind, f.Head = record.KindDestination, r.Append(nil)
	return &ticket{frames: []frame{f}, apply: func(_ *hold, g *segment, at []uint32) {
		g.cost += index.SmallCost
		if s.index.RecordedAfter(p.Destination, g.place(at[0])) {
			return
		}
		s.index.Postpone(index.Postponement{
			Name: p.Destination, Until: p.Until, Reason: p.Reason, Record: g.place(at[0]), Oldest: g.number,
		})
	}}
}
