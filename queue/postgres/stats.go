package postgres

import (
	"context"
	"time"
)

// Stats describes the state of a queue's database, and of a handle's connection to it.
type Stats struct {
	// LiveRows and DeadRows are the server's estimates for the queue's tables. Dead
	// rows are deleted or replaced ones that autovacuum has not removed yet; claims
	// step over some of them.
	LiveRows, DeadRows int64

	// Bytes is the size of the queue's tables and indexes on the server's disk.
	Bytes int64

	// HorizonAge is the number of transactions that have begun since the oldest one
	// that may still read dead rows of this database, which prevents their removal.
	// That one is an open transaction of any program, or one that a standby or a
	// replication slot holds.
	HorizonAge int64

	// OldestTransaction is how long that transaction, or another that keeps dead rows,
	// has been open. It is zero if there is none. It includes transactions of other
	// roles only if this role is a member of pg_read_all_stats.
	OldestTransaction time.Duration

	// Listening is true if notifications are received. Otherwise agents poll.
	Listening bool

	// ClockOffset is by how much the server's clock is ahead of this handle's, as used
	// to correct times. It is zero below a quarter of a second.
	ClockOffset time.Duration

	// Pool is the handle's pool of connections.
	Pool PoolStats
}

// PoolStats are the numbers of a pool of connections.
type PoolStats struct {
	// InUse and Idle are the numbers of its connections, and Max is the maximum.
	InUse, Idle, Max int

	// Waits is how often a call had to wait for a connection, and Waited for how long
	// in total, both since the pool was created.
	Waits  int64
	Waited time.Duration
}

// Stats asks the server. The fields that the handle knows itself are also set if there
// is an error.
func (q *Queue) Stats(ctx context.Context) (s Stats, err error) {
	pool := q.pool.Stat()
	s.Listening = q.listening.Load()
	s.ClockOffset = time.Duration(q.offset.Load()) * time.Microsecond
	s.Pool = PoolStats{
		InUse: int(pool.AcquiredConns()), Idle: int(pool.IdleConns()), Max: int(pool.MaxConns()),
		Waits: pool.EmptyAcquireCount(), Waited: pool.EmptyAcquireWaitTime(),
	}
	var open float64
	err = q.call(ctx, func(ctx context.Context) error {
		return q.pool.QueryRow(ctx, statsSQL, q.o.Schema).Scan(&s.LiveRows, &s.DeadRows, &s.Bytes, &s.HorizonAge, &open)
	})
	s.OldestTransaction = time.Duration(open * float64(time.Second))
	return s, err
}

// statsSQL leaves out what asks. What is in other databases keeps no rows of this one.
const statsSQL = `SELECT t.live, t.dead, t.bytes, x.age, x.open
FROM (
	SELECT coalesce(sum(n_live_tup), 0)::bigint AS live, coalesce(sum(n_dead_tup), 0)::bigint AS dead,
		coalesce(sum(pg_total_relation_size(relid)), 0)::bigint AS bytes
	FROM pg_stat_user_tables WHERE schemaname = $1::text
) t, (
	SELECT coalesce(max(age), 0)::bigint AS age, coalesce(max(extract(epoch FROM clock_timestamp() - since)), 0)::float8 AS open
	FROM (
		SELECT greatest(age(backend_xmin), age(backend_xid)) AS age, xact_start AS since FROM pg_stat_activity
		WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
			AND (datname = current_database() OR datname IS NULL)
		UNION ALL SELECT age(xmin), NULL FROM pg_replication_slots WHERE xmin IS NOT NULL
		UNION ALL SELECT age(transaction), prepared FROM pg_prepared_xacts WHERE database = current_database()
	) x
) x`
