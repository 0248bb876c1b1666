package memory

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Hold keeps a message from being claimed.
func (q *Queue) Hold(ctx context.Context, id string) error { return q.setHeld(ctx, id, true) }

// Release ends a hold.
func (q *Queue) Release(ctx context.Context, id string) error { return q.setHeld(ctx, id, false) }

func (q *Queue) setHeld(ctx context.Context, id string, held bool) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.mu.Unlock()
	e, ok := q.entries[id]
	if !ok {
		return queue.ErrNotFound
	}
	if e.held == held {
		return nil
	}
	e.held = held
	for d := range e.pending() {
		q.displace(d)
		q.place(d)
	}
	return nil
}

// pending goes through the deliveries that are not done with.
func (e *entry) pending() func(yield func(*delivery) bool) {
	return func(yield func(*delivery) bool) {
		for _, d := range e.deliveries {
			if len(d.states) > 0 && !yield(d) {
				return
			}
		}
	}
}

// Drop removes a message.
func (q *Queue) Drop(ctx context.Context, id string) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.mu.Unlock()
	e, ok := q.entries[id]
	if !ok {
		return queue.ErrNotFound
	}
	for d := range e.pending() {
		q.finish(d)
	}
	return nil
}

// Flush makes deliveries due at once. A selection without a message goes through
// the whole queue.
func (q *Queue) Flush(ctx context.Context, now time.Time, what queue.Selection) (int, error) {
	if err := q.begin(ctx); err != nil {
		return 0, err
	}
	defer q.mu.Unlock()
	now = now.Round(0)
	if what.Message != "" {
		e, ok := q.entries[what.Message]
		if !ok {
			return 0, queue.ErrNotFound
		}
		n := 0
		for d := range e.pending() {
			n += q.flush(now, d, what)
		}
		return n, nil
	}
	for name, d := range q.destinations {
		if what.Destination == "" || name == what.Destination {
			q.postpone(d, time.Time{})
		}
	}
	n := 0
	for _, d := range q.deliveries {
		n += q.flush(now, d, what)
	}
	return n, nil
}

// flush makes one delivery due and returns how many that was.
func (q *Queue) flush(now time.Time, d *delivery, what queue.Selection) int {
	if what.Destination != "" && d.destination.name != what.Destination {
		return 0
	}
	q.postpone(d.destination, time.Time{})
	if d.entry.held || d.leased {
		return 0
	}
	if d.notBefore.After(now) {
		q.displace(d)
		d.schedule(now, time.Time{})
		q.place(d)
	}
	return 1
}

// Postpone keeps a destination's deliveries back.
func (q *Queue) Postpone(ctx context.Context, _ time.Time, destination string, until time.Time) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.mu.Unlock()
	q.postpone(q.destination(destination), until.Round(0))
	return nil
}

func (q *Queue) postpone(d *destination, until time.Time) {
	q.rank(d, func() { d.postponed = until })
}
