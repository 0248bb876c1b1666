package postgres_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
)

// rig is the server that the tests share, each with a schema of its own.
type rig struct {
	server  *postgrestest.Server
	schemas atomic.Int32
}

// shared is set by TestMain and stays.
var shared = new(rig)

func TestMain(m *testing.M) {
	server, err := postgrestest.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared.server = server
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// crash kills the server and starts it again. The pool notices.
func (r *rig) crash(p *pgxpool.Pool) error {
	r.server.Kill()
	err := r.server.Restart()
	p.Reset()
	return err
}

// newPool is a pool of connections to the shared server.
func newPool(url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 8
	return pgxpool.NewWithConfig(context.Background(), config)
}

// pool is a pool for one test.
func pool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	p, err := newPool(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// named is a name that no other schema has.
func (r *rig) named() string { return fmt.Sprintf("Test %d", r.schemas.Add(1)) }

// migrated makes a schema of its own for a test.
func (r *rig) migrated(p *pgxpool.Pool, o postgres.Options) (postgres.Options, error) {
	o.Schema = r.named()
	return o, postgres.Migrate(context.Background(), p, o)
}

// emptied takes everything out of a schema. (To truncate tables takes longer than all else
// that a small test does.)
func emptied(p *pgxpool.Pool, o postgres.Options) error {
	name := pgx.Identifier{o.Schema}.Sanitize()
	for _, table := range []string{"message", "content", "upload", "key", "delivery", "head", "postponed", "suspension", "share",
		"outcome", "outcome_part"} {
		if _, err := p.Exec(context.Background(), "DELETE FROM "+name+"."+table); err != nil {
			return err
		}
	}
	_, err := p.Exec(context.Background(), "UPDATE "+name+".outcome_floor SET number = 0, xid = 0, n = 0, forgotten = 0")
	return err
}

// open makes a queue in a schema of its own.
func open(t testing.TB, p *pgxpool.Pool, o postgres.Options) (*postgres.Queue, postgres.Options) {
	t.Helper()
	o, err := shared.migrated(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return another(t, p, o), o
}

// another opens another handle on a queue.
func another(t testing.TB, p *pgxpool.Pool, o postgres.Options) *postgres.Queue {
	t.Helper()
	q, err := postgres.Open(context.Background(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := queue.Close(q); err != nil {
			t.Error(err)
		}
	})
	return q
}
