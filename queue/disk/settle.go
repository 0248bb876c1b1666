package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// Settle records outcomes and puts the messages they create.
func (s *Spool) Settle(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	c := &settling{s: s, now: now.Round(0), batch: batch,
		settled: make([]queue.Settled, len(batch)), drafts: make([][]*draft, len(batch)),
		tickets: make([]*ticket, len(batch))}
	c.read(ctx)
	slots := c.find()
	if err := s.acquire(ctx, slots); err != nil {
		c.abandon()
		return nil, err
	}
	defer s.release(slots)
	c.load()
	for next := 0; next < len(batch); {
		var err error
		if next, err = c.round(ctx, next); err != nil {
			c.abandon()
			return nil, err
		}
	}
	c.abandon()
	return c.settled, nil
}

// settling is one call of Settle.
type settling struct {
	s       *Spool
	now     time.Time
	batch   []queue.Settlement
	settled []queue.Settled
	drafts  [][]*draft
	tickets []*ticket
	done    map[index.Slot]bool
}

// round settles from the given settlement on, up to one that creates a message
// with the same key as one before it: whether that is put must be known first.
// It returns where to go on.
func (c *settling) round(ctx context.Context, from int) (int, error) {
	s := c.s
	var drafts []*draft
	for _, list := range c.drafts[from:] {
		drafts = append(drafts, list...)
	}
	if err := s.awaitKeys(ctx, drafts); err != nil {
		return from, err
	}
	to := from
	for ; to < len(c.batch) && !s.anyReserved(c.drafts[to]); to++ {
		if c.settled[to].Err == nil {
			c.settled[to].Err = c.settle(to)
		}
	}
	s.mu.Unlock()
	c.wait(from, to)
	s.freeKeys(drafts)
	return to, nil
}

// abandon deletes the files of the messages that were not put.
func (c *settling) abandon() {
	for i, drafts := range c.drafts {
		for _, d := range drafts {
			if c.tickets[i] == nil || c.settled[i].Err != nil || d.duplicate {
				c.s.abandon([]*draft{d})
			}
		}
	}
}

// read reads the messages to create. A settlement with one that cannot be put
// is out.
func (c *settling) read(ctx context.Context) {
	for i := range c.batch {
		for _, m := range c.batch[i].Create {
			d, err := c.s.read(ctx, m)
			if err != nil {
				c.settled[i].Err = err
				c.s.abandon(c.drafts[i])
				c.drafts[i] = nil
				break
			}
			c.drafts[i] = append(c.drafts[i], d)
		}
	}
}

// find returns the deliveries that are to be settled.
func (c *settling) find() []index.Slot {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	var slots []index.Slot
	for i := range c.batch {
		if slot, ok := c.slot(i); ok && !slices.Contains(slots, slot) {
			slots = append(slots, slot)
		}
	}
	return slots
}

// slot is the delivery of a settlement whose lease is not lost. The lock is
// held.
func (c *settling) slot(i int) (index.Slot, bool) {
	l := &c.batch[i].Lease
	number, ok := parseID(l.Message)
	if !ok {
		return 0, false
	}
	slot, found := c.s.index.Find(number, l.Destination)
	return slot, found && c.s.holds(slot, number, l.Token) && !c.done[slot]
}

// load reads the records that the leases do not have.
func (c *settling) load() {
	for i := range c.batch {
		c.s.mu.Lock()
		slot, ok := c.slot(i)
		need := ok && c.s.leased(slot) == nil
		number, _ := parseID(c.batch[i].Lease.Message)
		c.s.mu.Unlock()
		if !need || c.settled[i].Err != nil {
			continue
		}
		d, h, err := c.s.readDelivery(slot, number)
		if err != nil {
			c.settled[i].Err = c.unreadable(i, err)
			continue
		}
		c.s.unpin(h.segment)
		c.s.mu.Lock()
		if c.s.index.Is(slot, number) {
			c.s.index.Note(slot, &claimed{d, true})
		}
		c.s.mu.Unlock()
	}
}

// unreadable is the error of a settlement whose delivery's record cannot be
// read: none where it only gives the delivery back.
func (c *settling) unreadable(i int, err error) error {
	if b := &c.batch[i]; len(b.Results)+len(b.Create) == 0 {
		return nil
	}
	if errors.Is(err, queue.ErrNotFound) {
		return queue.ErrLeaseLost
	}
	return err
}

// settle puts one settlement in line. The lock is held, and nobody else changes
// the delivery.
func (c *settling) settle(i int) error {
	s, b := c.s, &c.batch[i]
	slot, ok := c.slot(i)
	if !ok {
		return queue.ErrLeaseLost
	}
	if s.failure != nil {
		return s.failure
	}
	e := s.index.Get(slot)
	note := s.leased(slot)
	if note == nil && len(b.Results)+len(b.Create) > 0 {
		return fmt.Errorf("%w: %s", queue.ErrDamaged, b.Lease.Message)
	}
	if c.done == nil {
		c.done = map[index.Slot]bool{}
	}
	if note == nil {
		c.giveBack(slot, e, b)
		return nil
	}
	d := note.record
	amend(&d, &e)
	var err error
	if d.Recipients, err = results(d.Recipients, b.Results, c.now); err != nil {
		return err
	}
	d.Claimed = false
	d.Warned = d.Warned || b.Warned
	d.Due, d.AtOnce = b.NotBefore.Round(0), b.NotBefore.IsZero()
	if d.AtOnce {
		d.Due = c.now
	}
	t := s.outcome(slot, &d)
	for _, f := range c.drafts[i] {
		c.create(f)
		c.settled[i].Created = append(c.settled[i].Created, formatID(f.number))
		if !f.duplicate {
			s.encode(c.now, f, t)
			t.durable = true
		}
	}
	c.done[slot] = true
	c.tickets[i] = t
	s.enqueue(t)
	return nil
}

// create gives a draft the number of a message with its key, where there is one
// or will be one by this very settlement.
func (c *settling) create(f *draft) {
	if n, reserved := c.s.keys.reserved[f.key]; f.keyed && reserved {
		f.number, f.duplicate = n, true
		return
	}
	c.s.reserveKey(f)
}

// giveBack reschedules a delivery that cannot be read, in memory only.
func (c *settling) giveBack(slot index.Slot, e index.Entry, b *queue.Settlement) {
	e.AtOnce, e.Since = b.NotBefore.IsZero(), index.Micros(b.NotBefore)
	if e.AtOnce {
		e.Since = index.Micros(c.now)
	}
	e.Flags &^= index.Claimed
	c.s.index.Set(&e)
	c.s.index.Unlease(slot)
	c.done[slot] = true
}

// results returns the recipients that stay pending after some results.
func results(before []record.Recipient, list []queue.Result, now time.Time) ([]record.Recipient, error) {
	after := slices.Clone(before)
	named := make([]bool, len(after))
	for _, r := range list {
		at, pending := slices.BinarySearchFunc(after, r.Recipient,
			func(p record.Recipient, index int) int { return p.Index - index })
		if !pending || named[at] {
			return nil, &queue.ResultError{Recipient: r.Recipient}
		}
		named[at] = true
		p := &after[at]
		p.Attempts++
		p.Outcome, p.Reply, p.Tried = r.Outcome, r.Reply.Bounded(), now
	}
	return slices.DeleteFunc(after, func(p record.Recipient) bool {
		return p.Outcome == queue.Delivered || p.Outcome == queue.Failed
	}), nil
}

// outcome makes the ticket of a settlement: what stays of the delivery, or its
// end. The lock is held.
func (s *Spool) outcome(slot index.Slot, d *record.Delivery) *ticket {
	if len(d.Recipients) == 0 {
		return &ticket{frames: []frame{s.goneFrame(slot)}, apply: func(g *segment, _ []uint32) {
			s.gone(g, slot)
		}}
	}
	t := s.rewrite(slot, d)
	stay := t.apply
	t.apply = func(g *segment, at []uint32) {
		stay(g, at)
		s.index.Unlease(slot)
	}
	return t
}

func (s *Spool) goneFrame(slot index.Slot) frame {
	e := s.index.Get(slot)
	r := record.Gone{ID: e.Message, Destination: e.Destination, Home: s.segments.list[e.Home].number}
	f := frame{}
	f.Kind, f.Head = record.KindGone, r.Append(nil)
	return f
}

// gone takes a delivery out of the index that the segment says is gone.
func (s *Spool) gone(g *segment, slot index.Slot) {
	e := s.index.Get(slot)
	g.keepGone(s.segments.list[e.Home].number)
	s.sinceMaintenance += index.MessageBytes(e.Size, e.Flags)
	if s.index.Remove(slot) && e.Flags&index.InFile != 0 {
		s.deadContents = append(s.deadContents, e.Message)
	}
}

// keepGone counts the end of a delivery whose message's record is in a segment.
// Where that is g itself both go together.
func (g *segment) keepGone(home uint64) {
	g.cost += index.SmallCost
	if home != g.number {
		g.gone[home]++
	}
}

// wait waits for the tickets of some settlements and tells their errors.
func (c *settling) wait(from, to int) {
	for i := from; i < to; i++ {
		if c.tickets[i] == nil {
			continue
		}
		if err := c.s.wait(c.tickets[i]); err != nil {
			c.settled[i] = queue.Settled{Err: err}
		}
	}
}
