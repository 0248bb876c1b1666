package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// A server that fails over to one that has not everything gives numbers again. What was
// given under them before is none of what is given then.
func TestNumbersThatAreGivenAgain(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{})
	old, err := q.Put(t.Context(), time.Now(), mail("old", "a@one.example"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
	if err != nil || len(got.Deliveries) != 1 {
		t.Fatalf("Claim = %+v, %v", got, err)
	}
	lease := got.Deliveries[0].Lease
	exec(t, p, o, "DELETE FROM $.message", "DELETE FROM $.delivery", "DELETE FROM $.head", "ALTER SEQUENCE $.message_id RESTART")

	again, err := q.Put(t.Context(), time.Now(), mail("new", "a@one.example"))
	if err != nil {
		t.Fatal(err)
	}
	if again[:13] != old[:13] || again == old {
		t.Fatalf("after %q Put gave %q, want another id of the same number", old, again)
	}
	if _, err := another(t, p, o).Open(t.Context(), old); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("Open of the id that is lost = %v, want ErrNotFound", err)
	}
	if err := q.Drop(t.Context(), old); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("Drop of the id that is lost = %v, want ErrNotFound", err)
	}
	if _, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{}); err != nil {
		t.Fatal(err)
	}
	settled, err := q.Settle(t.Context(), time.Now(), []queue.Settlement{{
		Lease: lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}},
	}})
	if err != nil || !errors.Is(settled[0].Err, queue.ErrLeaseLost) {
		t.Errorf("Settle with the lease that is lost = %+v, %v, want ErrLeaseLost", settled, err)
	}
	if got := text(t, q, again); got != "new" {
		t.Errorf("the content is %q", got)
	}
}

// One connection in the pool is enough for all that a handle does, contents of a bounce
// that come from the same queue included.
func TestOneConnectionIsEnough(t *testing.T) {
	config, err := pgxpool.ParseConfig(shared.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	q, _ := open(t, p, postgres.Options{Timeout: patience})
	long := strings.Repeat("a long line of text\r\n", 50_000)
	id, err := q.Put(t.Context(), time.Now(), mail(long, "a@one.example"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
	if err != nil {
		t.Fatal(err)
	}
	content, err := q.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	report := mail("", "sender@report.example")
	report.Content = content
	settled, err := q.Settle(t.Context(), time.Now(), []queue.Settlement{{
		Lease: got.Deliveries[0].Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Failed}}, Create: []*queue.Message{report},
	}})
	if err != nil || settled[0].Err != nil {
		t.Fatalf("Settle = %+v, %v", settled, err)
	}
	if text(t, q, settled[0].Created[0]) != long {
		t.Error("the report quotes something else")
	}
	if err := q.Suspend(t.Context(), time.Now(), queue.Suspension{Subject: queue.Subject{Kind: queue.OfTenant}}); err != nil {
		t.Error(err)
	}
}
