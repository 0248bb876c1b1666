package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// knownAs is the id of the message that has m's tenant and key, or had them not long ago;
// empty if there is none.
func (q *Queue) knownAs(ctx context.Context, now time.Time, m *queue.Message) (id string, err error) {
	err = q.call(ctx, func(ctx context.Context) error {
		var (
			number int64
			tag    int32
		)
		err := q.pool.QueryRow(ctx, q.sql(`SELECT message, tag FROM {schema}.key
			WHERE tenant = $1::bytea AND key = $2::bytea AND (until IS NULL OR until > $3::bigint)`),
			[]byte(m.Tenant), []byte(m.Key), q.at(now)).Scan(&number, &tag)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		id = formatID(number, tag)
		return err
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// CountKeys counts the keys of messages that have left. They are never forgotten before
// their time.
func (q *Queue) CountKeys(ctx context.Context) (n queue.KeyCount, err error) {
	err = q.call(ctx, func(ctx context.Context) error {
		return q.many(ctx, func(rows pgx.Rows) error { return rows.Scan(&n.Remembered) },
			"SELECT count(*) FROM {schema}.key WHERE until IS NOT NULL")
	})
	return n, err
}
