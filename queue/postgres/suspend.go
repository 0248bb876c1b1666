package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// Suspend stores suspensions.
func (q *Queue) Suspend(ctx context.Context, now time.Time, list ...queue.Suspension) error {
	err := q.suspensions(ctx, now, func(ctx context.Context, tx pgx.Tx, before queue.SuspensionSet) error {
		after, err := before.With(now, list...)
		if err != nil {
			return err
		}
		for _, one := range list {
			at := slices.IndexFunc(after, func(o queue.Suspension) bool { return o.Subject == one.Subject })
			if at < 0 {
				err = q.resume(ctx, tx, one.Subject) // it is over already
			} else {
				s := after[at]
				_, err = tx.Exec(ctx, q.sql(`INSERT INTO {schema}.suspension (kind, name, since, until, reason)
					VALUES ($1::smallint, $2::bytea, $3::bigint, $4::bigint, $5::bytea)
					ON CONFLICT (kind, name) DO UPDATE SET since = excluded.since, until = excluded.until, reason = excluded.reason`),
					int16(s.Kind), []byte(s.Name), q.at(s.Since), q.maybeAt(s.Until), reason(s.Reason))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		q.changed()
	}
	return err
}

// Resume ends suspensions.
func (q *Queue) Resume(ctx context.Context, now time.Time, list ...queue.Subject) (had int, err error) {
	err = q.suspensions(ctx, now, func(ctx context.Context, tx pgx.Tx, before queue.SuspensionSet) error {
		_, had = before.Without(now, list...)
		for _, one := range list {
			if err := q.resume(ctx, tx, one); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if had > 0 {
		q.changed()
	}
	return had, nil
}

func (q *Queue) resume(ctx context.Context, tx pgx.Tx, s queue.Subject) error {
	_, err := tx.Exec(ctx, q.sql("DELETE FROM {schema}.suspension WHERE kind = $1::smallint AND name = $2::bytea"),
		int16(s.Kind), []byte(s.Name))
	return err
}

// Suspensions returns the suspensions in force.
func (q *Queue) Suspensions(ctx context.Context, now time.Time) (list []queue.Suspension, err error) {
	err = q.suspensions(ctx, now, func(_ context.Context, _ pgx.Tx, at queue.SuspensionSet) error {
		list = at
		return nil
	})
	return list, err
}

// suspensions does something with what is suspended, beside nobody else, and has what is
// over forgotten.
func (q *Queue) suspensions(
	ctx context.Context, now time.Time, do func(ctx context.Context, tx pgx.Tx, at queue.SuspensionSet) error,
) error {
	return q.call(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, q.sql("SELECT {schema}.durable_v1(), pg_advisory_xact_lock(hashtext($1::text))"),
				"nexthop suspend "+q.o.Schema)
			if err != nil {
				return err
			}
			at, over, err := q.suspended(ctx, tx, now)
			if err != nil {
				return err
			}
			for _, one := range over {
				if err := q.resume(ctx, tx, one); err != nil {
					return err
				}
			}
			return do(ctx, tx, at)
		})
	})
}

// suspended reads what is suspended, in order, and what is over.
func (q *Queue) suspended(ctx context.Context, tx pgx.Tx, now time.Time) (at queue.SuspensionSet, over []queue.Subject, err error) {
	limit := q.now(now)
	rows, err := tx.Query(ctx, q.sql("SELECT kind, name, since, until, reason FROM {schema}.suspension ORDER BY kind, name"))
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			kind         int16
			name, reason []byte
			since        int64
			until        *int64
		)
		if err := rows.Scan(&kind, &name, &since, &until, &reason); err != nil {
			return nil, nil, err
		}
		s := queue.Suspension{Subject: queue.Subject{Kind: queue.SubjectKind(kind), Name: string(name)}}
		s.Since, s.Until, s.Reason = q.back(since), q.maybeBack(until), string(reason)
		if until != nil && *until <= limit {
			over = append(over, s.Subject)
		} else {
			at = append(at, s)
		}
	}
	return at, over, rows.Err()
}
