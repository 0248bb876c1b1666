package memory

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// ShareLimits answers requests for shares of limits.
func (q *Queue) ShareLimits(ctx context.Context, now time.Time, list ...queue.LimitRequest) ([]queue.LimitShare, error) {
	if err := q.begin(ctx); err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	return q.shares.Answer(now.Round(0), list), nil
}
