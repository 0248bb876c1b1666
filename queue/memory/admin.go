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

// each does something with each delivery that is not done with, in turns, unless the
// queue is closed meanwhile.
func (e *entry) each(t *turns, do func(*delivery)) (open bool) {
	for _, d := range e.deliveries {
		if len(d.states) == 0 {
			continue
		}
		if !t.next() {
			return false
		}
		if len(d.states) > 0 {
			do(d)
		}
	}
	return true
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
	t := turns{q: q}
	if !e.each(&t, func(d *delivery) { q.finish(d) }) {
		return queue.ErrClosed
	}
	return nil
}

// Flush makes deliveries due at once.
func (q *Queue) Flush(ctx context.Context, now time.Time, what ...queue.Selection) (int, error) {
	if err := q.begin(ctx); err != nil {
		return 0, err
	}
	defer q.mu.Unlock()
	t := turns{q: q}
	for i := range what {
		if !t.next() {
			return 0, queue.ErrClosed
		}
		if !what[i].ByName() {
			return 0, errByName
		}
		if _, ok := q.entries[what[i].Message]; !ok && what[i].Message != "" {
			return 0, queue.ErrNotFound
		}
	}
	f := flush{q: q, t: &t, now: now.Round(0), done: make(map[*delivery]bool)}
	open := q.endHolds(&t, f.now)
	for i := 0; i < len(what) && open; i++ {
		open = f.selection(&what[i])
	}
	if !open {
		return 0, queue.ErrClosed
	}
	q.changes.Add()
	return len(f.done), nil
}

var errByName = fmt.Errorf("memory: flush by more than names: %w", errors.ErrUnsupported)

// flush is a call of Flush. Mail that arrives or leaves meanwhile may be included or
// not.
type flush struct {
	q    *Queue
	t    *turns
	now  time.Time
	done map[*delivery]bool // those that were named
}

// selection does what one selection says. It looks at no deliveries but those that it
// names. It reports false where the queue was closed meanwhile.
func (f *flush) selection(what *queue.Selection) (open bool) {
	q := f.q
	switch e := q.entries[what.Message]; {
	case what.Message != "" && what.Destination != "":
		if d := q.deliveries[pair{what.Message, what.Destination}]; d != nil {
			f.one(d)
		}
	case what.Message != "":
		return e == nil || e.each(f.t, f.one)
	case what.Destination != "":
		if d := q.destinations[what.Destination]; d != nil {
			return f.destination(d)
		}
	default:
		return f.all()
	}
	return f.t.next()
}

// destination flushes a destination.
func (f *flush) destination(to *destination) (open bool) {
	f.q.postpone(to, queue.Postponement{})
	w := to.walk()
	defer w.end()
	for d := w.next(); d != nil; d = w.next() {
		f.one(d)
		if !f.t.next() {
			return false
		}
	}
	return true
}

// all flushes everything.
func (f *flush) all() (open bool) {
	q := f.q
	for n := q.asleep.Len(); n > 0 && !q.asleep.empty(); n-- {
		q.postpone(q.asleep.first(), queue.Postponement{})
		if !f.t.next() {
			return false
		}
	}
	for id, more := q.ids.after(""); more; id, more = q.ids.after(id) {
		if e := q.entries[id]; !e.each(f.t, f.one) {
			return false
		}
	}
	return true
}

func (f *flush) one(d *delivery) {
	q := f.q
	if !d.destination.postponed.IsZero() {
		q.postpone(d.destination, queue.Postponement{})
	}
	if d.entry.held || d.leased && d.until.After(f.now) {
		return
	}
	if d.notBefore.After(f.now) {
		q.displace(d)
		d.schedule(f.now, time.Time{})
		q.place(d)
	}
	f.done[d] = true
}

// Postpone keeps the deliveries of destinations back.
func (q *Queue) Postpone(ctx context.Context, _ time.Time, list ...queue.Postponement) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.mu.Unlock()
	lifted := false
	t := turns{q: q}
	for _, p := range list {
		if !t.next() {
			return queue.ErrClosed
		}
		p = p.Bounded()
		p.Until = p.Until.Round(0)
		lifted = lifted || p.Until.IsZero()
		switch {
		case p.Owner == "":
			q.postpone(q.destination(p.Destination), p)
		case !p.Until.IsZero():
			q.park(p)
		case p.Destination == "":
			if !q.liftAll(&t, p.Owner) {
				return queue.ErrClosed
			}
		default:
			q.lift(p.Owner, p.Destination)
		}
	}
	if lifted {
		q.changes.Add()
	}
	return nil
}

// postpone postpones a destination for all claimers.
func (q *Queue) postpone(d *destination, p queue.Postponement) {
	q.rank(d, func() { d.postponed, d.reason = p.Until, p.Reason })
}
