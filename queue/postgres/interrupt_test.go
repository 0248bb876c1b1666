package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// What a claim or a Take has leased whose context ends at that moment nobody knows of, so
// that it must not wait for the end of its lease.
func TestInterruptedClaimLeavesNothingLeased(t *testing.T) {
	const messages, tries = 20, 150
	p := pool(t, shared.server.URL())
	q, _ := open(t, p, postgres.Options{})
	var ids []string
	for i := range messages {
		id, err := q.Put(t.Context(), time.Now(), mail(fmt.Sprint(i), "a@one.example"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for name, call := range map[string]func(ctx context.Context, i int) (n int, err error){
		"Claim": func(ctx context.Context, _ int) (int, error) {
			got, err := q.Claim(ctx, time.Now(), queue.ClaimOptions{})
			giveBack(t, q, got.Deliveries)
			return len(got.Deliveries), err
		},
		"Take": func(ctx context.Context, i int) (int, error) {
			got, err := q.Take(ctx, time.Now(), ids[i%messages], time.Hour)
			giveBack(t, q, got.Deliveries)
			return len(got.Deliveries), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			took := time.Hour
			for range 5 {
				began := time.Now()
				if n, err := call(t.Context(), 0); n == 0 || err != nil {
					t.Fatalf("it returns %d, %v", n, err)
				}
				took = min(took, time.Since(began))
			}
			interrupted := 0
			for i := range tries {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(took))))
				began := time.Now()
				_, err := call(ctx, i)
				cancel()
				switch {
				case errors.Is(err, context.DeadlineExceeded):
					interrupted++
				case err != nil:
					t.Fatal(err)
				}
				if over := time.Since(began); over > 10*time.Second {
					t.Errorf("it returns %v after its beginning", over)
				}
			}
			if t.Logf("%d of %d were interrupted", interrupted, tries); interrupted == 0 {
				t.Error("nothing was interrupted, so that nothing is shown")
			}
			got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
			if err != nil || len(got.Deliveries) != messages {
				t.Errorf("%d of %d can be claimed, %v", len(got.Deliveries), messages, err)
			}
			giveBack(t, q, got.Deliveries)
		})
	}
}

func giveBack(t *testing.T, q *postgres.Queue, list []queue.Delivery) {
	t.Helper()
	var batch []queue.Settlement
	for _, d := range list {
		batch = append(batch, queue.Settlement{Lease: d.Lease})
	}
	settled, err := q.Settle(context.WithoutCancel(t.Context()), time.Now(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settled {
		if s.Err != nil {
			t.Fatal(s.Err)
		}
	}
}
