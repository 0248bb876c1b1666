package disk

import (
	"fmt"
	"slices"

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
		if err := r.run(off); err != nil {
			return err
		}
		s.sinceCheckpoint += r.g.size - off
	}
	return nil
}

// replayer applies the groups of one segment to the index.
type replayer struct {
	s     *Spool
	g     *segment
	group []replayed
	next  int64 // where the next frame of the group must begin
}

type replayed struct {
	off  int64
	kind record.Kind
	size int64
	head []byte
}

func (r *replayer) run(off int64) error {
	if r.g.file == nil {
		return nil
	}
	scan := record.NewScanner(r.g.file, r.g.size, r.g.salt, off)
	for scan.Next() {
		f := scan.Frame()
		if f.Flags&record.First != 0 || len(r.group) > 0 && scan.Offset() != r.next {
			r.broken()
		}
		r.group = append(r.group, replayed{scan.Offset(), f.Kind, scan.End() - scan.Offset(), slices.Clone(f.Head)})
		r.next = scan.End()
		first := len(r.group) > 1 || f.Flags&record.First != 0
		if !first {
			r.broken() // the beginning of its group is not there
			continue
		}
		if f.Flags&record.Last != 0 {
			r.whole()
		}
	}
	r.broken()
	for _, gap := range scan.Gaps() {
		if gap.From < int64(r.g.saved) {
			r.s.problem(fileName(segmentPrefix, r.g.number), gap.From,
				fmt.Errorf("%d bytes: %w", gap.To-gap.From, record.ErrDamaged))
		}
	}
	return scan.Err()
}

// whole applies a complete group.
func (r *replayer) whole() {
	for i := range r.group {
		r.apply(&r.group[i], false)
	}
	r.group = r.group[:0]
}

// broken deals with what is left of a group. One that was never saved never
// happened. One that was saved is damaged: the deliveries in it that were new
// stay, so that somebody learns of them, and nothing else of it counts.
func (r *replayer) broken() {
	for i := range r.group {
		if f := &r.group[i]; f.off+f.size <= int64(r.g.saved) && f.kind == record.KindDelivery {
			r.apply(f, true)
		}
	}
	r.group = r.group[:0]
}

func (r *replayer) apply(f *replayed, newOnly bool) {
	var err error
	switch f.kind {
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
	}
	if err != nil {
		r.s.problem(fileName(segmentPrefix, r.g.number), f.off, err)
	}
}

func (r *replayer) message(f *replayed) error {
	m, err := record.ParseMessage(f.head)
	if err != nil {
		return err
	}
	r.s.atLeast(index.Ordinal(m.ID) + 1)
	r.g.cost += index.MessageCost + f.size - record.FrameSize - int64(len(f.head))
	if m.Moved != 0 && r.s.segments.byNumber[m.Moved] != nil {
		r.g.from[m.Moved] = true
	}
	if m.Envelope.Key != "" {
		r.s.keys.known[hashKey(m.Envelope.Tenant, m.Envelope.Key)] = m.ID
	}
	return nil
}

func (r *replayer) delivery(f *replayed, newOnly bool) error {
	d, err := record.ParseDeliveryState(f.head)
	if err != nil {
		return err
	}
	r.g.cost += index.DeliveryCost
	home := r.s.segments.byNumber[d.Home.Segment]
	if home == nil {
		return nil // all that was needed of that segment was moved later
	}
	if _, known := r.s.index.Find(d.ID, d.Destination); known && newOnly {
		return nil
	}
	e := entryOf(&d)
	e.Home, e.Record = home.slot, r.g.place(uint32(f.off))
	r.s.index.Set(&e)
	r.s.atLeast(index.Ordinal(d.ID) + 1)
	return nil
}

func (r *replayer) gone(f *replayed) error {
	d, err := record.ParseGone(f.head)
	if err != nil {
		return err
	}
	if slot, known := r.s.index.Find(d.ID, d.Destination); known {
		r.s.index.Remove(slot)
	}
	if r.s.segments.byNumber[d.Home] != nil {
		r.g.keepGone(d.Home)
	}
	return nil
}

func (r *replayer) destination(f *replayed) error {
	d, err := record.ParseDestination(f.head)
	if err != nil {
		return err
	}
	r.g.cost += index.SmallCost
	r.g.passing = true
	r.s.index.Postpone(index.Postponement{Name: d.Name, Until: d.Postponed, Record: r.g.place(uint32(f.off))})
	return nil
}

func (r *replayer) flush(f *replayed) error {
	d, err := record.ParseFlush(f.head)
	if err != nil {
		return err
	}
	r.g.passing = true
	r.s.index.Flush(index.Micros(d.Since), d.Message, d.Destination)
	return nil
}
