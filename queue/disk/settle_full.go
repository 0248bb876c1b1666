package disk

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// A settlement that does not fit is recorded in part, so that a lack of room causes no
// duplicates and no settlement prevents the next one from being recorded. Delivered
// recipients are recorded in the reserve. Messages are not created, and the failed
// recipients that they are about stay pending. The time of the next attempt is kept in
// memory.

// noRoomPause is how long the failed of such a settlement wait at least.
const noRoomPause = time.Minute

// reduce has a settlement recorded in part.
func (c *settling) reduce(i int) {
	if c.reduced == nil {
		c.reduced = make([]bool, len(c.batch))
	}
	c.reduced[i] = true
	c.s.abandon(c.created(i))
	if c.drafts != nil {
		c.drafts[i] = nil
	}
}

func (c *settling) isReduced(i int) bool { return c.reduced != nil && c.reduced[i] }

// again settles a settlement once more that had no room: as a whole, if deleting
// unneeded data frees enough, or in part.
func (c *settling) again(ctx context.Context, i int) {
	if c.s.outcomes.Keeps() {
		c.bare = true
		c.retry(ctx, i, working)
	}
	if c.full(i) && c.s.reclaim(ctx) {
		c.retry(ctx, i, working)
	}
	b := &c.batch[i]
	if c.full(i) && !c.isReduced(i) && (len(b.Create) > 0 || !contains(b.Results, queue.Delivered)) {
		c.reduce(i)
		c.retry(ctx, i, partial)
	}
	if c.full(i) && c.s.reclaim(ctx) {
		c.retry(ctx, i, partial)
	}
	if c.full(i) {
		c.retry(ctx, i, ending)
	}
}

// full reports whether a settlement had no room.
func (c *settling) full(i int) bool { return errors.Is(c.settled[i].Err, queue.ErrFull) }

// retry settles one once more, with the given class if it ends a recipient.
func (c *settling) retry(ctx context.Context, i int, as class) {
	c.tickets[i], c.settled[i] = nil, queue.Settled{}
	for _, d := range c.created(i) {
		d.number, d.duplicate = d.file, false
	}
	one := &settling{s: c.s, now: c.now, batch: c.batch[i : i+1], settled: c.settled[i : i+1], tickets: c.tickets[i : i+1], class: as, bare: c.bare}
	if c.drafts != nil {
		one.drafts = c.drafts[i : i+1]
	}
	if c.reduced != nil {
		one.reduced = c.reduced[i : i+1]
	}
	if err := one.all(ctx); err != nil {
		c.settled[i].Err = err
	}
}

// results returns the results that are recorded of a settlement in part.
func (c *settling) results(i int) []queue.Result {
	return slices.DeleteFunc(slices.Clone(c.batch[i].Results), func(r queue.Result) bool { return r.Outcome == queue.Failed })
}

// inMemory reports whether only the time of the next attempt is kept of a settlement,
// and that in memory.
func (c *settling) inMemory(i int) bool {
	return c.isReduced(i) && !contains(c.batch[i].Results, queue.Delivered)
}

// next is when those who stay are tried again.
func (c *settling) next(i int) time.Time {
	at := c.batch[i].NotBefore
	if least := c.now.Add(noRoomPause); c.isReduced(i) && contains(c.batch[i].Results, queue.Failed) && at.Before(least) {
		return least
	}
	return at
}

func contains(list []queue.Result, o queue.Outcome) bool {
	return slices.ContainsFunc(list, func(r queue.Result) bool { return r.Outcome == o })
}
