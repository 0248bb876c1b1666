package memory

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Suspend remembers suspensions.
func (q *Queue) Suspend(ctx context.Context, now time.Time, list ...queue.Suspension) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.mu.Unlock()
	after, err := q.suspended.With(now, list...)
	if err != nil {
		return err
	}
	q.suspended = after
	q.changes.Add()
	return nil
}

// Resume ends suspensions.
func (q *Queue) Resume(ctx context.Context, now time.Time, list ...queue.Subject) (int, error) {
	if err := q.begin(ctx); err != nil {
		return 0, err
	}
	defer q.mu.Unlock()
	after, had := q.suspended.Without(now, list...)
	q.suspended = after
	if had > 0 {
		q.changes.Add()
	}
	return had, nil
}

// Suspensions returns the suspensions in force.
func (q *Queue) Suspensions(ctx context.Context, now time.Time) ([]queue.Suspension, error) {
	if err := q.begin(ctx); err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	q.suspended = q.suspended.At(now)
	return slices.Clone(q.suspended), nil
}
