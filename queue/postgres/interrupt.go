package postgres

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// grace is for how long a call goes on whose context has ended, so that it learns what it
// has leased. The server would keep that leased for nobody if the call was broken off
// while its answer was on the way.
const grace = 2 * time.Second

// outlive returns a context that ends a little after ctx.
func outlive(ctx context.Context) (longer context.Context, done func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(grace, cancel)
		context.AfterFunc(longer, func() { t.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// giveBack gives back what was leased to a caller whose context has ended, and returns why
// that has ended.
func (q *Queue) giveBack(ctx context.Context, now time.Time, list []queue.Delivery, unreadable []queue.Unreadable) error {
	var batch []queue.Settlement
	for i := range list {
		batch = append(batch, queue.Settlement{Lease: list[i].Lease, NotBefore: list[i].Due})
	}
	for i := range unreadable {
		batch = append(batch, queue.Settlement{Lease: unreadable[i].Lease})
	}
	if len(batch) > 0 {
		longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_, _ = q.Settle(longer, now, batch) // else the leases end by themselves
	}
	return ctx.Err()
}
