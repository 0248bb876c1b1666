package postgres_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// locked begins a transaction that does something, and returns what ends it.
func locked(t *testing.T, url string, o postgres.Options, sql string) (end func()) {
	t.Helper()
	tx, err := pool(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), strings.ReplaceAll(sql, "$", pgx.Identifier{o.Schema}.Sanitize())); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if err := tx.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return end
}

// blocked waits until so many sessions wait for locks of a kind.
func blocked(t *testing.T, url, kind string, n int) {
	t.Helper()
	p := pool(t, url)
	for end := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		var got int
		if err := p.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = $1", kind).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d sessions wait for a lock, want %d", got, n)
		}
	}
}

// waiting waits until so many calls of Put wait for a transaction.
func waiting(t *testing.T, q *postgres.Queue, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); postgres.WaitingPuts(q) != n; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d calls of Put wait for a transaction, want %d", postgres.WaitingPuts(q), n)
		}
	}
}

// A message is put as it was when Put was called, even if the caller has given up
// meanwhile and uses the message for something else: its transaction is for others too, and
// is made again without the message of which the server refuses a value.
func TestMessageOfACallerThatGaveUp(t *testing.T) {
	url := shared.server.URL()
	p := pool(t, url)
	q, o := open(t, p, postgres.Options{})
	exec(t, p, o, `CREATE FUNCTION $.picky() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
			IF NEW.tenant = ''bad'' THEN RAISE check_violation; END IF;
			IF NEW.tenant = ''good'' THEN PERFORM pg_advisory_xact_lock_shared(7001); END IF;
			RETURN NEW; END'`,
		`CREATE TRIGGER picky BEFORE INSERT ON $.message FOR EACH ROW EXECUTE FUNCTION $.picky()`)
	hold := locked(t, url, o, "SELECT pg_advisory_xact_lock(7001)")
	busy := locked(t, url, o, "LOCK TABLE $.message IN EXCLUSIVE MODE")
	var all sync.WaitGroup
	defer all.Wait()
	put := func(ctx context.Context, m *queue.Message) chan error {
		done := make(chan error, 1)
		all.Go(func() {
			_, err := q.Put(ctx, time.Now(), m)
			done <- err
		})
		return done
	}
	for i := range 4 { // as many as there are transactions at a time
		put(t.Context(), mail("first", "a@first.example"))
		blocked(t, url, "relation", i+1)
	}
	good, bad := mail("good", "a@good.example"), mail("bad", "a@bad.example")
	good.Tenant, bad.Tenant = "good", "bad"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := put(ctx, good)
	waiting(t, q, 1) // so that they come in this order
	refused := put(t.Context(), bad)
	waiting(t, q, 2)
	busy()
	blocked(t, url, "advisory", 1)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("Put of a caller that gave up = %v", err)
	}
	good.Tenant, good.Guarantee = "another", queue.AtMostOnce
	hold()
	if err := <-refused; err == nil {
		t.Error("a value was put that the server refuses")
	}
	all.Wait()
	got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{Destinations: []string{"good.example"}})
	if err != nil || len(got.Deliveries) != 1 || got.Deliveries[0].Message.Tenant != "good" {
		t.Fatalf("the queue has %+v, %v; want the message as it was", got.Deliveries, err)
	}
	var tenant string
	var once bool
	sql := strings.ReplaceAll("SELECT convert_from(tenant, 'UTF8'), once FROM $.message WHERE tenant IN ('good', 'another')", "$", pgx.Identifier{o.Schema}.Sanitize())
	if err := p.QueryRow(t.Context(), sql).Scan(&tenant, &once); err != nil || tenant != "good" || once {
		t.Errorf("the message has the tenant %q and goes out at most once: %t, %v; want good and false", tenant, once, err)
	}
}

// While the server answers nothing, a call of Put takes as long as a statement may, and
// the wait for a transaction that it shares with others no longer than that.
func TestPutsWhileTheServerAnswersNothing(t *testing.T) {
	url := shared.server.URL()
	const limit = 1500 * time.Millisecond // beside which it hardly matters what else the machine does
	q, o := open(t, pool(t, url), postgres.Options{Timeout: limit})
	locked(t, url, o, "LOCK TABLE $.message IN EXCLUSIVE MODE")
	text := strings.Repeat("text\r\n", 10_000) // some go into one transaction
	began := time.Now()
	var all sync.WaitGroup
	for range 600 {
		all.Go(func() {
			if _, err := q.Put(t.Context(), began, mail(text, "a@d1.example")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Put = %v, want that it took too long", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 5*limit {
		t.Errorf("after %v all calls of Put have returned, want %v at most", took, 2*limit)
	}
}
