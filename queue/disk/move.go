package disk

import (
	"errors"
	"math"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// flushedSoFar is how much has been flushed, or a number that this never is if something is
// being flushed.
func (s *Spool) flushedSoFar() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.flushes) > 0 {
		return math.MaxUint64
	}
	return s.flushed
}

// message moves a message with all its deliveries, in one group.
func (c *compaction) message(off uint32, m *record.Message) error {
	s := c.s
	slots := s.slots(m.ID)
	if len(slots) == 0 {
		return nil
	}
	if err := c.acquire(slots); err != nil {
		return err
	}
	flushed := s.flushedSoFar()
	var live []index.Slot
	var list []record.Delivery
	t := &ticket{}
	for _, slot := range slots {
		d, h, err := s.readDelivery(slot, m.ID)
		if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		s.unpin(h.segment)
		if d.Home != c.g.where(off) {
			continue
		}
		f := frame{}
		f.Kind, f.Head = record.KindDelivery, d.Append(nil)
		t.frames = append(t.frames, f)
		list, live = append(list, d), append(live, slot)
	}
	if len(live) == 0 {
		return nil
	}
	for i := range t.frames {
		t.frames[i].home = len(t.frames) - i
	}
	f, err := c.body(off, m)
	if isDamage(err) {
		return nil
	}
	if err != nil {
		return err
	}
	t.frames = append(t.frames, f)
	cost := messageCost(f.Len(), f.Head, len(live))
	t.apply = func(h *hold, to *segment, at []uint32) { s.moved(h, c.g, to, at, live, list, cost) }
	s.flushing.Lock() // no flush may join the line between this check and the ticket
	defer s.flushing.Unlock()
	h := s.hold()
	if flushed != s.flushed { // since then, or still under way
		for i, slot := range live {
			h.step(1)
			s.update(slot, &list[i])
			t.frames[i].Head = list[i].Append(nil)
		}
	}
	h.end()
	c.enqueue(t) // which may take long
	return nil
}

// body is the message's record as it will be, with the content.
func (c *compaction) body(off uint32, m *record.Message) (frame, error) {
	h, _, _, err := record.ReadHead(c.g.file, c.g.salt, int64(off), envelopeSize)
	if err != nil {
		return frame{}, err
	}
	body, err := record.ReadBody(c.g.file, int64(off), h, nil)
	if err != nil {
		return frame{}, err
	}
	copied := *m
	copied.Moved = c.g.number
	f := frame{}
	f.Kind, f.Head, f.Body, f.BodySum = record.KindMessage, copied.Append(nil), body, h.BodySum
	return f, nil
}

// moved puts deliveries at their message's new place. They have been acquired, so none has
// left.
func (s *Spool) moved(
	h *hold, from, to *segment, at []uint32, slots []index.Slot, list []record.Delivery, cost int64,
) {
	to.from[from.number] = true
	to.cost += cost
	for i, slot := range slots {
		h.step(1)
		e := entryOf(&list[i])
		e.Home, e.Record = to.slot, to.place(at[i])
		s.index.Update(slot, &e)
		if c := s.leased(slot); c != nil {
			c.record.Home = to.where(at[len(slots)])
		}
	}
}
