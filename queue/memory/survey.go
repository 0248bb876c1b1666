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

// Survey counts by destination. It goes through the whole queue.
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
	q.count(found)
	return found, nil
}

// count fills in what only the deliveries know.
func (q *Queue) count(found []queue.Destination) {
	index := make(map[string]*queue.Destination, len(found))
	oldest := make(map[string]string, len(found))
	for i := range found {
		index[found[i].Name] = &found[i]
	}
	for at, d := range q.deliveries {
		to := index[at.destination]
		if to == nil {
			continue
		}
		if d.entry.held {
			to.Held++
		}
		if d.leased {
			to.Leased++
		}
		if id, seen := oldest[at.destination]; !seen || at.message < id {
			oldest[at.destination] = at.message
			to.Oldest = d.entry.message.Arrived
		}
	}
}
