package disk

import (
	"errors"
	"fmt"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// restore loads the newest intact checkpoint and returns the place from which
// the log must be read.
func (s *Spool) restore(f *found) (record.Place, error) {
	for _, number := range f.checkpoints {
		name := fileName(checkpointPrefix, number)
		from, err := s.restoreFrom(name, number)
		switch {
		case errors.Is(err, record.ErrNewer):
			return from, fmt.Errorf("%w: %s: %w", ErrNewer, name, err)
		case !isDamage(err): // or it is well
			return from, err
		}
		s.problem(name, -1, err)
		s.forget()
	}
	return record.Place{}, nil
}

// forget undoes what was loaded from a checkpoint.
func (s *Spool) forget() {
	s.index, s.keys.known, s.holdEnds = index.New(), map[keyHash]uint64{}, holdEnds{}
	for _, g := range s.ghosts {
		s.segments.list[g.slot] = nil
	}
	s.ghosts = nil
	for _, g := range s.segments.byNumber {
		g.cost = 0
		clear(g.gone)
		clear(g.from)
	}
}

func (s *Spool) restoreFrom(name string, number uint64) (record.Place, error) {
	file, err := s.files.another(func() (vfs.File, error) { return s.fs.Open(name, false) })
	if err != nil {
		return record.Place{}, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return record.Place{}, err
	}
	h, err := record.ReadHeader(file, record.CheckpointFile)
	if err != nil {
		return record.Place{}, err
	}
	if h.Number != number {
		return record.Place{}, fmt.Errorf("header of another checkpoint: %w", record.ErrDamaged)
	}
	l := &loader{s: s, file: file, size: size, salt: h.Salt}
	if err := l.check(); err != nil {
		return record.Place{}, err
	}
	if err := l.rows(); err != nil {
		return record.Place{}, err
	}
	s.checkpoint, s.checkpointSize = l.first.From, size
	s.atLeast(l.first.Next)
	return l.first.From, nil
}

// loader reads a checkpoint twice: first the names, which are at its end, and then the
// rows, which refer to them by number. Nothing is used before the whole is known to be
// intact.
type loader struct {
	s            *Spool
	file         vfs.File
	size         int64
	salt         uint64
	first, last  *record.Table
	destinations map[uint32]*record.DestinationState
	tenants      map[uint32]string
	slots        map[uint16]*segment
}

func (l *loader) each(f func(*record.Table) error) error {
	scan := record.NewScanner(l.file, l.size, l.salt, record.HeaderSize)
	for scan.Next() {
		t, err := record.ParseTable(scan.Frame().Head)
		if err == nil {
			err = f(t)
		}
		if err != nil {
			return err
		}
	}
	if scan.Err() != nil {
		return scan.Err()
	}
	if len(scan.Gaps()) > 0 {
		return fmt.Errorf("at %d: %w", scan.Gaps()[0].From, record.ErrDamaged)
	}
	return nil
}

func (l *loader) check() error {
	l.destinations, l.tenants = map[uint32]*record.DestinationState{}, map[uint32]string{}
	rows := uint64(0)
	err := l.each(func(t *record.Table) error {
		if l.first == nil {
			l.first = t
		}
		rows += uint64(len(t.Rows))
		for i := range t.Destinations {
			l.destinations[t.Destinations[i].Number] = &t.Destinations[i]
		}
		for _, n := range t.Tenants {
			l.tenants[n.Number] = n.Name
		}
		l.last = t
		return nil
	})
	if err == nil && (l.last == nil || !l.last.Last || l.last.Sum != rows) {
		err = fmt.Errorf("incomplete: %w", record.ErrDamaged)
	}
	return err
}

// rows takes the checkpoint over.
func (l *loader) rows() error {
	s := l.s
	l.slots = map[uint16]*segment{}
	for _, n := range l.last.Slots {
		g := s.segments.byNumber[n.Number]
		if g == nil { // retired since
			g = newSegment(n.Number)
			if !s.segments.add(g) { // without the checkpoint fewer are needed
				return fmt.Errorf("too many segments: %w", record.ErrDamaged)
			}
			delete(s.segments.byNumber, g.number)
			s.ghosts = append(s.ghosts, g)
		}
		l.slots[n.Slot] = g
	}
	for _, d := range l.destinations {
		g := l.slots[d.Slot]
		if d.Oldest == 0 || g == nil {
			continue
		}
		p := index.Postponement{Name: d.Name, Until: d.Until, Reason: d.Reason, Record: g.place(d.Offset), Oldest: d.Oldest}
		if p.Until.IsZero() {
			s.index.Lifted(p)
		} else {
			s.index.Postpone(p)
		}
	}
	return l.each(func(t *record.Table) error {
		for i := range t.Segments {
			l.segment(&t.Segments[i])
		}
		for _, k := range t.Keys {
			s.keys.known[k.Hash] = k.Message
		}
		for _, h := range t.Holds {
			s.holdEnds.Set(h.Message, h.Until)
		}
		for i := range t.Rows {
			if err := l.row(&t.Rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *loader) segment(state *record.SegmentState) {
	g := l.s.segments.byNumber[state.Number]
	if g == nil {
		return
	}
	g.cost = state.Cost
	for home, n := range state.Gone {
		if l.s.segments.byNumber[home] != nil {
			g.gone[home] = n
		}
	}
	for _, n := range state.From {
		if l.s.segments.byNumber[n] != nil {
			g.from[n] = true
		}
	}
}

func (l *loader) row(r *record.Row) error {
	d, home, at := l.destinations[r.Destination], l.slots[r.Home], l.slots[r.Record]
	if d == nil || home == nil || at == nil {
		return fmt.Errorf("row of message %d: %w", r.Message, record.ErrDamaged)
	}
	flags := index.Flags(r.Flags)
	e := index.Entry{
		Message: r.Message, Destination: d.Name, Tenant: l.tenants[r.Tenant],
		Priority: int(r.Priority), AtOnce: flags&index.AtOnce != 0, Since: int64(r.Since),
		Home: home.slot, Record: at.place(r.Offset), Size: r.Size, Flags: flags &^ index.AtOnce,
	}
	l.s.index.Set(&e)
	return nil
}
