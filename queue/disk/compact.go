package disk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// compaction moves the needed records of one segment to the end of the log.
type compaction struct {
	s       *Spool
	g       *segment
	ctx     context.Context
	tickets []*ticket
	slots   map[index.Slot]bool // acquired for the tickets
	bytes   int64
	unread  bool // the device could not read some of the segment
	busy    bool // something could not be moved because of what others are writing
}

// compactBatch is how much is moved before it is waited for.
const compactBatch = 1 << 20

// compact moves the needed records of a segment and retires it. Nothing is deleted
// before its replacement is saved.
func (s *Spool) compact(ctx context.Context, g *segment) error {
	s.mu.Lock()
	uncovered, needless := s.uncovered(g), s.needless(g)
	var blocked error
	if s.isBlocked() {
		blocked = s.blocked.err
	}
	s.mu.Unlock()
	if uncovered && blocked != nil {
		return fmt.Errorf("a checkpoint does not fit: %w", blocked)
	}
	if uncovered { // no other record on the disk says what was flushed
		if err := s.takeCheckpoint(ctx); err != nil {
			return err
		}
	}
	if !needless {
		c := &compaction{s: s, g: g, ctx: ctx, slots: map[index.Slot]bool{}}
		err := c.move()
		if err = errors.Join(err, c.flush()); err != nil {
			return fmt.Errorf("%w: %w", errUnmoved, err)
		}
		if c.busy {
			return nil
		}
		s.mu.Lock()
		if c.unread && len(g.gone) > 0 { // who knows which ends are where it cannot be read
			g.broken = true
		}
		broken := g.broken
		s.mu.Unlock()
		if broken {
			return nil
		}
	}
	return s.retire(g)
}

// uncovered reports whether a segment has flushes that no checkpoint has, of
// deliveries that are due by those alone. The lock is held.
func (s *Spool) uncovered(g *segment) bool {
	return g.flushes && g.number >= s.checkpoint.Segment && (s.index.Flushed() > 0 || len(s.flushes) > 0)
}

// retireMax is how many segments are retired at a time at most: what says so is to
// fit the least room that is kept. While the lock is held each is looked for in all
// others, so that where there are many it is fewer.
const retireMax = 64

// retireNeedless retires the segments of a round in which nothing is needed.
func (s *Spool) retireNeedless(ctx context.Context, r *round) error {
	for ctx.Err() == nil {
		var list []*segment
		s.mu.Lock()
		most := max(1, retireMax*holdMax/max(holdMax, len(s.segments.list)))
		for _, g := range s.segments.list {
			if g != nil && r.open(s, g) && s.needless(g) && !s.uncovered(g) {
				list = append(list, g)
				r.tried[g] = true
			}
			if len(list) == most {
				break
			}
		}
		s.mu.Unlock()
		if len(list) == 0 {
			break
		}
		if err := s.retire(list...); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// retire takes segments out of use if nothing in them is needed any more. Records that
// cannot be read could not be moved.
func (s *Spool) retire(list ...*segment) error {
	if err := s.save(); err != nil { // the ends of their deliveries, first of all
		return err
	}
	if err := s.saveKeys(); err != nil {
		return err
	}
	if err := s.saveOutcomes(); err != nil {
		return err
	}
	var dead []*segment
	t := &ticket{durable: true, class: ending}
	s.mu.Lock()
	for _, g := range list {
		r := s.index.Refs(g.slot)
		if r.Homes+r.Records+r.Destinations > 0 {
			g.broken = true
			continue
		}
		f := frame{}
		f.Kind, f.Head = record.KindRetired, (&record.Retired{Segment: g.number}).Append(nil)
		t.frames = append(t.frames, f)
		dead = append(dead, g)
	}
	if len(dead) == 0 {
		s.mu.Unlock()
		return nil
	}
	t.apply = func(*hold, *segment, []uint32) {
		s.segments.remove(dead)
		for _, g := range dead {
			s.logBytes -= g.size
			g.dead = true
			g.pins++
		}
	}
	s.line.enqueue(t)
	s.mu.Unlock()
	if err := s.wait(t); err != nil {
		return err
	}
	for _, g := range dead {
		s.unpin(g)
	}
	if s.short.Load() {
		t := &ticket{class: ending, fills: true}
		s.line.enqueue(t)
		return s.wait(t)
	}
	return nil
}

// move goes through the segment.
func (c *compaction) move() error {
	if err := c.postponements(); err != nil {
		return err
	}
	groups := c.g.groups(record.HeaderSize) // there are none if the file is missing
	for groups.Next() {
		for _, f := range groups.Frames() {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			if err := c.record(&f, groups.Whole()); err != nil {
				return err
			}
			if c.bytes >= compactBatch {
				if err := c.flush(); err != nil {
					return err
				}
			}
		}
	}
	for _, gap := range groups.Gaps() {
		c.unread = c.unread || gap.Err != nil
	}
	return groups.Err()
}

// postponements moves the postponements recorded in the segment. Later ones must be
// applied later, so these are not saved before retire saves the log. If a record of a
// destination is in line and not yet in the index, the destination is skipped. If that
// record cannot be written, or further ones keep coming, the segment is left to another
// round.
func (c *compaction) postponements() error {
	for range mostTries {
		busy := false
		for from, more := 0, true; more; more = from > 0 {
			var some bool
			from, some = c.somePostponements(from)
			busy = busy || some
		}
		if c.busy = busy; !busy {
			return nil
		}
		t := &ticket{durable: true} // behind those in line
		c.s.line.enqueue(t)
		if err := c.s.wait(t); err != nil {
			return err
		}
	}
	return nil
}

func (c *compaction) somePostponements(from int) (next int, busy bool) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	older := s.olderRecords(c.g)
	list, next := s.index.Postponements(c.g.slot, from, holdMax)
	for _, p := range list {
		if s.passing[p.Name] > 0 {
			busy = true
			continue
		}
		if s.index.Over(p) && !older(p) {
			s.index.Forget(p.Name)
			continue
		}
		t := s.postpone(queue.Postponement{Destination: p.Name, Until: p.Until, Reason: p.Reason})
		t.class = moving
		s.line.enqueue(t)
		c.tickets = append(c.tickets, t)
	}
	return next, busy
}

// record moves a record if it is needed. The index decides this for messages and
// deliveries; the end of a delivery counts if its group is complete.
func (c *compaction) record(f *record.Located, whole bool) error {
	off := uint32(f.From)
	switch f.Kind {
	case record.KindMessage:
		m, _ := record.ParseMessage(f.Head) // what cannot be parsed is not in the index
		return c.message(off, &m)
	case record.KindDelivery:
		d, _ := record.ParseDeliveryState(f.Head) // neither is such a one
		if d.Home.Segment == c.g.number {
			return nil // it goes with its message
		}
		return c.delivery(off, &d)
	case record.KindGone:
		r, err := record.ParseGone(f.Head)
		if err != nil || r.Home == c.g.number || !whole {
			return nil
		}
		c.gone(&r)
	}
	return nil
}

// delivery moves the record of a delivery whose message lies elsewhere.
func (c *compaction) delivery(off uint32, old *record.Delivery) error {
	s := c.s
	s.mu.Lock()
	slot, found := s.index.Find(old.ID, old.Destination)
	current := found && s.index.Get(slot).Record == c.g.place(off)
	s.mu.Unlock()
	if !current {
		return nil
	}
	if err := c.acquire([]index.Slot{slot}); err != nil {
		return err
	}
	d, h, err := s.readDelivery(slot, old.ID)
	if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	s.unpin(h.segment)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index.Get(slot).Record == c.g.place(off) {
		c.enqueue(s.rewrite(slot, &d, false))
	}
	return nil
}

// gone moves the end of a delivery for as long as its message's segment, which
// would bring it back, is there.
func (c *compaction) gone(r *record.Gone) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.segments.byNumber[r.Home] == nil {
		return
	}
	f := frame{}
	f.Kind, f.Head = record.KindGone, r.Append(nil)
	home := r.Home
	c.enqueue(&ticket{frames: []frame{f}, apply: func(_ *hold, g *segment, _ []uint32) { g.keepGone(home) }})
}

// enqueue puts a ticket in line that must be saved.
func (c *compaction) enqueue(t *ticket) {
	t.durable, t.class = true, moving
	for i := range t.frames {
		c.bytes += t.frames[i].Len()
	}
	c.s.line.enqueue(t)
	c.tickets = append(c.tickets, t)
}

// acquire reserves deliveries until the next flush. It never waits while it has
// others reserved or tickets in line.
func (c *compaction) acquire(slots []index.Slot) error {
	var fresh []index.Slot
	for _, slot := range slots {
		if !c.slots[slot] {
			fresh = append(fresh, slot)
		}
	}
	c.s.mu.Lock()
	free := len(fresh) <= holdMax && c.s.reserved.takeAll(fresh)
	c.s.mu.Unlock()
	if free {
		for _, slot := range fresh {
			c.slots[slot] = true
		}
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.s.acquire(c.ctx, slots); err != nil {
		return err
	}
	for _, slot := range slots {
		c.slots[slot] = true
	}
	return nil
}

// flush waits for the records moved so far.
func (c *compaction) flush() error {
	var err error
	for _, t := range c.tickets {
		err = errors.Join(err, c.s.wait(t))
	}
	c.s.release(slices.Collect(maps.Keys(c.slots)))
	clear(c.slots)
	c.tickets, c.bytes = nil, 0
	return err
}
