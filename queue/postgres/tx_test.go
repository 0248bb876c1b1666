package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// mail is a message to some recipients.
func mail(text string, to ...string) *queue.Message {
	m := &queue.Message{From: "sender@example.org", Content: queue.String(text)}
	for _, address := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: address})
	}
	return m
}

// texts claims everything and reads it.
func texts(t *testing.T, q *postgres.Queue) (list []string) {
	t.Helper()
	got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range got.Deliveries {
		list = append(list, text(t, q, d.Lease.Message))
	}
	return list
}

func text(t *testing.T, q queue.Queue, id string) string {
	t.Helper()
	c, err := q.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// transaction is one of the application's, of either package.
type transaction struct {
	put              func(ctx context.Context, now time.Time, m *queue.Message) (string, error)
	commit, rollback func() error
	exec             func(text string) error
}

// transactions are the two ways to begin one.
func transactions(t *testing.T, q *postgres.Queue) map[string]func() transaction {
	p := pool(t, shared.server.URL())
	db, err := sql.Open("pgx", shared.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return map[string]func() transaction{
		"pgx": func() transaction {
			tx, err := p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
			return transaction{
				put: func(ctx context.Context, now time.Time, m *queue.Message) (string, error) {
					return q.PutTx(ctx, tx, now, m)
				},
				commit: func() error { return tx.Commit(t.Context()) }, rollback: func() error { return tx.Rollback(t.Context()) },
				exec: func(text string) error { _, err := tx.Exec(t.Context(), text); return err },
			}
		},
		"database/sql": func() transaction {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tx.Rollback() })
			return transaction{
				put: func(ctx context.Context, now time.Time, m *queue.Message) (string, error) {
					return q.PutSQL(ctx, tx, now, m)
				},
				commit: tx.Commit, rollback: tx.Rollback,
				exec: func(text string) error { _, err := tx.ExecContext(t.Context(), text); return err },
			}
		},
	}
}

func TestPutWithTheApplicationsTransaction(t *testing.T) {
	q, _ := open(t, pool(t, shared.server.URL()), postgres.Options{})
	for name, begin := range transactions(t, q) {
		t.Run(name, func(t *testing.T) {
			odd := "NUL \x00, \xff, \\ and \""
			for _, content := range []string{odd, "", strings.Repeat(odd, 100_000)} {
				m := mail(content, "a@one.example", "b@two.example", "c@one.example")
				m.Tenant, m.Key, m.Metadata = odd, fmt.Sprint(name, odd, len(content)), map[string]string{odd: odd}

				tx := begin()
				if _, err := tx.put(t.Context(), time.Now(), m); err != nil {
					t.Fatal(err)
				}
				if err := tx.rollback(); err != nil {
					t.Fatal(err)
				}
				if got := texts(t, q); len(got) > 0 {
					t.Fatalf("Claim returned %d deliveries of a transaction that was rolled back", len(got))
				}

				tx = begin()
				id, err := tx.put(t.Context(), time.Now(), m)
				if err != nil {
					t.Fatal(err)
				}
				if got := texts(t, q); len(got) > 0 {
					t.Fatalf("Claim returned %d deliveries before the commit", len(got))
				}
				if err := tx.commit(); err != nil {
					t.Fatal(err)
				}
				got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
				if err != nil || len(got.Deliveries) != 2 {
					t.Fatalf("Claim after the commit = %d deliveries, %v, want 2", len(got.Deliveries), err)
				}
				d := got.Deliveries[0]
				if d.Lease.Message != id || d.Message.Tenant != odd || d.Message.Metadata[odd] != odd || text(t, q, id) != content {
					t.Errorf("what was put has changed: %+v", d.Message)
				}

				tx = begin()
				if second, err := tx.put(t.Context(), time.Now(), m); second != id || !errors.Is(err, queue.ErrDuplicate) {
					t.Errorf("a second put of the key = %q, %v, want %q and ErrDuplicate", second, err, id)
				}
				if _, err := tx.put(t.Context(), time.Now(), mail("after it", "no domain")); !errors.As(err, new(*queue.MessageError)) {
					t.Errorf("put of a bad address = %v, want a *MessageError", err)
				}
				if err := errors.Join(tx.exec("SELECT 1"), tx.commit()); err != nil {
					t.Errorf("the transaction after what was refused: %v", err)
				}
			}
		})
	}
}

// woken begins to wait, after a claim that found nothing, on a handle that hears.
func woken(t *testing.T, q *postgres.Queue) (ended chan error) {
	t.Helper()
	got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- q.Wait(t.Context(), got.Seen) }()
	return ended
}

func TestAgentsAreWokenAfterTheCommit(t *testing.T) {
	o := postgres.Options{PollEvery: time.Hour} // so that nothing but a notification wakes
	q, o := open(t, pool(t, shared.server.URL()), o)
	agent := another(t, pool(t, shared.server.URL()), o)
	wait := func(t *testing.T, ended chan error) {
		t.Helper()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("nobody was woken")
		}
	}
	for name, begin := range transactions(t, q) {
		t.Run(name, func(t *testing.T) {
			tx, ended := begin(), woken(t, agent)
			if _, err := tx.put(t.Context(), time.Now(), mail("text", "a@one.example")); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				t.Error("an agent was woken before the commit")
			case <-time.After(100 * time.Millisecond):
			}
			if err := tx.commit(); err != nil {
				t.Fatal(err)
			}
			wait(t, ended)
			if got := texts(t, agent); len(got) != 1 {
				t.Errorf("after the wake-up Claim returned %d deliveries, want 1", len(got))
			}
		})
	}
	t.Run("quiet, and woken by hand", func(t *testing.T) {
		o.QuietTx = true
		quiet := another(t, pool(t, shared.server.URL()), o)
		tx, ended := transactions(t, quiet)["pgx"](), woken(t, agent)
		if _, err := tx.put(t.Context(), time.Now(), mail("text", "a@one.example")); err != nil {
			t.Fatal(err)
		}
		if err := tx.commit(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			t.Error("an agent was woken by a quiet transaction")
		case <-time.After(100 * time.Millisecond):
		}
		quiet.Wake()
		wait(t, ended)
	})
}

func TestAnOpenTransactionHarmsNobodyElse(t *testing.T) {
	q, _ := open(t, pool(t, shared.server.URL()), postgres.Options{Timeout: 5 * time.Second})
	tx := transactions(t, q)["pgx"]()
	m := mail(strings.Repeat("large ", 100_000), "a@one.example", "b@two.example")
	m.Key = "key"
	late, err := tx.put(t.Context(), time.Now(), m)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := q.Put(t.Context(), time.Now(), mail("text", "c@one.example", "d@two.example")); err != nil {
			t.Fatalf("Put to the same destinations = %v", err)
		}
		got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
		if err != nil || len(got.Deliveries) != 2 {
			t.Fatalf("Claim = %d deliveries, %v, want 2", len(got.Deliveries), err)
		}
		if !got.Next.IsZero() && !got.Next.After(time.Now()) {
			t.Errorf("Next is %v, want none that an agent would come back for at once", got.Next)
		}
		for _, d := range got.Deliveries {
			settled, err := q.Settle(t.Context(), time.Now(), []queue.Settlement{{
				Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}},
			}})
			if err != nil || settled[0].Err != nil {
				t.Fatalf("Settle = %+v, %v", settled, err)
			}
		}
		if n, err := q.Flush(t.Context(), time.Now(), queue.Selection{}); n != 0 || err != nil {
			t.Errorf("Flush = %d, %v", n, err)
		}
	}
	if err := tx.commit(); err != nil {
		t.Fatal(err)
	}
	got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
	if err != nil || len(got.Deliveries) != 2 || got.Deliveries[0].Lease.Message != late {
		t.Errorf("Claim after the late commit = %+v, %v, want two deliveries of %s", got.Deliveries, err, late)
	}
}
