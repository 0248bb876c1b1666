package disk

import (
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Some file systems report only at a sync that there is no room for what was written.
// It is then unknown how much of it the device has. Everything saved before is there,
// so the segment is cut to that. Records that were acknowledged and not yet saved are
// written after it again: settlements, flushes and postponements, which are kept in
// memory until they are saved. Tickets that wait to be saved are written again, too, if
// there is room.

// mend does that, with the tickets of a batch that wait to be saved, or nil.
func (s *Spool) mend(b *batch) error {
	if err := s.failed(); err != nil {
		return err
	}
	g := s.current
	s.mu.Lock()
	tickets := s.kept
	s.mends++
	s.mu.Unlock()
	if b != nil {
		tickets = append(tickets[:len(tickets):len(tickets)], b.durables()...)
	}
	before := make([][]uint32, len(tickets))
	for i, t := range tickets {
		before[i] = append([]uint32(nil), t.at...)
	}
	start := int64(g.saved)
	err := g.file.Truncate(start)
	if err != nil {
		return s.fail(err)
	}
	end, err := s.writeTickets(g, tickets, start, true)
	if err == nil {
		err = g.file.Sync()
	}
	if err != nil {
		for i, t := range tickets { // the index still says that they stand there
			copy(t.at, before[i])
		}
	}
	if err != nil && !vfs.IsFull(err) {
		return s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.setSize(g, start)
		return writeError(err)
	}
	moved := make(map[record.Place]record.Place)
	for i, t := range s.kept {
		s.moveTicket(g, t, before[i])
		for j, at := range before[i] {
			moved[g.where(at)] = g.where(t.at[j])
		}
	}
	s.outcomes.Move(moved)
	s.setSize(g, end)
	s.torn = false
	s.nowSaved(g)
	return nil
}

// moveTicket is for a ticket that the index has and whose records stand elsewhere
// in the segment now. A flush never does: it is ordered, so that what is written before it
// and waits to be saved has it wait as well. The lock is held.
func (s *Spool) moveTicket(g *segment, t *ticket, before []uint32) {
	for i := range t.frames {
		old, now := g.place(before[i]), g.place(t.at[i])
		if old == now {
			continue
		}
		switch t.frames[i].Kind {
		case record.KindDelivery: // of several for one delivery, the last counts
			d, _ := record.ParseDeliveryState(t.frames[i].Head)
			if slot, found := s.index.Find(d.ID, d.Destination); found {
				s.index.Move(slot, s.index.Get(slot).Home, now)
			}
		case record.KindDestination:
			d, _ := record.ParseDestination(t.frames[i].Head)
			s.index.MovePostponement(d.Name, old, now)
		}
	}
}

// inPieces reports whether the end of a segment that has a record is being written
// again. The lock is held.
func (s *Spool) inPieces(place index.Place) bool {
	g := s.current
	return s.torn && g.slot == place.Segment && place.Offset >= g.saved
}
