package postgres_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// subject makes instances with all that can be done to them, one after the other in one
// schema.
func subject(t *testing.T, p *pgxpool.Pool, prepare ...func(*postgres.Queue)) queuetest.Implementation {
	o, err := shared.migrated(p, postgres.Options{PollEvery: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	full := false
	make := func(o postgres.Options) func() (*queuetest.Instance, error) {
		return func() (*queuetest.Instance, error) {
			if full { // a case has failed in between
				if err := filled(t.Context(), p, o, false); err != nil {
					return nil, err
				}
				full = false
			}
			if err := emptied(p, o); err != nil {
				return nil, err
			}
			open := func() (queue.Queue, error) {
				q, err := postgres.Open(t.Context(), p, o)
				if err == nil {
					for _, f := range prepare {
						f(q)
					}
				}
				return q, err
			}
			first, err := open()
			if err != nil {
				return nil, err
			}
			return &queuetest.Instance{
				Queue:  first,
				Reopen: open,
				Crash: func() (queue.Queue, error) {
					_ = queue.Close(first) // ends its goroutines; its server is gone
					if err := shared.crash(p); err != nil {
						return nil, err
					}
					var err error
					first, err = open()
					return first, err
				},
				Full: func(to bool) error {
					full = to
					return filled(t.Context(), p, o, to)
				},
				Damage: func(id string) error { return damage(t.Context(), p, o.Schema, id) },
				Share: func() (queue.Queue, func(), error) {
					q, err := open()
					if err != nil {
						return nil, nil, err
					}
					return q, func() { _ = queue.Close(q) }, nil
				},
			}, nil
		}
	}
	keeping, few := o, o
	keeping.KeepOutcomes = time.Hour
	few.KeepOutcomes, few.MaxOutcomes = time.Hour, 64
	return queuetest.Implementation{
		KeepKeys: postgres.DefaultKeepKeys, Shared: true, Open: make(o),
		KeepOutcomes: time.Hour, OpenOutcomes: make(keeping), OpenFewOutcomes: make(few),
	}
}

// filled has the server refuse new messages, contents and outcomes as it does if their
// device has no room for another page, or not any more.
func filled(ctx context.Context, p *pgxpool.Pool, o postgres.Options, full bool) error {
	name := pgx.Identifier{o.Schema}.Sanitize()
	for _, table := range []string{"message", "content", "outcome"} {
		sql := "DROP TRIGGER IF EXISTS is_full ON %[1]s." + table
		if full {
			sql = `CREATE OR REPLACE FUNCTION %[1]s.is_full() RETURNS trigger LANGUAGE plpgsql AS
					$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
				CREATE TRIGGER is_full BEFORE INSERT ON %[1]s.` + table + ` FOR EACH ROW EXECUTE FUNCTION %[1]s.is_full()`
		}
		if _, err := p.Exec(ctx, fmt.Sprintf(sql, name)); err != nil {
			return err
		}
	}
	return nil
}

// damage changes a bit of what is stored of a message: its envelope and its content.
func damage(ctx context.Context, p *pgxpool.Pool, schema, id string) error {
	number, err := strconv.ParseInt(id[:13], 32, 64)
	if err != nil {
		return err
	}
	name := pgx.Identifier{schema}.Sanitize()
	for _, sql := range []string{
		`UPDATE %s.message SET envelope = set_bit(envelope, 77, 1 - get_bit(envelope, 77)),
			content = set_bit(content, 99, 1 - get_bit(content, 99)) WHERE id = $1`,
		`UPDATE %s.content SET data = set_bit(data, 99, 1 - get_bit(data, 99)) WHERE message = $1`,
	} {
		if _, err := p.Exec(ctx, fmt.Sprintf(sql, name), number); err != nil {
			return err
		}
	}
	return nil
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, subject(t, pool(t, shared.server.URL())))
}

// A handle that can remember hardly anything of what waits finds it all the same.
func TestQueueThatRemembersLittle(t *testing.T) {
	queuetest.Run(t, subject(t, pool(t, shared.server.URL()), func(q *postgres.Queue) { postgres.Remember(q, 4) }))
}

// Through PgBouncer in transaction mode, every transaction may be on another connection,
// there are fewer of those than handles use at a time, and notifications do not come
// through.
func TestQueueThroughPgBouncer(t *testing.T) {
	b, err := shared.server.Bouncer(4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.Log())
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	s := subject(t, pool(t, b.URL()))
	open := s.Open
	s.Open = func() (*queuetest.Instance, error) {
		in, err := open()
		if err == nil {
			in.Crash = nil // that is of the server, and shown without PgBouncer
		}
		return in, err
	}
	queuetest.Run(t, s)
}
