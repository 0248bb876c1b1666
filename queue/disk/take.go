package disk

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Take leases the deliveries of one message, due or not.
func (s *Spool) Take(
	ctx context.Context, now time.Time, id string, length time.Duration, destinations ...string,
) (queue.Taken, error) {
	if err := s.begin(ctx); err != nil {
		return queue.Taken{}, err
	}
	defer s.end()
	number, ok := parseID(id)
	if !ok {
		return queue.Taken{}, queue.ErrNotFound
	}
	picks, leased, err := s.takeAll(now.Round(0), number, length, destinations)
	if err != nil {
		return queue.Taken{}, err
	}
	var found queue.Claimed
	if err := s.readPicks(now, picks, &found); err != nil {
		return queue.Taken{}, err
	}
	slices.SortFunc(found.Deliveries, func(a, b queue.Delivery) int {
		return cmp.Compare(a.Lease.Destination, b.Lease.Destination)
	})
	return queue.Taken{Deliveries: found.Deliveries, Unreadable: found.Unreadable, Leased: leased}, nil
}

// takeAll leases the deliveries that are not leased.
func (s *Spool) takeAll(
	now time.Time, number uint64, length time.Duration, destinations []string,
) (picks []pick, leased int, err error) {
	slots := s.slots(number)
	if len(slots) == 0 {
		return nil, 0, queue.ErrNotFound
	}
	only := make(map[string]bool, len(destinations))
	for _, name := range destinations {
		only[name] = true
	}
	picks = make([]pick, 0, len(slots)) // rather than while the lock is held
	h := s.hold()
	defer h.end()
	for _, slot := range slots {
		h.step(1)
		if !s.index.Is(slot, number) {
			continue
		}
		e := s.index.Get(slot)
		if len(only) > 0 && !only[e.Destination] {
			continue
		}
		if _, until, _, has := s.index.Leased(slot); has && until.After(now) {
			leased++
			continue
		}
		picks = append(picks, s.lease(slot, e, now.Add(length)))
	}
	return picks, leased, nil
}
