package memory

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Hold keeps a message from being claimed.
func (q *Queue) Hold(ctx context.Context, id string) error {
	return q.setHeld(ctx, id, true, queue.Terms{})
}

// HoldUntil keeps a message from being claimed on some terms.
func (q *Queue) HoldUntil(ctx context.Context, now time.Time, id string, on queue.Terms) error {
	on.Since = now
	return q.setHeld(ctx, id, true, on.Bounded())
}

// Release ends a hold.
func (q *Queue) Release(ctx context.Context, id string) error {
	return q.setHeld(ctx, id, false, queue.Terms{})
}

func (q *Queue) setHeld(ctx context.Context, id string, held bool, on queue.Terms) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.mu.Unlock()
	e, ok := q.entries[id]
	if !ok {
		return queue.ErrNotFound
	}
	t := turns{q: q}
	if !q.holdOn(&t, e, held, on) {
		return queue.ErrClosed
	}
	return nil
}

// holdOn puts a message on hold, or releases it, unless the queue is closed meanwhile.
func (q *Queue) holdOn(t *turns, e *entry, held bool, on queue.Terms) (open bool) {
	was := e.held
	q.forgetEnd(e)
	e.held, e.hold = held, on
	if held && !on.Until.IsZero() {
		q.holds.add(e)
		e.ends = true
	}
	if was == held {
		return true
	}
	if !held {
		q.changes.Add()
	}
	return e.each(t, func(d *delivery) { // in whatever heap it is by then
		q.displace(d)
		q.place(d)
	})
}

// forgetEnd takes a message out of those whose holds end by themselves.
func (q *Queue) forgetEnd(e *entry) {
	if e.ends {
		q.holds.remove(e)
		e.ends = false
	}
}

// endHolds releases messages whose hold has ended, unless the queue is closed
// meanwhile.
func (q *Queue) endHolds(t *turns, now time.Time) (open bool) {
	for !q.holds.empty() && q.holds.first().hold.Over(now) {
		if !q.holdOn(t, q.holds.first(), false, queue.Terms{}) || !t.next() {
			return false
		}
	}
	return true
}
