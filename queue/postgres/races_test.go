package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// What was claimed for a caller who has gone is given back as it was: mail that may have
// been sent, and is to be sent at most once, is still marked so.
func TestInterruptedClaimChangesNothing(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{})
	now := time.Now()
	m := mail("text", "a@one.example")
	m.Guarantee = queue.AtMostOnce
	if _, err := q.Put(t.Context(), now, m); err != nil {
		t.Fatal(err)
	}
	got, err := q.Claim(t.Context(), now, queue.ClaimOptions{Lease: time.Second})
	if err != nil || len(got.Deliveries) != 1 {
		t.Fatal(got, err)
	}
	if err := q.Mark(t.Context(), []queue.Lease{got.Deliveries[0].Lease}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	table := pgx.Identifier{o.Schema}.Sanitize() + ".delivery"
	for given := 0; given < 3; { // times that a lease was given and nobody there to take it
		token := func() (token int64) {
			if err := p.QueryRow(t.Context(), "SELECT coalesce(token, 0) FROM "+table).Scan(&token); err != nil {
				t.Fatal(err)
			}
			return token
		}
		before := token()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(10*time.Millisecond))))
		got, err := q.Claim(ctx, now, queue.ClaimOptions{})
		cancel()
		if err == nil && len(got.Deliveries) == 1 {
			if !got.Deliveries[0].Interrupted {
				t.Fatalf("after %d interrupted claims it is no longer known that it may have been sent", given)
			}
			now = now.Add(time.Hour) // after the lease
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, %v", got, err)
		}
		if token() != before {
			given++
		}
	}
	got, err = q.Claim(t.Context(), now, queue.ClaimOptions{})
	if err != nil || len(got.Deliveries) != 1 || !got.Deliveries[0].Interrupted {
		t.Errorf("afterwards Claim = %+v, %v, want one delivery that was interrupted", got.Deliveries, err)
	}
}

// Mail that is put while a postponement is being lifted is not left to its end.
func TestMailDuringTheEndOfAPostponement(t *testing.T) {
	p := pool(t, shared.server.URL())
	for name, end := range map[string]string{
		"lifted":    "DELETE FROM $.postponed",
		"shortened": "UPDATE $.postponed SET until = 1",
	} {
		t.Run(name, func(t *testing.T) {
			q, o := open(t, p, postgres.Options{})
			now := time.Now()
			err := q.Postpone(t.Context(), now, queue.Postponement{Destination: "one.example", Until: now.Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			tx, err := p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			if _, err := tx.Exec(t.Context(), strings.ReplaceAll(end, "$", pgx.Identifier{o.Schema}.Sanitize())); err != nil {
				t.Fatal(err)
			}
			if _, err := q.Put(t.Context(), now, mail("text", "a@one.example")); err != nil {
				t.Fatal(err)
			}
			if list := texts(t, q); len(list) != 0 {
				t.Fatal("it was claimed while its destination is postponed")
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if list := texts(t, q); len(list) != 1 {
				t.Errorf("%d are due, want 1", len(list))
			}
		})
	}
}

// In a restored database, transactions have lower numbers than those that its rows name.
func TestClaimsOfARestoredDatabase(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{})
	now := time.Now()
	var full []string
	m := mail("text")
	for i := range 6000 {
		full = append(full, fmt.Sprintf("d%d.example", i))
		m.Recipients = append(m.Recipients, queue.Recipient{Address: "a@" + full[i]})
	}
	for _, m := range []*queue.Message{m, mail("text", "a@one.example")} {
		if _, err := q.Put(t.Context(), now, m); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, p, o, "UPDATE $.head SET xid = xid + 1000000000")
	r := another(t, p, o)
	for range 20 {
		got, err := r.Claim(t.Context(), now, queue.ClaimOptions{Except: full})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Deliveries) == 1 {
			return
		}
	}
	t.Error("mail behind what the claimer has no room for is never found")
}

// After a failover to a server that lacks the last changes, transactions have numbers that
// a handle has seen before. It finds what they put, though its connections are new and no
// call has failed.
func TestClaimsAfterNumbersOfTransactionsWentBack(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{NoListen: true})
	other := another(t, p, o)
	now := time.Now()
	for range 3 {
		if _, err := q.Claim(t.Context(), now, queue.ClaimOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.Put(t.Context(), now, mail("text", "a@one.example")); err != nil {
		t.Fatal(err)
	}
	exec(t, p, o, "UPDATE $.head SET xid = xid - 1000")
	if err := shared.crash(p); err != nil {
		t.Fatal(err)
	}
	found := 0
	for {
		got, err := q.Claim(t.Context(), now, queue.ClaimOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if found += len(got.Deliveries); got.Next.IsZero() || got.Next.After(now) {
			break
		}
	}
	if found != 1 {
		t.Errorf("%d are found, want 1", found)
	}
}

// A change that waits for another transaction's is made to what that has left.
func TestChangesThatWaitForAnother(t *testing.T) {
	p := pool(t, shared.server.URL())
	for name, change := range map[string]func(q *postgres.Queue, now time.Time, l queue.Lease) error{
		"delivered": func(q *postgres.Queue, now time.Time, l queue.Lease) error {
			return settleOne(q, now, queue.Settlement{Lease: l, Results: []queue.Result{{Outcome: queue.Delivered}}})
		},
		"deferred": func(q *postgres.Queue, now time.Time, l queue.Lease) error {
			return settleOne(q, now, queue.Settlement{Lease: l, NotBefore: now.Add(time.Hour), Results: []queue.Result{{Outcome: queue.Deferred}}})
		},
		"extended": func(q *postgres.Queue, now time.Time, l queue.Lease) error {
			_, err := q.Extend(context.Background(), now, []queue.Lease{l}, 10*time.Hour)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			q, o := open(t, p, postgres.Options{})
			now := time.Now()
			if _, err := q.Put(t.Context(), now, mail("text", "a@one.example")); err != nil {
				t.Fatal(err)
			}
			got, err := q.Claim(t.Context(), now, queue.ClaimOptions{})
			if err != nil || len(got.Deliveries) != 1 {
				t.Fatal(got, err)
			}
			tx, err := p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			_, err = tx.Exec(t.Context(), "UPDATE "+pgx.Identifier{o.Schema}.Sanitize()+".delivery SET warned = NOT warned, until = until + 1")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- change(q, now, got.Deliveries[0].Lease) }()
			for waits := false; !waits; {
				err := p.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple'))").Scan(&waits)
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			now = now.Add(30 * time.Minute) // after the lease
			again, err := q.Claim(t.Context(), now, queue.ClaimOptions{})
			if err != nil || len(again.Deliveries) != 0 {
				t.Errorf("it is claimed again: %v, %v", again.Deliveries, err)
			}
		})
	}
}

func settleOne(q *postgres.Queue, now time.Time, s queue.Settlement) error {
	settled, err := q.Settle(context.Background(), now, []queue.Settlement{s})
	if err == nil {
		err = settled[0].Err
	}
	return err
}

// Several claims of one handle at a time agree on what it remembers of many lanes.
func TestManyClaimsOfManyLanes(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, _ := open(t, p, postgres.Options{})
	const lanes = 3000
	m := mail("text")
	for i := range lanes {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@d%d.example", i)})
	}
	if _, err := q.Put(t.Context(), time.Now(), m); err != nil {
		t.Fatal(err)
	}
	counts := make(chan int)
	for range 4 {
		go func() {
			n := 0
			for range 40 {
				got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{Max: 20})
				if err != nil {
					t.Error(err)
					break
				}
				n += len(got.Deliveries)
			}
			counts <- n
		}()
	}
	total := 0
	for range 4 {
		total += <-counts
	}
	for {
		got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if total += len(got.Deliveries); len(got.Deliveries) == 0 {
			break
		}
	}
	if total != lanes {
		t.Errorf("%d were claimed, want %d", total, lanes)
	}
}
