package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Take leases the deliveries of one message, due or not.
func (q *Queue) Take(
	ctx context.Context, now time.Time, id string, length time.Duration, destinations ...string,
) (queue.Taken, error) {
	if err := q.begin(ctx); err != nil {
		return queue.Taken{}, err
	}
	defer q.mu.Unlock()
	e, ok := q.entries[id]
	if !ok {
		return queue.Taken{}, queue.ErrNotFound
	}
	now = now.Round(0)
	var taken queue.Taken
	for d := range e.pending() {
		switch {
		case len(destinations) > 0 && !slices.Contains(destinations, d.destination.name):
		case d.leased && d.until.After(now):
			taken.Leased++
		default:
			q.displace(d)
			taken.Deliveries = append(taken.Deliveries, q.lease(d, now, length))
		}
	}
	slices.SortFunc(taken.Deliveries, func(a, b queue.Delivery) int {
		return cmp.Compare(a.Lease.Destination, b.Lease.Destination)
	})
	return taken, nil
}
