package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// stats asks until the answer is as wanted: the server's counters come a moment later.
func stats(t *testing.T, q *postgres.Queue, what string, wanted func(postgres.Stats) bool) (s postgres.Stats) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(20 * time.Millisecond) {
		s, err := q.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if wanted(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("Stats has not %s: %+v", what, s)
		}
	}
}

func TestStats(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{})
	t.Run("a queue that is empty and new", func(t *testing.T) {
		s := stats(t, q, "a listener", func(s postgres.Stats) bool { return s.Listening })
		if s.DeadRows != 0 || s.Bytes <= 0 || s.Pool.Max != 8 || s.Pool.InUse+s.Pool.Idle < 1 {
			t.Errorf("Stats = %+v", s)
		}
	})
	t.Run("mail that has gone leaves dead rows", func(t *testing.T) {
		exec(t, p, o, "ALTER TABLE $.delivery SET (autovacuum_enabled = off)")
		for range 10 {
			if _, err := q.Put(t.Context(), time.Now(), mail("text", "a@one.example")); err != nil {
				t.Fatal(err)
			}
		}
		got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var batch []queue.Settlement
		for _, d := range got.Deliveries {
			batch = append(batch, queue.Settlement{
				Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}},
			})
		}
		if _, err := q.Settle(t.Context(), time.Now(), batch); err != nil {
			t.Fatal(err)
		}
		stats(t, q, "the dead rows", func(s postgres.Stats) bool { return s.DeadRows >= 20 })
	})
	t.Run("a transaction that stays open", func(t *testing.T) {
		tx, err := pool(t, shared.server.URL()).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(t.Context())
		if _, err := tx.Exec(t.Context(), "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "SELECT"); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := q.Put(t.Context(), time.Now(), mail("text", "a@one.example")); err != nil {
				t.Fatal(err)
			}
		}
		stats(t, q, "the transaction", func(s postgres.Stats) bool {
			return s.HorizonAge >= 20 && s.OldestTransaction > 10*time.Millisecond
		})
	})
	t.Run("of those who may not see the transactions of others, the age alone", func(t *testing.T) {
		exec(t, p, o, "CREATE ROLE watcher LOGIN", "GRANT USAGE ON SCHEMA $ TO watcher", "GRANT SELECT ON ALL TABLES IN SCHEMA $ TO watcher")
		watcher := pool(t, strings.Replace(shared.server.URL(), "user=nexthop", "user=watcher", 1))
		stats(t, another(t, watcher, o), "an answer", func(s postgres.Stats) bool { return s.LiveRows > 0 && s.Bytes > 0 })
	})
	t.Run("a server that is gone: what the handle knows", func(t *testing.T) {
		lonely := pool(t, shared.server.URL())
		closed := another(t, lonely, o)
		lonely.Close()
		s, err := closed.Stats(t.Context())
		if err == nil || s.Pool.Max != 8 {
			t.Errorf("Stats = %+v, %v", s, err)
		}
	})
}
