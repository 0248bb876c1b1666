package tlsstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// defaultTimeout is what zero stands for in the stores.
const defaultTimeout = 10 * time.Second

// table is where a store has its rows.
type table struct {
	name    string // of the store, for errors
	pool    *pgxpool.Pool
	schema  string
	timeout time.Duration
}

// call does something with the database, whose statements name the schema {schema}.
func (t table) call(ctx context.Context, do func(ctx context.Context, sql func(string) string) error) error {
	if t.pool == nil {
		return fmt.Errorf("tlsstore.%s.Pool: it is required", t.name)
	}
	if t.schema == "" {
		t.schema = postgres.DefaultSchema
	}
	if t.timeout <= 0 {
		t.timeout = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	err := do(limited, func(sql string) string {
		return strings.ReplaceAll(sql, "{schema}", pgx.Identifier{t.schema}.Sanitize())
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// one reads one row; there may be none.
func one(row pgx.Row, into ...any) (found bool, err error) {
	err = row.Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
