package disk

import (
	"context"
	"errors"
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
		settled: make([]queue.Settled, len(batch)), tickets: make([]*ticket, len(batch))}
	c.read(ctx)
	err := c.all(ctx)
	for i := range batch {
		if err == nil && c.full(i) {
			c.again(ctx, i)
		}
		if c.isReduced(i) && c.settled[i].Err == nil {
			c.settled[i].NoRoom = len(batch[i].Create) > 0 || contains(batch[i].Results, queue.Failed)
		}
	}
	c.abandon()
	if err != nil {
		return nil, err
	}
	return c.settled, nil
}

// all settles everything once.
func (c *settling) all(ctx context.Context) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer func() { c.s.release(c.slots) }()
	for next := 0; next < len(c.batch); {
		var err error
		if next, err = c.round(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

// settling is one call of Settle.
type settling struct {
	s       *Spool
	now     time.Time
	batch   []queue.Settlement
	settled []queue.Settled
	drafts  [][]*draft // nil if no settlement creates a message
	tickets []*ticket
	reduced []bool              // settlements that are recorded in part; nil if there are none
	class   class               // of settlements that end a recipient
	bare    bool                // outcomes are kept in memory: there is no room for them in the log
	slots   []index.Slot        // acquired
	done    map[index.Slot]bool // nil if there is one settlement
}

// created are the drafts of one settlement.
func (c *settling) created(i int) []*draft {
	if c.drafts == nil {
		return nil
	}
	return c.drafts[i]
}

// round settles from the given settlement on, as many as one hold of the lock takes, up
// to one that creates a message with the same key as one before it: whether that is put
// must be known first.
// It returns where to go on.
func (c *settling) round(ctx context.Context, from int) (int, error) {
	s := c.s
	to := c.alone(from)
	var drafts []*draft
	for i := from; i < to; i++ {
		drafts = append(drafts, c.created(i)...)
	}
	for _, d := range drafts {
		s.encode(c.now, d, d.ticket.init())
	}
	if err := s.claimKeys(ctx, c.now, drafts); err != nil {
		return from, err
	}
	s.mu.Lock()
	for i := from; i < to; i++ {
		if c.settled[i].Err == nil {
			c.settled[i].Err = c.settle(i)
		}
	}
	s.mu.Unlock()
	for i := from; i < to; i++ { // in this order, which is that of their outcomes
		c.enqueue(i)
	}
	c.wait(from, to)
	s.freeKeys(drafts)
	return to, nil
}

// alone returns the end of such a round.
func (c *settling) alone(from int) int {
	last := min(from+holdMax, len(c.batch))
	if c.drafts == nil {
		return last
	}
	known := map[keyHash]int{} // which settlement has one
	for i := from; i < last; i++ {
		for _, d := range c.created(i) {
			if !d.keyed {
				continue
			}
			if by, is := known[d.key]; is && by != i {
				return i
			}
			known[d.key] = i
		}
	}
	return last
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
		if len(c.batch[i].Create) > 0 && c.drafts == nil {
			c.drafts = make([][]*draft, len(c.batch))
		}
		bytes := int64(0)
		for _, m := range c.batch[i].Create {
			d, err := c.s.read(ctx, m)
			if err == nil {
				c.drafts[i] = append(c.drafts[i], d)
				if bytes += d.bytes; bytes > c.s.limits.group {
					err = tooMany(-1)
				}
			}
			if errors.Is(err, queue.ErrFull) {
				c.reduce(i)
				break
			}
			if err != nil {
				c.settled[i].Err = err
				c.s.abandon(c.drafts[i])
				c.drafts[i] = nil
				break
			}
		}
	}
}

// acquire acquires the deliveries that are to be settled, and reads what the
// leases do not have of them.
func (c *settling) acquire(ctx context.Context) error {
	s := c.s
	if len(c.batch) > 1 {
		c.done = make(map[index.Slot]bool, len(c.batch))
	}
	c.slots = make([]index.Slot, 0, len(c.batch))
	h := s.hold()
	read := c.find(h)
	few := len(c.slots) <= holdMax
	if few {
		c.sort()
	}
	free := few && s.reserved.takeAll(c.slots)
	h.end()
	if !few {
		c.sort()
	}
	if !free {
		if err := s.acquire(ctx, c.slots); err != nil {
			return err
		}
	}
	if !read {
		c.load()
	}
	return nil
}

// find finds the deliveries that are to be settled, and reports whether the
// leases have all their records.
func (c *settling) find(h *hold) (read bool) {
	read = true
	for i := range c.batch {
		h.step(1)
		slot, ok := c.slot(i)
		if !ok {
			continue
		}
		c.slots = append(c.slots, slot)
		read = read && c.s.leased(slot) != nil
	}
	return read
}

// sort leaves each of the deliveries once, in the order in which they are acquired.
func (c *settling) sort() {
	if len(c.slots) > 1 {
		slices.Sort(c.slots)
		c.slots = slices.Compact(c.slots)
	}
}

// slot is the delivery of a settlement whose lease is not lost. The lock is
// held.
func (c *settling) slot(i int) (index.Slot, bool) {
	slot, ok := c.s.slotOf(&c.batch[i].Lease)
	return slot, ok && !c.done[slot]
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
		note := &claimed{record: d}
		if m, h, err := c.s.readMessage(d.Home, number, make([]byte, envelopeSize)); err == nil {
			c.s.unpin(h.segment)
			note = noteOf(&d, &m)
		}
		c.s.mu.Lock()
		if c.s.index.Is(slot, number) {
			c.s.index.Note(slot, note)
		}
		c.s.mu.Unlock()
	}
}

// unreadable returns the error of a settlement whose delivery's record cannot be read:
// nil if it only gives the delivery back.
func (c *settling) unreadable(i int, err error) error {
	if b := &c.batch[i]; len(b.Results)+len(b.Create) == 0 {
		return nil
	}
	return err
}

// settle makes the ticket of one settlement. The lock is held, and no other call changes
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
	if note == nil { // it only gives the delivery back: load has seen to the others
		c.giveBack(slot, e, c.next(i))
		return nil
	}
	d := note.record
	amend(&d, &e)
	left, over, err := results(d.Recipients, b.Results, c.now)
	if err == nil && c.isReduced(i) {
		left, over, err = results(d.Recipients, c.results(i), c.now)
	}
	if err != nil {
		return err
	}
	if c.inMemory(i) {
		c.giveBack(slot, e, c.next(i))
		return nil
	}
	d.Recipients = left
	s.limits.fitReplies(d.Recipients)
	d.Marked = false
	d.Warned = d.Warned || b.Warned && !c.isReduced(i)
	d.Because = b.BoundedReason()
	next := c.next(i)
	d.Due, d.AtOnce = next.Round(0), next.IsZero()
	if d.AtOnce {
		d.Due = c.now
	}
	t := s.outcome(slot, &d, note.left(c.now))
	recorded := s.keepOutcomes(t, &record.Outcomes{Time: c.now, ID: d.ID, Tenant: d.Tenant, Key: note.name}, over, !c.bare)
	switch {
	case len(c.created(i)) > 0:
	case recorded: // for which there may be no room
		t.class = c.class
	case len(left) == 0:
		t.class = ending
	case len(left) < len(note.record.Recipients):
		t.class = c.class
	}
	c.settledNow(slot)
	c.tickets[i] = t
	return nil
}

// enqueue puts a settlement in line, with the messages that it creates. It need not have
// the lock, and with many messages it takes long.
func (c *settling) enqueue(i int) {
	t := c.tickets[i]
	if t == nil {
		return
	}
	for _, f := range c.created(i) {
		c.settled[i].Created = append(c.settled[i].Created, formatID(f.number))
		if !f.duplicate {
			t.join(&f.ticket)
			t.durable, t.changes = true, true
		}
	}
	c.s.line.enqueue(t)
}

// giveBack reschedules a delivery in memory only.
func (c *settling) giveBack(slot index.Slot, e index.Entry, next time.Time) {
	e.AtOnce, e.Since = next.IsZero(), index.Micros(next)
	if e.AtOnce {
		e.Since = index.Micros(c.now)
	}
	e.Flags &^= index.Marked
	c.s.index.Set(&e)
	c.s.index.Unlease(slot)
	c.s.changes.Add()
}

// settledNow loses the lease for the settlements after this one.
func (c *settling) settledNow(slot index.Slot) {
	if c.done != nil {
		c.done[slot] = true
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
