package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
)

// Total counts everything.
func (q *Queue) Total(ctx context.Context) (queue.Total, error) {
	if err := q.begin(ctx); err != nil {
		return queue.Total{}, err
	}
	defer q.mu.Unlock()
	return queue.Total{Messages: len(q.entries), Deliveries: len(q.deliveries), Bytes: q.bytes}, nil
}

// Survey counts by destination. It goes through all destinations, and the deliveries of
// those that it returns.
func (q *Queue) Survey(ctx context.Context, after string, most int) ([]queue.Destination, error) {
	if err := q.begin(ctx); err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	if most <= 0 {
		most = queue.DefaultMax
	}
	var found []queue.Destination
	for name, d := range q.destinations {
		if name > after && d.count > 0 {
			found = append(found, queue.Destination{
				Name: name, Deliveries: d.count, Bytes: d.bytes, Postponed: d.postponed, Reason: d.reason,
			})
		}
	}
	slices.SortFunc(found, func(a, b queue.Destination) int { return cmp.Compare(a.Name, b.Name) })
	found = found[:min(most, len(found))]
	for i := range found {
		q.count(&found[i])
	}
	return found, nil
}

// count fills in what only the deliveries know.
func (q *Queue) count(to *queue.Destination) {
	oldest := ""
	for d := q.destinations[to.Name].all; d != nil; d = d.next {
		if d.entry.held {
			to.Held++
		}
		if d.leased {
			to.Leased++
		}
		if id := d.entry.message.ID; oldest == "" || id < oldest {
			oldest, to.Oldest = id, d.entry.message.Arrived
		}
	}
}
