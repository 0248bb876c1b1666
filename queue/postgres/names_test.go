package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// A name that a database cannot store is that of no destination, and is no error: it must
// not keep other leases of a batch from being settled, for example.
func TestNamesThatNoDestinationHas(t *testing.T) {
	q, _ := open(t, pool(t, shared.server.URL()), postgres.Options{})
	for _, name := range []string{"one\x00.example", "\xffone.example", "\x00"} {
		ctx, now := t.Context(), time.Now()
		id, err := q.Put(ctx, now, mail("text", "a@one.example"))
		if err != nil {
			t.Fatal(err)
		}
		if list, err := queue.List(ctx, q, queue.ListOptions{Destination: name}); err != nil || len(list.Entries) > 0 {
			t.Errorf("List of %q = %v, %v", name, list.Entries, err)
		}
		if _, err := q.Survey(ctx, name, 0); err != nil {
			t.Errorf("Survey after %q: %v", name, err)
		}
		if n, err := q.Flush(ctx, now, queue.Selection{Destination: name}, queue.Selection{Message: id, Destination: name}); n != 0 || err != nil {
			t.Errorf("Flush of %q = %d, %v", name, n, err)
		}
		until := now.Add(time.Minute)
		err = q.Postpone(ctx, now, queue.Postponement{Destination: name, Until: until}, queue.Postponement{Destination: name, Until: until, Owner: "me"})
		if err != nil {
			t.Errorf("Postpone of %q: %v", name, err)
		}
		if taken, err := q.Take(ctx, now, id, time.Minute, name); err != nil || len(taken.Deliveries) > 0 {
			t.Errorf("Take of %q = %v, %v", name, taken, err)
		}
		if got, err := q.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{name}}); err != nil || len(got.Deliveries) > 0 {
			t.Errorf("Claim of %q = %v, %v", name, got.Deliveries, err)
		}
		got, err := q.Claim(ctx, now, queue.ClaimOptions{Except: []string{name}, Owner: "me"})
		if err != nil || len(got.Deliveries) != 1 {
			t.Fatalf("Claim except %q = %v, %v", name, got.Deliveries, err)
		}
		good := got.Deliveries[0].Lease
		bad := good
		bad.Destination = name
		extended, err := q.Extend(ctx, now, []queue.Lease{bad, good}, time.Minute)
		if err != nil || !errors.Is(extended[0].Err, queue.ErrLeaseLost) || extended[1].Err != nil {
			t.Errorf("Extend of %q = %v, %v", name, extended, err)
		}
		if err := q.Mark(ctx, []queue.Lease{bad}); !errors.Is(err, queue.ErrLeaseLost) {
			t.Errorf("Mark of %q = %v", name, err)
		}
		done := []queue.Result{{Outcome: queue.Delivered}}
		settled, err := q.Settle(ctx, now, []queue.Settlement{{Lease: bad, Results: done}, {Lease: good, Results: done}})
		if err != nil || !errors.Is(settled[0].Err, queue.ErrLeaseLost) || settled[1].Err != nil {
			t.Errorf("Settle of %q = %v, %v", name, settled, err)
		}
	}
}
