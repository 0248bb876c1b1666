package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// Total counts all mail. It takes time in proportion to the size of the queue.
func (q *Queue) Total(ctx context.Context) (t queue.Totals, err error) {
	err = q.call(ctx, func(ctx context.Context) error {
		return q.many(ctx, func(rows pgx.Rows) error { return rows.Scan(&t.Messages, &t.Bytes, &t.Deliveries) },
			`SELECT count(*), coalesce(sum(size), 0)::bigint, (SELECT count(*) FROM {schema}.delivery) FROM {schema}.message`)
	})
	return t, err
}

// Survey counts by destination. It takes time in proportion to the mail of the
// destinations that it returns.
func (q *Queue) Survey(ctx context.Context, after string, most int) (list []queue.Destination, err error) {
	if most <= 0 {
		most = queue.DefaultMax
	}
	err = q.call(ctx, func(ctx context.Context) error {
		list = nil
		return q.many(ctx, func(rows pgx.Rows) error {
			var (
				d         queue.Destination
				arrived   int64
				postponed *int64
				because   []byte
			)
			err := rows.Scan(&d.Name, &d.Deliveries, &d.Held, &d.Leased, &d.Bytes, &arrived, &postponed, &because)
			d.Oldest = time.UnixMicro(arrived).UTC()
			d.Postponed, d.Reason = q.maybeBack(postponed), string(because)
			list = append(list, d)
			return err
		}, `SELECT s.destination, s.deliveries, s.held, s.leased, s.bytes, m.arrived, o.until, o.reason
			FROM (
				SELECT d.destination, count(*) AS deliveries, count(*) FILTER (WHERE d.held) AS held, count(d.token) AS leased,
					sum(m.size)::bigint AS bytes, min(d.message) AS oldest
				FROM {schema}.delivery d JOIN {schema}.message m ON m.id = d.message
				WHERE d.destination > $1::text COLLATE "C"
				GROUP BY d.destination ORDER BY d.destination LIMIT $2::bigint
			) s
			JOIN {schema}.message m ON m.id = s.oldest
			LEFT JOIN {schema}.postponed o ON o.destination = s.destination
			ORDER BY s.destination`, plain(after), int64(most))
	})
	return list, err
}
