package postgres_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// subject makes instances with all that can be done to them, one after the other in one
// schema.
func subject(t *testing.T, p *pgxpool.Pool) queuetest.Subject {
	o, err := shared.migrated(p, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return queuetest.Subject{
		KeepKeys: postgres.DefaultKeepKeys,
		Shared:   true,
		Open: func() (*queuetest.Instance, error) {
			if err := emptied(p, o); err != nil {
				return nil, err
			}
			open := func() (queue.Queue, error) { return postgres.Open(t.Context(), p, o) }
			first, err := open()
			if err != nil {
				return nil, err
			}
			return &queuetest.Instance{
				Queue:  first,
				Reopen: open,
				Damage: func(id string) error { return damage(t.Context(), p, o.Schema, id) },
				Share: func() (queue.Queue, func(), error) {
					q, err := open()
					if err != nil {
						return nil, nil, err
					}
					return q, func() { _ = queue.Close(q) }, nil
				},
			}, nil
		},
	}
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
