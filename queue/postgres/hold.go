package postgres

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Hold keeps a message from being claimed.
func (q *Queue) Hold(ctx context.Context, id string) error {
	return q.byID(ctx, id, "SELECT {schema}.hold_v1($1::bigint, $2::int, true, NULL, NULL, NULL)")
}

// HoldUntil keeps a message from being claimed, with a reason and until a time.
func (q *Queue) HoldUntil(ctx context.Context, now time.Time, id string, on queue.Terms) error {
	on = on.Bounded()
	return q.byID(ctx, id, "SELECT {schema}.hold_v1($1::bigint, $2::int, true, $3::bigint, $4::bigint, $5::bytea)",
		q.now(now), q.maybeAt(on.Until), reason(on.Reason))
}

// Release ends a hold.
func (q *Queue) Release(ctx context.Context, id string) error {
	err := q.byID(ctx, id, "SELECT {schema}.hold_v1($1::bigint, $2::int, false, NULL, NULL, NULL)")
	if err == nil {
		q.changed()
	}
	return err
}

// Drop removes a message.
func (q *Queue) Drop(ctx context.Context, id string) error {
	err := q.byID(ctx, id, "SELECT {schema}.drop_v1($1::bigint, $2::int)")
	if number, _, ok := parseID(id); ok {
		q.ahead.forget(number)
	}
	return err
}

// byID calls a function for a message, which tells whether the message is there.
func (q *Queue) byID(ctx context.Context, id, sql string, args ...any) error {
	number, tag, isID := parseID(id)
	return q.call(ctx, func(ctx context.Context) error {
		there := false
		if isID {
			err := q.pool.QueryRow(ctx, q.sql(sql), append([]any{number, tag}, args...)...).Scan(&there)
			if err != nil {
				return err
			}
		}
		if !there {
			return queue.ErrNotFound
		}
		return nil
	})
}
