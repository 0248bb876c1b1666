package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
)

// Queue is a handle on a queue in a database. It is safe for concurrent use. Any number
// of handles, in one process or many, may be open at the same time.
type Queue struct {
	pool *pgxpool.Pool
	o    Options

	base   context.Context // ends with Close
	end    context.CancelFunc
	group  sync.WaitGroup // the goroutines
	closed atomic.Bool

	offset  atomic.Int64 // microseconds from the caller's clock to the server's
	lastNow atomic.Int64 // the last time given, on the server's clock

	changes   queue.Changes
	notices   chan struct{} // something to tell the other handles
	listening atomic.Bool   // what they tell is heard
	name      string        // of this handle, random

	own   ownPostponements
	known remembered
	front front
	opens rounds[*opening]
	puts  rounds[*putting]
	ahead ahead

	unkept unkept
}

// The optional interfaces of Queue.
var (
	_ queue.Queue      = (*Queue)(nil)
	_ queue.Lister     = (*Queue)(nil)
	_ queue.Holder     = (*Queue)(nil)
	_ queue.TermHolder = (*Queue)(nil)
	_ queue.Dropper    = (*Queue)(nil)
	_ queue.Flusher    = (*Queue)(nil)
	_ queue.Postponer  = (*Queue)(nil)
	_ queue.Surveyor   = (*Queue)(nil)
	_ queue.Waiter     = (*Queue)(nil)
	_ queue.Suspender  = (*Queue)(nil)
	_ queue.Taker      = (*Queue)(nil)
	_ queue.KeyCounter = (*Queue)(nil)
	_ queue.Sharer     = (*Queue)(nil)

	_ queue.OutcomeKeeper = (*Queue)(nil)
)

// ErrIsolation says that the connections of a pool begin transactions at another level
// than READ COMMITTED, at which the queue's statements would not work correctly.
var ErrIsolation = errors.New("postgres: default_transaction_isolation is not read committed")

// ErrReplica says that the server is a replica, which accepts no changes.
var ErrReplica = errors.New("postgres: the server is a replica")

// Open opens the queue in a schema of a database. The caller remains the owner of the
// pool; Close does not close it. ctx is for opening only. Errors: a *VersionError if
// the schema must be migrated first, or is too new; ErrIsolation; ErrReplica; those of
// the pool.
func Open(ctx context.Context, pool *pgxpool.Pool, o Options) (*Queue, error) {
	q := &Queue{pool: pool, o: o.withDefaults(), notices: make(chan struct{}, 1), name: fmt.Sprintf("%x", random())}
	q.opens.most, q.puts.most = mostOpens, mostPuts
	q.unkept.turn = make(chan struct{}, 1)
	ctx, cancel := context.WithTimeout(ctx, q.o.Timeout)
	defer cancel()
	if err := checkVersion(ctx, pool, q.o.Schema); err != nil {
		return nil, err
	}
	if err := q.measure(ctx); err != nil {
		return nil, err
	}
	if q.o.KeepOutcomes > 0 { // before others are, if the database was restored
		if _, err := pool.Exec(ctx, q.sql("SELECT {schema}.outcome_part_v1()")); err != nil {
			return nil, err
		}
	}
	q.base, q.end = context.WithCancel(context.Background())
	q.group.Go(q.tell)
	q.group.Go(q.maintain)
	if !q.o.NoListen {
		conn, again := q.subscribe(ctx) // so that nothing is missed from here on
		q.group.Go(func() { q.listen(conn, again) })
	}
	return q, nil
}

// Close ends calls in progress and the goroutines of the handle. Leases remain until
// they end. Outcomes for which there was no room are lost if there still is none.
func (q *Queue) Close() error {
	_ = q.storeUnkept(q.base)
	if q.closed.Swap(true) {
		return nil
	}
	q.end()
	q.opens.close()
	q.puts.close()
	q.changes.Add() // for those who wait
	q.group.Wait()
	return nil
}

// measure compares the clocks, and looks whether the server can be used.
func (q *Queue) measure(ctx context.Context) error {
	var (
		server    int64
		isolation string
		replica   bool
	)
	before := q.o.Clock()
	err := q.pool.QueryRow(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, "+
		"current_setting('transaction_isolation'), pg_is_in_recovery()").Scan(&server, &isolation, &replica)
	after := q.o.Clock()
	switch {
	case err != nil:
		return err
	case isolation != "read committed":
		return ErrIsolation
	case replica:
		return ErrReplica
	}
	offset := server - (before.UnixMicro()+after.UnixMicro())/2
	// What the network and a well-kept clock make of it is not worth a change: times
	// are then exactly those that were given.
	if change := offset - q.offset.Load(); change < -steady || change > steady {
		q.offset.Store(offset)
	}
	return nil
}

// steady is by how many microseconds clocks may differ without being taken for different.
const steady = 250_000

// at is a time on the server's clock.
func (q *Queue) at(t time.Time) int64 {
	const most = 1 << 61
	switch year := t.Year(); {
	case year > 50_000:
		return most
	case year < -50_000:
		return -most
	}
	return t.UnixMicro() + q.offset.Load()
}

// now is a call's time on the server's clock.
func (q *Queue) now(t time.Time) int64 {
	now := q.at(t)
	q.lastNow.Store(now)
	return now
}

// back is a time of the database on the caller's clock.
func (q *Queue) back(t int64) time.Time { return time.UnixMicro(t - q.offset.Load()).UTC() }

// maybeAt is a time that may be none.
func (q *Queue) maybeAt(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	at := q.at(t)
	return &at
}

// maybeBack is a time of the database that may be none.
func (q *Queue) maybeBack(t *int64) time.Time {
	if t == nil {
		return time.Time{}
	}
	return q.back(*t)
}

// sql fills the schema's name in.
func (q *Queue) sql(text string) string { return withSchema(text, q.o.Schema) }

// call does something with the database, which is done again if the database gave it up
// for the sake of another transaction. The context that it gets ends in time.
func (q *Queue) call(ctx context.Context, do func(ctx context.Context) error) error {
	const tries = 5
	for try := 1; ; try++ {
		err := q.once(ctx, do)
		if try == tries || !isConflict(err) {
			return err
		}
	}
}

// once does something with the database once.
func (q *Queue) once(ctx context.Context, do func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if q.closed.Load() {
		return queue.ErrClosed
	}
	limited, cancel := context.WithTimeout(ctx, q.o.Timeout)
	defer cancel()
	defer context.AfterFunc(q.base, cancel)()
	err := do(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case q.closed.Load():
		return queue.ErrClosed
	}
	return explain(err)
}

// Codes of errors with a meaning here.
const (
	codeDiskFull      = "53100"
	codeDeadlock      = "40P01"
	codeSerialization = "40001"
	codeLocked        = "55P03"
)

func hasCode(err error, code string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == code
}

func isConflict(err error) bool { return hasCode(err, codeDeadlock) || hasCode(err, codeSerialization) }

// explain says ErrFull of an error that means it.
func explain(err error) error {
	if hasCode(err, codeDiskFull) {
		return fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return err
}

// rows goes through the rows that a query returns.
func (q *Queue) rows(ctx context.Context, each func(pgx.Rows) error, sql string, args ...any) error {
	rows, err := q.pool.Query(ctx, q.sql(sql), args...)
	if err != nil {
		return err
	}
	return eachRow(rows, each)
}

// many goes through the rows of a query that is no call of a function, in one round trip.
// The query is not compiled: beside millions of rows that would take longer than to
// answer it. Functions say so themselves.
func (q *Queue) many(ctx context.Context, each func(pgx.Rows) error, sql string, args ...any) error {
	b := new(pgx.Batch) // one transaction
	b.Queue("SELECT set_config('jit', 'off', true)")
	b.Queue(q.sql(sql), args...).Query(func(rows pgx.Rows) error { return eachRow(rows, each) })
	return q.pool.SendBatch(ctx, b).Close()
}

// eachRow goes through rows.
func eachRow(rows pgx.Rows, each func(pgx.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
