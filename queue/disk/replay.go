package disk

import (
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// replay reads the log from a place on.
func (s *Spool) replay(u *usage, from record.Place) error {
	for _, number := range u.numbers {
		if number < from.Segment {
			continue
		}
		off := int64(record.HeaderSize)
		if number == from.Segment {
			off = max(off, int64(from.Offset))
		}
		r := &replayer{s: s, g: s.segments.byNumber[number]}
		s.hidden = s.hidden || r.g.file == nil
		if err := r.run(off); err != nil {
			return err
		}
		s.sinceCheckpoint += r.g.size - off
	}
	return nil
}

// groups reads the groups of a segment from a place on where one begins. Whatever
// goes through a segment does so by it.
func (g *segment) groups(from int64) *record.Groups {
	return record.NewGroups(g.file, g.size, g.salt, from)
}

// replayer applies the groups of one segment to the index.
type replayer struct {
	s *Spool
	g *segment
}

// run applies complete groups. An incomplete group that was never saved is ignored. One
// that was saved is damaged: its deliveries are kept if the index has no other record
// of them, so that the damage is reported, and the rest of it is ignored.
func (r *replayer) run(off int64) error {
	if r.g.file == nil {
		return nil
	}
	groups := r.g.groups(off)
	for groups.Next() {
		for _, f := range groups.Frames() {
			if groups.Whole() {
				r.apply(&f, false)
			} else if f.Kind == record.KindDelivery && f.To <= int64(r.g.saved) {
				r.apply(&f, true)
			}
		}
		if !groups.Whole() {
			r.strand(groups.Frames())
		}
	}
	for _, gap := range groups.Gaps() {
		if err := damageOf(gap, int64(r.g.saved)); err != nil {
			r.s.hidden = true
			r.s.problem(fileName(segmentPrefix, r.g.number), gap.From, err)
		}
	}
	return groups.Err()
}

// damageOf returns the damage of a range without a record, or nil if a power cut may
// have caused it: after everything that is known to be saved.
func damageOf(gap record.Gap, saved int64) error {
	switch {
	case gap.Err != nil:
		return fmt.Errorf("%d bytes: %w: %w", gap.To-gap.From, record.ErrDamaged, gap.Err)
	case gap.From < saved:
		return fmt.Errorf("%d bytes: %w", gap.To-gap.From, record.ErrDamaged)
	}
	return nil
}

// strand handles messages of a damaged group that was moved: their remains in the index
// are in a segment that is not in use any more. Their deliveries are placed at the
// damage, so that they do not count as ended.
func (r *replayer) strand(list []record.Located) {
	done := map[uint64]bool{}
	for _, f := range list {
		var number uint64
		switch f.Kind {
		case record.KindMessage:
			if m, err := record.ParseMessage(f.Head); err == nil {
				number = m.ID
			}
		case record.KindDelivery:
			if d, err := record.ParseDeliveryState(f.Head); err == nil {
				number = d.ID
			}
		}
		if number == 0 || done[number] || f.To > int64(r.g.saved) {
			continue
		}
		done[number] = true
		for _, slot := range r.s.slots(number) {
			if r.s.stranded(slot) {
				r.s.index.Move(slot, r.g.slot, r.g.place(uint32(list[0].From)))
			}
		}
	}
}

// stranded reports whether a delivery is known by a checkpoint alone that is older
// than the end of its segment.
func (s *Spool) stranded(slot index.Slot) bool {
	g := s.segments.list[s.index.Get(slot).Home]
	return s.segments.byNumber[g.number] == nil
}

func (r *replayer) apply(f *record.Located, newOnly bool) {
	var err error
	switch f.Kind {
	case record.KindMessage:
		err = r.message(f)
	case record.KindDelivery:
		err = r.delivery(f, newOnly)
	case record.KindGone:
		err = r.gone(f)
	case record.KindDestination:
		err = r.destination(f)
	case record.KindFlush:
		err = r.flush(f)
	case record.KindOutcomes:
		err = r.outcomes(f)
	}
	if err != nil {
		r.s.problem(fileName(segmentPrefix, r.g.number), f.From, err)
	}
}

func (r *replayer) message(f *record.Located) error {
	m, err := record.ParseMessage(f.Head)
	if err != nil {
		return err
	}
	r.s.atLeast(index.Ordinal(m.ID) + 1)
	r.g.cost += messageCost(f.To-f.From, f.Head, 0)
	if r.s.segments.byNumber[m.Moved] != nil { // zero is none
		r.g.from[m.Moved] = true
	}
	if m.Envelope.Key != "" {
		r.s.keys.known[hashKey(m.Envelope.Tenant, m.Envelope.Key)] = m.ID
	}
	return nil
}

func (r *replayer) delivery(f *record.Located, newOnly bool) error {
	d, err := record.ParseDeliveryState(f.Head)
	if err != nil {
		return err
	}
	r.g.cost += index.DeliveryCost
	home := r.s.segments.byNumber[d.Home.Segment]
	if home == nil {
		return nil // all that was needed of that segment was moved later
	}
	if slot, known := r.s.index.Find(d.ID, d.Destination); known && newOnly && !r.s.stranded(slot) {
		return nil
	}
	e := entryOf(&d)
	e.Home, e.Record = home.slot, r.g.place(uint32(f.From))
	r.s.index.Set(&e)
	if d.Held { // else the others of the message may still be, until a time
		r.s.holdEnds.set(d.ID, d.Hold.Until)
	}
	r.s.atLeast(index.Ordinal(d.ID) + 1)
	return nil
}

func (r *replayer) gone(f *record.Located) error {
	d, err := record.ParseGone(f.Head)
	if err != nil {
		return err
	}
	left := leftKey{key: d.Key, at: d.Left}
	if slot, known := r.s.index.Find(d.ID, d.Destination); known && r.s.index.Remove(slot) {
		r.s.hasLeft(left, d.ID)
	} else if known && !left.at.IsZero() {
		r.s.leaving[d.ID] = left // the remaining ones may have ended, too
	}
	home := d.Home
	if r.s.segments.byNumber[home] == nil { // what would bring the delivery back has gone
		home = r.g.number
	}
	r.g.keepGone(home)
	return nil
}

// hasLeft remembers the key of a message that has left, unless a file has it.
func (s *Spool) hasLeft(left leftKey, number uint64) {
	delete(s.leaving, number)
	if !left.at.IsZero() {
		if n, known, err := s.leftWith(left.key, left.at); err == nil && known && n == number {
			left.at = time.Time{}
		}
	}
	s.keys.leave(left, number)
}

func (r *replayer) destination(f *record.Located) error {
	d, err := record.ParseDestination(f.Head)
	if err != nil {
		return err
	}
	r.g.cost += index.SmallCost
	r.s.index.Postpone(index.Postponement{Name: d.Name, Until: d.Postponed, Reason: d.Reason,
		Record: r.g.place(uint32(f.From)), Oldest: r.g.number})
	return nil
}

func (r *replayer) flush(f *record.Located) error {
	d, err := record.ParseFlush(f.Head)
	if err != nil {
		return err
	}
	r.g.flushes = true
	r.s.flushAll(&d, r.g.where(uint32(f.From)))
	return nil
}
