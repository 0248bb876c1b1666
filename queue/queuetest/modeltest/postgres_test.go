package modeltest

import (
	"flag"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
)

// fewer has rapid make fewer runs until the test ends: each asks a server thousands of
// questions. At full size it makes them all.
func fewer(t *testing.T, runs string) {
	if os.Getenv("NEXTHOP_LONG") != "" {
		return
	}
	before := flag.Lookup("rapid.checks").Value.String()
	for _, value := range []string{before, runs} {
		if err := flag.Set("rapid.checks", value); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := flag.Set("rapid.checks", before); err != nil {
			t.Error(err)
		}
	})
}

// TestPostgres holds the queue that may be shared to the order of one that is not: a
// claim that nobody else disturbs leaves nothing out.
func TestPostgres(t *testing.T) {
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	pool, err := pgxpool.New(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.Migrate(t.Context(), pool, postgres.Options{}); err != nil {
		t.Fatal(err)
	}
	open := func() (queue.Queue, error) {
		return postgres.Open(t.Context(), pool, postgres.Options{KeepOutcomes: kept})
	}
	fewer(t, "12")
	rapid.Check(t, func(rt *rapid.T) {
		_, err := pool.Exec(t.Context(), `TRUNCATE nexthop.message, nexthop.content, nexthop.upload, nexthop.key, nexthop.delivery,
			nexthop.head, nexthop.postponed, nexthop.suspension, nexthop.outcome, nexthop.outcome_part`)
		if err != nil {
			rt.Fatal(err)
		}
		q, err := open()
		if err != nil {
			rt.Fatal(err)
		}
		m := newMachine(q, open)
		m.keeps = true
		defer func() {
			if err := queue.Close(m.q); err != nil {
				rt.Errorf("Close: %v", err)
			}
		}()
		rt.Repeat(rapid.StateMachineActions(m))
	})
}
