package postgres_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// exec executes statements in which $ stands for the schema.
func exec(t *testing.T, p *pgxpool.Pool, o postgres.Options, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := p.Exec(t.Context(), strings.ReplaceAll(s, "$", pgx.Identifier{o.Schema}.Sanitize()))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestOpenNamesTheVersionThatIsMissing(t *testing.T) {
	p := pool(t, shared.server.URL())
	o := postgres.Options{Schema: shared.named()}
	steps, err := postgres.Steps(o.Schema)
	if err != nil {
		t.Fatal(err)
	}
	last := len(steps)
	want := func(t *testing.T, want postgres.VersionError) {
		t.Helper()
		_, err := postgres.Open(t.Context(), p, o)
		var got *postgres.VersionError
		if want.Schema = o.Schema; !errors.As(err, &got) || *got != want {
			t.Errorf("Open = %v, want %+v", err, want)
		}
	}
	t.Run("a schema that is not there", func(t *testing.T) { want(t, postgres.VersionError{Have: 0, Want: last}) })
	exec(t, p, o, "CREATE SCHEMA $")
	if _, err := p.Exec(t.Context(), steps[0].SQL+steps[1].SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	t.Run("the first steps only", func(t *testing.T) { want(t, postgres.VersionError{Have: 2, Want: last}) })
	t.Run("many who migrate at once", func(t *testing.T) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if err := postgres.Migrate(t.Context(), p, o); err != nil {
					t.Errorf("Migrate = %v", err)
				}
			})
		}
		group.Wait()
		another(t, p, o)
	})
	t.Run("a newer version that serves this one", func(t *testing.T) {
		exec(t, p, o, "INSERT INTO $.version (version, least) VALUES (99, 1)")
		another(t, p, o)
		if err := postgres.Migrate(t.Context(), p, o); err != nil {
			t.Errorf("Migrate = %v, want nothing to do", err)
		}
	})
	t.Run("a newer version that does not", func(t *testing.T) {
		exec(t, p, o, "UPDATE $.version SET least = 98 WHERE version = 99")
		want(t, postgres.VersionError{Have: 99, Want: last, Newer: true})
	})
}

// A schema may be called anything that the server takes, but for one that would end a
// function in the middle.
func TestNamesOfSchemas(t *testing.T) {
	p := pool(t, shared.server.URL())
	for _, name := range []string{`It's`, `a "b" c`, `{schema}`, `$1`, `\`, `%s`, `ü.ü`, strings.Repeat("x", 63)} {
		t.Run(name, func(t *testing.T) {
			o := postgres.Options{Schema: name}
			exec(t, p, o, "DROP SCHEMA IF EXISTS $ CASCADE") // of a run before
			if err := postgres.Check(t.Context(), p, o); err == nil {
				t.Error("Check = nil before Migrate")
			}
			if err := postgres.Migrate(t.Context(), p, o); err != nil {
				t.Fatal(err)
			}
			if err := postgres.Check(t.Context(), p, o); err != nil {
				t.Errorf("Check = %v", err)
			}
			q := another(t, p, o)
			if _, err := q.Put(t.Context(), time.Now(), mail(strings.Repeat("long ", 20_000), "a@one.example")); err != nil {
				t.Fatal(err)
			}
			if got := texts(t, q); len(got) != 1 {
				t.Errorf("Claim returned %d deliveries, want 1", len(got))
			}
			share, err := q.ShareLimits(t.Context(), time.Now(), queue.LimitRequest{Limit: "l", Claimer: "c", Connections: 2, Want: 1})
			if err != nil || len(share) != 1 || share[0].Connections != 1 {
				t.Errorf("ShareLimits = %v, %v, want one connection", share, err)
			}
		})
	}
	for _, name := range []string{"a$$b", "a\x00", strings.Repeat("x", 64)} {
		if err := postgres.Migrate(t.Context(), p, postgres.Options{Schema: name}); err == nil || !strings.Contains(err.Error(), "Options.Schema") {
			t.Errorf("with the name %q Migrate = %v", name, err)
		}
	}
}

func TestOpenRefusesConnectionsAtAnotherIsolation(t *testing.T) {
	p := pool(t, shared.server.URL()+"&default_transaction_isolation=serializable")
	o, err := shared.migrated(p, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(t.Context(), p, o); !errors.Is(err, postgres.ErrIsolation) {
		t.Errorf("Open = %v, want ErrIsolation", err)
	}
}

// The privileges in docs/postgres.md are enough.
func TestPrivileges(t *testing.T) {
	owner := pool(t, shared.server.URL())
	_, o := open(t, owner, postgres.Options{})
	t.Cleanup(func() { // for the test to be run again
		_, err := owner.Exec(context.Background(), "DROP OWNED BY agent, application; DROP ROLE agent, application", pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Error(err)
		}
	})
	exec(t, owner, o, "CREATE ROLE agent LOGIN", "CREATE ROLE application LOGIN",
		"GRANT USAGE ON SCHEMA $ TO agent, application",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA $ TO agent",
		"GRANT USAGE ON ALL SEQUENCES IN SCHEMA $ TO agent, application",
		"GRANT SELECT ON $.version TO application", "GRANT UPDATE ON $.upload TO application",
		"GRANT INSERT, SELECT, DELETE ON $.message, $.content, $.upload, $.key, $.delivery, $.head TO application")
	as := func(role string) *pgxpool.Pool {
		return pool(t, strings.Replace(shared.server.URL(), "user=nexthop", "user="+role, 1))
	}
	applications := as("application")
	q := another(t, applications, o)
	tx, err := applications.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	for _, content := range []string{"short", strings.Repeat("long ", 100_000)} {
		m := mail(content, "a@one.example", "b@two.example")
		m.Key = content[:4]
		for range 2 {
			if _, err := q.PutTx(t.Context(), tx, time.Now(), m); err != nil && !errors.Is(err, queue.ErrDuplicate) {
				t.Fatal(err)
			}
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	agent := another(t, as("agent"), o)
	if got := texts(t, agent); len(got) != 4 {
		t.Errorf("Claim returned %d deliveries, want 4", len(got))
	}
	for what, call := range map[string]func() error{
		"Suspend": func() error {
			return agent.Suspend(t.Context(), time.Now(), queue.Suspension{Subject: queue.Subject{Kind: queue.OfTenant, Name: "x"}})
		},
		"Postpone": func() error {
			return agent.Postpone(t.Context(), time.Now(), queue.Postponement{Destination: "x.example", Until: time.Now().Add(time.Hour)})
		},
		"Flush": func() error { _, err := agent.Flush(t.Context(), time.Now(), queue.Selection{}); return err },
		"Put": func() error {
			_, err := agent.Put(t.Context(), time.Now(), mail("text", "a@one.example"))
			return err
		},
	} {
		if err := call(); err != nil {
			t.Errorf("%s = %v", what, err)
		}
	}
}

// A step that has to wait for a transaction of an application does not keep others from
// the queue, and is made when that has ended.
func TestMigrateBesideAnOpenTransaction(t *testing.T) {
	p, o := pool(t, shared.server.URL()), postgres.Options{Schema: shared.named()}
	steps, err := postgres.Steps(o.Schema)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, p, o, "CREATE SCHEMA $")
	for _, s := range steps[:5] { // the next one changes table head
		if _, err := p.Exec(t.Context(), s.SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	const put = "INSERT INTO $.head (ripe, rank, due, destination, tenant, priority, at_once) VALUES (true, 1, 1, 'one.example', '', 0, true)"
	tx, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), strings.ReplaceAll(put, "$", pgx.Identifier{o.Schema}.Sanitize())); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	go func() { migrated <- postgres.Migrate(t.Context(), p, o) }()
	waits := "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE NOT l.granted AND c.oid = to_regclass($1::text))"
	for waiting := false; !waiting; {
		if err := p.QueryRow(t.Context(), waits, pgx.Identifier{o.Schema, "head"}.Sanitize()).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := p.Exec(ctx, strings.ReplaceAll(put, "$", pgx.Identifier{o.Schema}.Sanitize())); err != nil {
		t.Errorf("a put while a step waits for an application's transaction: %v", err)
	}
	select {
	case err := <-migrated:
		t.Errorf("Migrate = %v before the transaction has ended", err)
	default:
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Errorf("Migrate = %v", err)
	}
}
