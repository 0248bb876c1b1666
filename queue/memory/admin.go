package memory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

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

// Flush makes deliveries due at once.
func (q *Queue) Flush(ctx context.Context, now time.Time, what ...queue.Selection) (int, error) {
	if err := q.begin(ctx); err != nil {
		return 0, err
	}
	defer q.mu.Unlock()
	for i := range what {
		if !what[i].ByName() {
			return 0, errByName
		}
		if _, ok := q.entries[what[i].Message]; !ok && what[i].Message != "" {
			return 0, queue.ErrNotFound
		}
	}
	q.endHolds(now.Round(0))
	flushed := make(map[*delivery]bool)
	for i := range what {
		q.flush(now.Round(0), &what[i], flushed)
	}
	q.changes.Add()
	return len(flushed), nil
}

var errByName = fmt.Errorf("memory: flush by more than names: %w", errors.ErrUnsupported)

// flush does what one selection says, and adds the deliveries that it names. It looks at
// no others.
func (q *Queue) flush(now time.Time, what *queue.Selection, flushed map[*delivery]bool) {
	switch e := q.entries[what.Message]; {
	case what.Message != "" && what.Destination != "":
		if d := q.deliveries[pair{what.Message, what.Destination}]; d != nil {
			q.flushOne(now, d, flushed)
		}
	case what.Message != "":
		for d := range e.pending() {
			q.flushOne(now, d, flushed)
		}
	case what.Destination != "":
		if d := q.destinations[what.Destination]; d != nil {
			q.flushAll(now, d, flushed)
		}
	default:
		for _, d := range q.destinations {
			q.flushAll(now, d, flushed)
		}
	}
}

// flushAll flushes a destination.
func (q *Queue) flushAll(now time.Time, to *destination, flushed map[*delivery]bool) {
	q.postpone(to, queue.Postponement{})
	for d := to.all; d != nil; d = d.next {
		q.flushOne(now, d, flushed)
	}
}

func (q *Queue) flushOne(now time.Time, d *delivery, flushed map[*delivery]bool) {
	if !d.destination.postponed.IsZero() {
		q.postpone(d.destination, queue.Postponement{})
	}
	if d.entry.held || d.leased {
		return
	}
	if d.notBefore.After(now) {
		q.displace(d)
		d.schedule(now, time.Time{})
		q.place(d)
	}
	flushed[d] = true
}

// Postpone keeps the deliveries of destinations back.
func (q *Queue) Postpone(ctx context.Context, _ time.Time, list ...queue.Postponement) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.mu.Unlock()
	lifted := false
	for _, p := range list {
		p = p.Bounded()
		p.Until = p.Until.Round(0)
		lifted = lifted || p.Until.IsZero()
		switch {
		case p.Owner == "":
			q.postpone(q.destination(p.Destination), p)
		case !p.Until.IsZero():
			q.park(p)
		case p.Destination == "":
			q.liftAll(p.Owner)
		default:
			q.lift(p.Owner, p.Destination)
		}
	}
	if lifted {
		q.changes.Add()
	}
	return nil
}

// postpone postpones a destination for everybody.
func (q *Queue) postpone(d *destination, p queue.Postponement) {
	q.rank(d, func() { d.postponed, d.reason = p.Until, p.Reason })
}
