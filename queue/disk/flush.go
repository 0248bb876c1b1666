package disk

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// A flush is one record in the log, which applies to every delivery whose record is
// before it. The index follows in pieces, in the order of the log. Meanwhile, calls
// that write a delivery's record again include the flushes before it. So the log and
// the index always agree, even for calls in between.
type flush struct {
	index.Flushing
	record record.Flush
	at     record.Place // once it is written
	done   bool
}

// Flush makes deliveries due at once. It is done in pieces: deliveries that arrive or are
// postponed meanwhile may be included or not.
func (s *Spool) Flush(ctx context.Context, now time.Time, what ...queue.Selection) (int, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.end()
	list, err := s.selected(now, what)
	if err == nil {
		err = s.endHolds(ctx, now)
	}
	if err != nil {
		return 0, err
	}
	s.expire(now)
	list, counted := distinct(list)
	n := 0
	for len(list) > 0 {
		some := min(len(list), maxFlushes)
		counts, err := s.flushEach(list[:some], counted)
		if err != nil {
			return 0, err
		}
		list, n = list[some:], n+counts
	}
	s.changes.Add()
	return n, nil
}

// expire ends the leases that are over, so that flushes find their deliveries.
func (s *Spool) expire(now time.Time) {
	for more := true; more; {
		s.mu.Lock()
		more = s.index.Expire(now, holdMax)
		s.mu.Unlock()
	}
}

// maxFlushes is how many flushes are in line at a time; each call that writes a record
// checks all of them.
const maxFlushes = 64

// selected is what a call is to flush.
func (s *Spool) selected(now time.Time, what []queue.Selection) ([]record.Flush, error) {
	list := make([]record.Flush, 0, len(what))
	h := s.hold()
	defer h.end()
	for i := range what {
		h.step(1)
		if !what[i].ByName() {
			return nil, errByName
		}
		r := record.Flush{Since: now.Round(0), Destination: what[i].Destination}
		if what[i].Message != "" {
			number, _ := parseID(what[i].Message) // nothing is found if it is not valid
			if !s.index.Has(number) {
				return nil, queue.ErrNotFound
			}
			r.Message = number
		}
		if len(r.Destination) <= maxName { // otherwise no mail waits for it
			list = append(list, r)
		}
	}
	return list, nil
}

// distinct leaves out selections that others include. The remaining selections of
// messages may have deliveries at destinations that are also selected; these
// destinations are returned, so that they are counted once.
func distinct(list []record.Flush) (left []record.Flush, counted map[string]bool) {
	if len(list) < 2 {
		return list, nil
	}
	type names struct {
		message     uint64
		destination string
	}
	known := map[names]bool{}
	counted = map[string]bool{}
	add := func(r *record.Flush) {
		if n := (names{r.Message, r.Destination}); !known[n] {
			known[n] = true
			left = append(left, *r)
		}
	}
	for i := range list { // those that name most come first
		switch r := &list[i]; {
		case r.Message != 0:
		case r.Destination == "":
			return list[i : i+1], nil
		default:
			counted[r.Destination] = true
			add(r)
		}
	}
	for i := range list {
		if r := &list[i]; r.Destination == "" {
			add(r)
		}
	}
	for i := range list {
		if r := &list[i]; !counted[r.Destination] && !known[names{r.Message, ""}] {
			add(r)
		}
	}
	return left, counted
}

// flushEach sees some flushes to their end and returns how many deliveries they name
// that can be claimed.
func (s *Spool) flushEach(list []record.Flush, counted map[string]bool) (int, error) {
	mine := make([]*flush, len(list))
	t := &ticket{ordered: true}
	lifted := map[string]bool{}
	for i := range list {
		mine[i] = s.newFlush(&list[i])
		mine[i].Counted = counted
		t.join(mine[i].ticket())
	}
	for i := range list {
		for _, name := range s.toLift(&list[i]) {
			if !lifted[name] {
				lifted[name] = true
				t.join(s.postpone(queue.Postponement{Destination: name}))
			}
		}
	}
	names := slices.Collect(maps.Keys(lifted))
	s.flushing.Lock()
	s.mu.Lock()
	s.flushes = append(s.flushes, mine...)
	s.flushed++
	s.mu.Unlock()
	s.pass(t, names)
	s.flushing.Unlock()
	if err := s.passed(t, names); err != nil {
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
	return n, nil
}

// toLift returns the destinations whose postponements a flush ends: those of a
// message's deliveries, one, both, or all.
func (s *Spool) toLift(r *record.Flush) (list []string) {
	if r.Message == 0 && r.Destination == "" {
		for from, more := 0, true; more; more = from > 0 {
			list = slices.Grow(list, holdMax) // rather than while the lock is held
			s.mu.Lock()
			list, from = s.index.AllPostponed(list, from, holdMax)
			s.mu.Unlock()
		}
		return list
	}
	var slots []index.Slot
	if r.Message != 0 {
		slots = s.slots(r.Message)
	}
	list = make([]string, 0, 1+len(slots))
	h := s.hold()
	defer h.end()
	if r.Message == 0 && s.index.IsPostponed(r.Destination) {
		list = append(list, r.Destination)
	}
	for _, slot := range slots {
		h.step(1)
		if !s.index.Is(slot, r.Message) {
			continue
		}
		name := s.index.Get(slot).Destination
		if (r.Destination == "" || r.Destination == name) && s.index.IsPostponed(name) {
			list = append(list, name)
		}
	}
	return list
}

// newFlush returns a flush to be put in line.
func (s *Spool) newFlush(r *record.Flush) *flush {
	f := &flush{record: *r}
	f.Since, f.Message, f.Destination = index.Micros(r.Since), r.Message, r.Destination
	f.Earlier = func(p index.Place) bool {
		return s.segments.list[p.Segment].where(p.Offset).Before(f.at)
	}
	return f
}

func (f *flush) ticket() *ticket {
	r := frame{}
	r.Kind, r.Head = record.KindFlush, f.record.Append(nil)
	return &ticket{frames: []frame{r}, apply: func(_ *hold, g *segment, at []uint32) {
		g.flushes = true
		f.at = g.where(at[0])
	}}
}

func (f *flush) written() bool { return f.at.Segment != 0 }

// names reports whether a flush speaks of a delivery, as far as names go.
func (f *flush) names(e *index.Entry) bool {
	return (f.Message == 0 || f.Message == e.Message) && (f.Destination == "" || f.Destination == e.Destination)
}

// flushSome continues the first flush that is in the log and not completely in the
// index. There is one. The lock is held.
func (s *Spool) flushSome() {
	i := slices.IndexFunc(s.flushes, (*flush).written)
	if f := s.flushes[i]; s.index.Flush(&f.Flushing, holdMax) {
		f.done = true
		s.flushes = slices.Delete(s.flushes, i, i+1)
	}
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

// finishWritten sees those flushes to their end that are in the log now.
func (s *Spool) finishWritten() {
	s.mu.Lock()
	var list []*flush
	for _, f := range s.flushes {
		if f.written() {
			list = append(list, f)
		}
	}
	s.mu.Unlock()
	for _, f := range list {
		s.finish(f)
	}
}

// update sets the due time of a delivery that will be written, and has been acquired,
// to what the log says at the place of its new record. The lock is held.
func (s *Spool) update(slot index.Slot, d *record.Delivery) {
	e := s.index.Get(slot)
	d.AtOnce = e.AtOnce
	if index.Micros(d.Due) != e.Since {
		d.Due = time.UnixMicro(e.Since).UTC()
	}
	if e.Flags&index.Held != 0 {
		return
	}
	_, until, _, _ := s.index.Leased(slot) // zero if there is no lease
	for _, f := range s.flushes {
		if until.After(f.record.Since) {
			continue
		}
		if f.names(&e) && !d.AtOnce && index.Micros(d.Due) > f.Since && (!f.written() || f.Earlier(e.Record)) {
			d.AtOnce, d.Due = true, f.record.Since
		}
	}
}

// flushAll does what a record of a flush says, while opening.
func (s *Spool) flushAll(r *record.Flush, at record.Place) {
	s.endHoldsBefore(r.Since)
	f := s.newFlush(r)
	f.at = at
	for !s.index.Flush(&f.Flushing, holdMax) {
	}
}
