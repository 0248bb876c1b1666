package disk

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// Extend moves the ends of leases.
func (s *Spool) Extend(
	ctx context.Context, now time.Time, leases []queue.Lease, d time.Duration,
) ([]queue.Extended, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	list := make([]queue.Extended, len(leases))
	h := s.hold()
	defer h.end()
	for i, l := range leases {
		h.step(1)
		slot, ok := s.slotOf(&l)
		if !ok {
			list[i].Err = queue.ErrLeaseLost
			continue
		}
		l.Until = now.Round(0).Add(d)
		_, _, note, _ := s.index.Leased(slot)
		s.index.Lease(slot, l.Token, l.Until, note)
		list[i].Lease = l
	}
	return list, nil
}

// slotOf is the delivery of a lease that is not lost. The lock is held.
func (s *Spool) slotOf(l *queue.Lease) (index.Slot, bool) {
	number, _ := parseID(l.Message) // nothing is found if it is not valid
	slot, found := s.index.Find(number, l.Destination)
	return slot, found && s.holds(slot, l.Token)
}

// Mark records that deliveries are about to be sent.
func (s *Spool) Mark(ctx context.Context, leases []queue.Lease) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	slots, err := s.toMark(leases, nil)
	if len(slots) == 0 {
		return err
	}
	if err := s.acquire(ctx, slots); err != nil {
		return err
	}
	defer s.release(slots)
	m := &marking{done: make(chan struct{})}
	defer s.marked(m)
	if slots, err = s.toMark(leases, m); len(slots) == 0 { // as they are now
		return err
	}
	t, err := s.mark(slots)
	if err != nil {
		return err
	}
	return s.wait(t)
}

// marking is a call of Mark whose leases were valid. If a lease has ended and another
// call leases one of its deliveries, that call waits until the marking is done: the
// delivery that it reads then says that it may have been sent.
type marking struct {
	slots []index.Slot
	done  chan struct{}
}

// marked is for when a call of Mark is done.
func (s *Spool) marked(m *marking) {
	h := s.hold()
	defer h.end()
	for _, slot := range m.slots {
		h.step(1)
		delete(s.marking, slot)
	}
	close(m.done)
}

// awaitMark returns when nobody is marking a delivery.
func (s *Spool) awaitMark(slot index.Slot) {
	s.mu.Lock()
	m := s.marking[slot]
	s.mu.Unlock()
	if m != nil {
		<-m.done
	}
}

// toMark returns the deliveries of leases of which none is lost that are to be
// marked and are not yet, each once however often its lease is named, or an error and
// none. For a call that has acquired them, they are then noted with it.
func (s *Spool) toMark(leases []queue.Lease, by *marking) (slots []index.Slot, err error) {
	slots = make([]index.Slot, 0, len(leases))
	h := s.hold()
	for i := range leases {
		h.step(1)
		slot, ok := s.slotOf(&leases[i])
		if !ok {
			h.end()
			return nil, queue.ErrLeaseLost
		}
		if s.index.Get(slot).Flags&(index.AtMostOnce|index.Marked) == index.AtMostOnce {
			slots = append(slots, slot)
			if by != nil {
				s.marking[slot], by.slots = by, append(by.slots, slot)
			}
		}
	}
	h.end()
	slices.Sort(slots)
	return slices.Compact(slots), nil
}

// mark puts the marks of deliveries that have been acquired in line, in one group.
func (s *Spool) mark(slots []index.Slot) (*ticket, error) {
	t := &ticket{durable: true}
	for _, slot := range slots {
		s.mu.Lock()
		e, c := s.index.Get(slot), s.leased(slot)
		s.mu.Unlock()
		if c == nil { // moved since it was claimed
			d, h, err := s.readDelivery(slot, e.Message)
			if err != nil {
				return nil, err
			}
			s.unpin(h.segment)
			c = &claimed{record: d}
		}
		s.mu.Lock()
		d := c.record
		amend(&d, &e)
		d.Marked = true
		one := s.rewrite(slot, &d, false)
		s.mu.Unlock()
		t.join(one) // which may take long
	}
	s.line.enqueue(t)
	return t, nil
}
