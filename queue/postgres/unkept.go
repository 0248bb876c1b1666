package postgres

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// unkept is the outcomes of settlements that were recorded while the server had no room
// for the outcomes. They are in memory until there is some: until Outcomes is called, or the
// next time that the handle cleans up.
type unkept struct {
	turn chan struct{} // has one element while somebody stores them
	xid  int64         // the transaction that may have stored some, if its commit was not answered
	upTo int           // and up to where

	mu     sync.Mutex
	list   []unkeptOutcome
	gone   int  // how many were removed from the beginning of the list, ever
	missed bool // some were forgotten
}

type unkeptOutcome struct {
	at   int64
	sum  int32
	data []byte
}

// add adds outcomes, and forgets the oldest if there are more than most.
func (u *unkept) add(list []unkeptOutcome, most int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = append(u.list, list...)
	if n := len(u.list) - int(most); n > 0 {
		u.remove(n)
		u.missed = true
	}
}

func (u *unkept) remove(n int) {
	u.list = u.list[n:]
	u.gone += n
}

// all returns the outcomes and where they end.
func (u *unkept) all() (list []unkeptOutcome, end int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.list, u.gone + len(u.list)
}

// waits reports whether there are outcomes before an end.
func (u *unkept) waits(end int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.gone < end && len(u.list) > 0
}

// stored removes those up to an end.
func (u *unkept) stored(end int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.remove(max(end-u.gone, 0))
}

// takeMissed reports once that some were forgotten.
func (u *unkept) takeMissed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	missed := u.missed
	u.missed = false
	return missed
}

// unkeptPart is how many outcomes one transaction stores at most. There may be as many as
// are kept at all, which no statement takes, or not in the time that it may take.
const unkeptPart = 5000

// codeInvalid is the code of an error about the value of a parameter.
const codeInvalid = "22023"

// storeUnkept stores the outcomes for which there was no room, those that are there when it
// is called.
func (q *Queue) storeUnkept(ctx context.Context) error {
	list, end := q.unkept.all()
	if len(list) == 0 {
		return nil
	}
	select {
	case q.unkept.turn <- struct{}{}:
		defer func() { <-q.unkept.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for q.unkept.waits(end) {
		if err := q.call(ctx, q.storeInTurn); err != nil {
			return err
		}
	}
	return nil
}

// storeInTurn stores some of them, the first.
func (q *Queue) storeInTurn(ctx context.Context) error {
	u := &q.unkept
	if u.xid != 0 {
		stored, err := q.isStored(ctx, u.xid)
		if err != nil {
			return err
		}
		if stored {
			u.stored(u.upTo)
		}
		u.xid = 0
	}
	list, end := u.all()
	if more := len(list) - unkeptPart; more > 0 {
		list, end = list[:unkeptPart], end-more
	}
	if len(list) == 0 {
		return nil
	}
	var (
		at   []int64
		sums []int32
		data [][]byte
		xid  int64
	)
	for _, o := range list {
		at, sums, data = append(at, o.at), append(sums, o.sum), append(data, o.data)
	}
	err := pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, q.sql(`WITH kept AS (INSERT INTO {schema}.outcome (xid, n, at, sum, data)
				SELECT txid_current(), o.n, o.at, o.sum, o.data FROM unnest($1::bigint[], $2::int[], $3::bytea[]) WITH ORDINALITY AS o (at, sum, data, n))
			SELECT txid_current()`), at, sums, data).Scan(&xid)
	})
	var refused *pgconn.PgError
	switch {
	case err == nil:
		u.stored(end)
	case !errors.As(err, &refused):
		u.xid, u.upTo = xid, end
	}
	return err
}

// isStored reports whether a transaction was committed whose commit was not answered. One
// that the server has not made yet was another server's, before a failover that has lost it.
func (q *Queue) isStored(ctx context.Context, xid int64) (bool, error) {
	var (
		status  *string // null if that was long ago
		refused *pgconn.PgError
	)
	err := q.pool.QueryRow(ctx, "SELECT txid_status($1::bigint)", xid).Scan(&status)
	switch {
	case errors.As(err, &refused) && refused.Code == codeInvalid:
		return false, nil
	case err != nil:
		return false, err
	case status != nil && *status == "in progress":
		return false, errors.New("postgres: outcomes are being stored")
	}
	return status != nil && *status == "committed", nil
}
