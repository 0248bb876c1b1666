package postgres

import (
	"context"
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// PutTx puts a message in a transaction of the application. The message is in the queue
// once the transaction has committed, and never if it is rolled back. An open
// transaction does not block others, except a put of a message with the same tenant and
// key. The content is read inside the transaction, and the rules about Put hold once it
// has committed; its durability is up to the transaction. Agents are woken when it
// commits, unless Options.QuietTx is set.
//
// After any error other than queue.ErrDuplicate and a *queue.MessageError about a
// field, the transaction can only be rolled back, or rolled back to a savepoint.
func (q *Queue) PutTx(ctx context.Context, tx pgx.Tx, now time.Time, m *queue.Message) (id string, err error) {
	return q.putWith(ctx, now, m, func(ctx context.Context, text string, args []any, to ...any) error {
		return tx.QueryRow(ctx, text, args...).Scan(to...)
	})
}

// PutSQL is like PutTx for package database/sql, with any driver for PostgreSQL.
func (q *Queue) PutSQL(ctx context.Context, tx *sql.Tx, now time.Time, m *queue.Message) (id string, err error) {
	return q.putWith(ctx, now, m, func(ctx context.Context, text string, args []any, to ...any) error {
		for i := range args {
			args[i] = literal(args[i])
		}
		return tx.QueryRowContext(ctx, text, args...).Scan(to...)
	})
}

// ask has a transaction answer one row.
type ask func(ctx context.Context, text string, args []any, to ...any) error

// putWith puts a message with the statements of a transaction.
func (q *Queue) putWith(ctx context.Context, now time.Time, m *queue.Message, ask ask) (id string, err error) {
	parts, err := queue.Split(m)
	if err != nil {
		return "", err
	}
	inTx := func(ctx context.Context, number *int64, n, sum int32, data []byte) (got int64, err error) {
		err = q.once(ctx, func(ctx context.Context) error {
			return ask(ctx, q.sql(uploadSQL), []any{false, number, n, sum, data}, &got)
		})
		return got, err
	}
	d := draft{message: m, parts: parts}
	if err := q.read(ctx, inTx, now, &d); err != nil {
		return "", err
	}
	var (
		number int64
		tag    int32
		known  bool
	)
	err = q.once(ctx, func(ctx context.Context) error {
		args := putArgs(false, q.now(now), []draft{d})
		if err := ask(ctx, q.sql("SELECT ids[1], tags[1], known[1] FROM "+putFrom), args, &number, &tag, &known); err != nil || known || q.o.QuietTx {
			return err
		}
		var nothing string
		return ask(ctx, "SELECT pg_notify($1::text, $2::text)::text", []any{q.o.Schema, saysChanged}, &nothing)
	})
	if err != nil {
		return "", err
	}
	id = formatID(number, tag)
	if known {
		return id, queue.ErrDuplicate
	}
	return id, nil
}
