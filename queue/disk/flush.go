package disk

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// A flush is one record in the log, which says something of every delivery whose
// own record stands before it. The index follows in pieces, in the order of the log,
// and meanwhile whoever writes a delivery's record anew takes into it what the
// flushes before it say: so the log and the index always agree, whoever comes in
// between.
type flush struct {
	index.Flushing
	record record.Flush
	at     record.Place // once it is written
	done   bool
}

// Flush makes deliveries due at once.
func (s *Spool) Flush(ctx context.Context, now time.Time, what ...queue.Selection) (int, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.end()
	var list []record.Flush
	s.mu.Lock()
	for i := range what {
		if !what[i].ByName() {
			s.mu.Unlock()
			return 0, errByName
		}
		r := record.Flush{Since: now.Round(0), Destination: what[i].Destination}
		if what[i].Message != "" {
			number, ok := parseID(what[i].Message)
			if !ok || !s.index.Has(number) {
				s.mu.Unlock()
				return 0, queue.ErrNotFound
			}
			r.Message = number
		}
		if len(r.Destination) <= maxName { // else nothing waits for it
			list = append(list, r)
		}
	}
	list = s.distinct(list)
	s.index.At(now)
	t := &ticket{ordered: true}
	lifted := map[string]bool{}
	mine := make([]*flush, len(list))
	for i := range list {
		mine[i] = s.newFlush(&list[i])
		t.join(mine[i].ticket())
		for _, name := range s.index.PostponedOf(list[i].Message, list[i].Destination) {
			if !lifted[name] {
				lifted[name] = true
				t.join(s.postpone(queue.Postponement{Destination: name}))
			}
		}
	}
	s.flushes = append(s.flushes, mine...)
	s.flushed++
	if err := s.pass(t); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flushes = slices.DeleteFunc(s.flushes, func(f *flush) bool { return slices.Contains(mine, f) })
		return 0, err
	}
	n := 0
	for _, f := range mine {
		s.finish(f)
		n += f.Count
	}
	s.changes.Add()
	return n, nil
}

// distinct splits selections so that no delivery is named twice. The lock is held.
func (s *Spool) distinct(list []record.Flush) []record.Flush {
	if len(list) < 2 {
		return list
	}
	type names struct {
		message     uint64
		destination string
	}
	var (
		split []record.Flush
		known = map[names]bool{}
	)
	add := func(r record.Flush) {
		if n := (names{r.Message, r.Destination}); !known[n] {
			known[n] = true
			split = append(split, r)
		}
	}
	for _, r := range list { // those that name most come first
		if r.Message == 0 && r.Destination == "" {
			return []record.Flush{r}
		}
		if r.Message == 0 {
			add(r)
		}
	}
	for _, r := range list {
		if r.Message == 0 {
			continue
		}
		for _, slot := range s.index.Slots(r.Message) {
			name := s.index.Get(slot).Destination
			if (r.Destination == "" || r.Destination == name) && !known[names{0, name}] {
				add(record.Flush{Since: r.Since, Message: r.Message, Destination: name})
			}
		}
	}
	return split
}

// newFlush is a flush that is to be put in line. The lock is held.
func (s *Spool) newFlush(r *record.Flush) *flush {
	f := &flush{record: *r}
	f.Since, f.Message, f.Destination = index.Micros(r.Since), r.Message, r.Destination
	f.Earlier = func(p index.Place) bool {
		g := s.segments.list[p.Segment]
		if g == nil || g.number != f.at.Segment {
			return g == nil || g.number < f.at.Segment
		}
		return p.Offset < f.at.Offset
	}
	return f
}

func (f *flush) ticket() *ticket {
	r := frame{}
	r.Kind, r.Head = record.KindFlush, f.record.Append(nil)
	return &ticket{frames: []frame{r}, apply: func(g *segment, at []uint32) {
		g.flushes = true
		f.at = g.where(at[0])
	}}
}

func (f *flush) written() bool { return f.at.Segment != 0 }

// names reports whether a flush speaks of a delivery, as far as names go.
func (f *flush) names(e *index.Entry) bool {
	return (f.Message == 0 || f.Message == e.Message) && (f.Destination == "" || f.Destination == e.Destination)
}

// flushSome goes on with the first flush that is in the log and not yet in the index
// as a whole. It reports false where there is none. The lock is held.
func (s *Spool) flushSome() bool {
	i := slices.IndexFunc(s.flushes, (*flush).written)
	if i < 0 {
		return false
	}
	if f := s.flushes[i]; s.index.Flush(&f.Flushing, holdMax) {
		f.done = true
		s.flushes = slices.Delete(s.flushes, i, i+1)
	}
	return true
}

// finish sees a flush to its end, and those before it.
func (s *Spool) finish(f *flush) {
	for done := false; !done; {
		s.mu.Lock()
		if done = f.done; !done {
			s.flushSome()
		}
		s.mu.Unlock()
	}
}

// update brings a delivery that is to be written, and that has been acquired, to when
// it is due as the log says where its record will stand. The lock is held.
func (s *Spool) update(slot index.Slot, d *record.Delivery) {
	e := s.index.Get(slot)
	d.AtOnce = e.AtOnce
	if index.Micros(d.Due) != e.Since {
		d.Due = time.UnixMicro(e.Since).UTC()
	}
	_, _, _, leased := s.index.Leased(slot)
	if leased || e.Flags&index.Held != 0 {
		return
	}
	for _, f := range s.flushes {
		if f.names(&e) && !d.AtOnce && index.Micros(d.Due) > f.Since && (!f.written() || f.Earlier(e.Record)) {
			d.AtOnce, d.Due = true, f.record.Since
		}
	}
}

// flushAll does what a record of a flush says, while opening.
func (s *Spool) flushAll(r *record.Flush, at record.Place) {
	f := s.newFlush(r)
	f.at = at
	for !s.index.Flush(&f.Flushing, holdMax) {
	}
}
