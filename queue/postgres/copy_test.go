package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// counts are how often each content was delivered, by whichever queue.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

// deliver delivers from a queue, half of it after a deferral, until it is told to stop.
func (c *counts) deliver(ctx context.Context, t *testing.T, q queue.Queue) {
	for ctx.Err() == nil {
		got, err := q.Claim(context.Background(), time.Now(), queue.ClaimOptions{Max: 3})
		if err != nil {
			t.Errorf("Claim = %v", err)
			return
		}
		var batch []queue.Settlement
		for _, d := range got.Deliveries {
			o := queue.Delivered
			if d.States[0].Attempts == 0 && d.Message.Metadata["deferred"] != "" {
				o = queue.Deferred
			}
			batch = append(batch, queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: o}}})
			if o == queue.Delivered {
				c.mu.Lock()
				c.of[d.Message.Metadata["name"]]++
				c.mu.Unlock()
			}
		}
		if _, err := q.Settle(context.Background(), time.Now(), batch); err != nil {
			t.Errorf("Settle = %v", err)
		}
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// A queue moves while agents take from both and mail comes in: everything is delivered,
// and nothing twice.
func TestCopyBetweenDiskAndPostgres(t *testing.T) {
	database, _ := open(t, pool(t, shared.server.URL()), postgres.Options{})
	spool, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	for name, c := range map[string]struct{ to, from queue.Queue }{
		"to PostgreSQL": {database, spool}, "to a directory": {spool, database},
	} {
		t.Run(name, func(t *testing.T) {
			const messages = 150
			delivered := &counts{of: make(map[string]int)}
			ctx, stop := context.WithCancel(t.Context())
			var agents, puts sync.WaitGroup
			for w := range 3 {
				puts.Go(func() {
					for n := range messages / 3 {
						m := mail(fmt.Sprint("text ", n), "a@one.example")
						m.Metadata = map[string]string{"name": fmt.Sprint(w, "-", n)}
						if n%2 == 0 {
							m.Metadata["deferred"] = "once"
						}
						if n%3 == 0 {
							m.NotBefore = time.Now().Add(time.Hour) // which only the move sees
							m.Metadata["late"] = "yes"
						}
						if _, err := c.from.Put(t.Context(), time.Now(), m); err != nil {
							t.Errorf("Put = %v", err)
						}
					}
				})
			}
			for _, q := range []queue.Queue{c.from, c.to} {
				agents.Go(func() { delivered.deliver(ctx, t, q) })
			}
			moved := 0
			move := func() int {
				n, err := queue.Copy(t.Context(), c.to, c.from, queue.CopyOptions{})
				if err != nil || n.Unreadable > 0 {
					t.Fatalf("Copy = %+v, %v", n, err)
				}
				moved += n.Messages
				return n.Busy
			}
			for range 3 {
				move()
			}
			puts.Wait()
			for start := time.Now(); move() > 0; {
				if time.Since(start) > patience {
					t.Fatal("some mail is never free to move")
				}
			}
			stop()
			agents.Wait()
			if total, err := queue.Total(t.Context(), c.from); err != nil || total.Messages != 0 {
				t.Errorf("%d messages are left, %v, want none", total.Messages, err)
			}
			rest, err := c.to.Claim(t.Context(), time.Now().Add(24*time.Hour), queue.ClaimOptions{Max: 1000})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range rest.Deliveries {
				delivered.of[d.Message.Metadata["name"]]++
				if d.Message.Metadata["late"] == "" && d.Message.Metadata["deferred"] == "" {
					t.Logf("%s was not delivered before the agents stopped", d.Message.Metadata["name"])
				}
			}
			for name, n := range delivered.of {
				if n != 1 {
					t.Errorf("%s was delivered %d times", name, n)
				}
			}
			if len(delivered.of) != messages || moved < messages/3 {
				t.Errorf("%d messages were delivered and %d have moved, want %d and a third of that at least", len(delivered.of), moved, messages)
			}
			var end []queue.Settlement // of what is left, so that the next part begins with none
			for _, d := range rest.Deliveries {
				end = append(end, queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}}})
			}
			if _, err := c.to.Settle(t.Context(), time.Now(), end); err != nil {
				t.Fatal(err)
			}
		})
	}
}
