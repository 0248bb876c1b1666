package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// How handles wake each other. After a change, a handle sends a notification on a
// channel with the name of the schema, in a separate transaction, and at most once per
// pause: the server takes one lock for all notifying transactions. A handle receives it
// on a connection that stays open. If it has received nothing for a while, it sends a
// notification to itself through the pool. If that does not arrive, the connection is
// dead, and the handle polls until another connection receives something.
const (
	pause    = 10 * time.Millisecond
	silence  = 3 * time.Second  // after which a handle calls to itself
	hearing  = 2 * time.Second  // within which it must hear that
	fallback = 30 * time.Second // how often Wait returns whatever is heard
	cleaning = time.Minute
)

// Contents of notifications, followed by the name of the handle.
const (
	saysChanged = "changed "
	saysCall    = "call "
)

// changed wakes who waits, here and at other handles.
func (q *Queue) changed() {
	q.changes.Add()
	select {
	case q.notices <- struct{}{}:
	default: // it is told already
	}
}

// Wake tells all handles that there may be something to claim. Call it after the commit
// of a transaction with PutTx if Options.QuietTx is set.
func (q *Queue) Wake() { q.changed() }

// Wait returns when something has changed since a claim.
func (q *Queue) Wait(ctx context.Context, seen uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limit := fallback
	if !q.listening.Load() {
		limit = q.o.PollEvery
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(q.base, cancel)()
	err := q.changes.Wait(limited, seen)
	switch {
	case q.closed.Load():
		return queue.ErrClosed
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	}
	return nil // at the limit too: somebody may have changed something unheard
}

// sleep waits, unless the handle is closed meanwhile.
func (q *Queue) sleep(d time.Duration) (open bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-q.base.Done():
		return false
	}
}

// tell notifies the other handles, until the handle is closed.
func (q *Queue) tell() {
	for {
		select {
		case <-q.notices:
			q.notify(q.base, saysChanged)
			if q.sleep(pause) {
				continue
			}
		case <-q.base.Done():
		}
		select {
		case <-q.notices: // of a call that has returned
			q.notify(context.Background(), saysChanged)
		default:
		}
		return
	}
}

const notifySQL = "SELECT pg_notify($1::text, $2::text)"

// notify says something. If that fails, polling is what is left to the others.
func (q *Queue) notify(ctx context.Context, what string) {
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	_, _ = q.pool.Exec(ctx, notifySQL, q.o.Schema, what+q.name)
}

// listen hears the other handles, until the handle is closed: on a connection that
// listens already, if there is one, and then on others, the next of them in so long.
func (q *Queue) listen(conn *pgx.Conn, again time.Duration) {
	for {
		if conn != nil {
			q.hear(conn)
			hangUp(conn)
		}
		if q.listening.Swap(false) {
			q.changes.Add() // who waits has to poll now
		}
		if !q.sleep(again) {
			return
		}
		if conn, again = q.subscribe(q.base); conn != nil {
			q.changes.Add() // what was not heard
		}
	}
}

// hear listens on a connection until it fails.
func (q *Queue) hear(conn *pgx.Conn) {
	q.callSelf()
	for limit := hearing; ; {
		ctx, cancel := context.WithTimeout(q.base, limit)
		n, err := conn.WaitForNotification(ctx)
		timeout := ctx.Err() != nil
		cancel()
		switch {
		case q.closed.Load() || conn.IsClosed():
			return
		case err == nil:
			q.listening.Store(true)
			if q.concerns(n.Payload) {
				q.changes.Add()
			}
			limit = silence
		case !timeout || limit == hearing:
			return // nobody heard the call
		default:
			q.callSelf()
			limit = hearing
		}
	}
}

// subscribe makes a connection that listens. If there is none, it says when to try again.
func (q *Queue) subscribe(ctx context.Context) (conn *pgx.Conn, again time.Duration) {
	again = silence / 3
	ctx, cancel := context.WithTimeout(ctx, min(q.o.Timeout, hearing))
	defer cancel()
	config, err := q.listenConfig(ctx)
	if err == nil {
		conn, err = pgx.ConnectConfig(ctx, config)
	}
	if err != nil {
		return nil, again
	}
	var (
		replica bool // where nothing is said
		pid     uint32
	)
	err = conn.QueryRow(ctx, "SELECT pg_is_in_recovery(), pg_backend_pid()").Scan(&replica, &pid)
	// A pooler gives its clients numbers of its own. It must not be asked to listen: the
	// connection to the server that did so would belong to somebody else next, and
	// PgBouncer 1.18 can die of a notification that it does not expect.
	pooled := pid != conn.PgConn().PID()
	if err == nil && !replica && !pooled {
		_, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{q.o.Schema}.Sanitize())
	}
	if err != nil || replica || pooled {
		hangUp(conn)
		if err == nil && pooled {
			again = fallback
		}
		return nil, again
	}
	return conn, again
}

// listenConfig is how the connection is made that listens: as those of the pool are, if
// nothing else is said.
func (q *Queue) listenConfig(ctx context.Context) (*pgx.ConnConfig, error) {
	if q.o.Listen != nil {
		return q.o.Listen.Copy(), nil
	}
	pool := q.pool.Config()
	config := pool.ConnConfig.Copy()
	if pool.BeforeConnect == nil {
		return config, nil
	}
	return config, pool.BeforeConnect(ctx, config)
}

func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// callSelf says something that this handle alone is to hear.
func (q *Queue) callSelf() { q.notify(q.base, saysCall) }

// concerns reports whether a notification says that somebody else has changed something.
func (q *Queue) concerns(payload string) bool {
	who, changed := strings.CutPrefix(payload, saysChanged)
	return changed && who != q.name
}

// maintain compares the clocks and forgets what is over, now and then.
func (q *Queue) maintain() {
	for q.sleep(cleaning) {
		ctx, cancel := context.WithTimeout(q.base, q.o.Timeout)
		_ = q.measure(ctx) // a server that cannot be used fails the calls
		if now := q.lastNow.Load(); now != 0 {
			_, _ = q.pool.Exec(ctx, q.sql("SELECT {schema}.clean_v1($1::bigint)"), now)
			_ = q.storeUnkept(ctx)
			_ = q.forgetOutcomes(ctx, now)
		}
		cancel()
	}
}
