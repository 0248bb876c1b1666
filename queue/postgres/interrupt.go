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
// that has ended. It is no settlement: a mark stays, for example.
func (q *Queue) giveBack(ctx context.Context, list []queue.Delivery, unreadable []queue.Unreadable) error {
	c := newLeaseColumns()
	for i := range list {
		c.add(i, &list[i].Lease)
	}
	for i := range unreadable {
		c.add(len(list)+i, &unreadable[i].Lease)
	}
	if len(c.at) > 0 {
		longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := q.call(longer, func(ctx context.Context) error {
			_, err := q.pool.Exec(ctx, q.sql("SELECT {schema}.give_back_v1($1::bigint[], $2::text[], $3::bigint[])"),
				c.messages, c.destinations, c.tokens)
			return err
		})
		if err == nil { // else the leases end by themselves
			q.changed()
		}
	}
	return ctx.Err()
}
