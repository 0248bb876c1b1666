package memory

import (
	"context"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
)

// Total counts everything.
func (q *Queue) Total(ctx context.Context) (queue.Totals, error) {
	if err := q.begin(ctx); err != nil {
		return queue.Totals{}, err
	}
	defer q.mu.Unlock()
	return queue.Totals{Messages: len(q.entries), Deliveries: len(q.deliveries), Bytes: q.bytes}, nil
}

// Survey counts the mail by destination. It goes through all destinations, and through the
// deliveries of those that it returns, in pieces: mail that arrives or leaves meanwhile
// may be counted or not.
func (q *Queue) Survey(ctx context.Context, after string, most int) ([]queue.Destination, error) {
	if most <= 0 {
		most = queue.DefaultMax
	}
	names, err := q.names(ctx, after)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if err := q.begin(ctx); err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	t := turns{q: q}
	var found []queue.Destination
	for i := 0; i < len(names) && len(found) < most; i++ {
		if !t.next() {
			return nil, queue.ErrClosed
		}
		d := q.destinations[names[i]]
		if d == nil || d.count == 0 {
			continue // it has gone meanwhile
		}
		one, open := d.survey(&t)
		if !open {
			return nil, queue.ErrClosed
		}
		found = append(found, one)
	}
	return found, nil
}

// names returns the destinations after one that have mail, in no order.
func (q *Queue) names(ctx context.Context, after string) (names []string, err error) {
	if err := q.begin(ctx); err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	t := turns{q: q}
	for name, d := range q.destinations {
		if name > after && d.count > 0 {
			names = append(names, name)
		}
		if !t.next() {
			return nil, queue.ErrClosed
		}
	}
	return names, nil
}

// survey counts what a destination has, unless the queue is closed meanwhile.
func (d *destination) survey(t *turns) (one queue.Destination, open bool) {
	one = queue.Destination{Name: d.name, Deliveries: d.count, Bytes: d.bytes, Postponed: d.postponed, Reason: d.reason}
	oldest := ""
	w := d.walk()
	defer w.end()
	for d := w.next(); d != nil; d = w.next() {
		if d.entry.held {
			one.Held++
		}
		if d.leased {
			one.Leased++
		}
		if id := d.entry.message.ID; oldest == "" || id < oldest {
			oldest, one.Oldest = id, d.entry.message.Arrived
		}
		if !t.next() {
			return one, false
		}
	}
	return one, true
}
