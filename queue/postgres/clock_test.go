package postgres_test

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// Agents whose clocks differ by two hours do not take each other's leases, and mean the
// same by a time. Each is told of times on its own clock.
func TestClocksThatDiffer(t *testing.T) {
	clock := func(off time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(off) } }
	ahead, behind := clock(time.Hour), clock(-time.Hour)
	p := pool(t, shared.server.URL())
	a, o := open(t, p, postgres.Options{Clock: ahead})
	o.Clock = behind
	b := another(t, p, o)
	near := func(what string, got, want time.Time) {
		t.Helper()
		if off := got.Sub(want); off < -time.Second || off > time.Second {
			t.Errorf("%s is %v, want about %v", what, got, want)
		}
	}
	claim := func(q *postgres.Queue, now time.Time, lease time.Duration) queue.Claimed {
		t.Helper()
		got, err := q.Claim(t.Context(), now, queue.ClaimOptions{Lease: lease})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}

	if _, err := b.Put(t.Context(), behind(), mail("text", "a@one.example")); err != nil {
		t.Fatal(err)
	}
	const lease = 700 * time.Millisecond
	start := time.Now()
	got := claim(a, ahead(), lease)
	if len(got.Deliveries) != 1 {
		t.Fatalf("Claim returned %d deliveries, want 1", len(got.Deliveries))
	}
	near("Due", got.Deliveries[0].Due, ahead())
	near("the end of the lease", got.Deliveries[0].Lease.Until, ahead())
	if got := claim(b, behind(), lease); len(got.Deliveries) > 0 {
		t.Fatal("the agent that is behind was given what the other has leased")
	} else {
		near("Next", got.Next, behind())
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(got.Deliveries) > 0 {
		<-tick.C
		if again := claim(b, behind(), time.Hour); len(again.Deliveries) > 0 {
			if since := time.Since(start); since < lease {
				t.Errorf("the lease was over after %v, want %v", since, lease)
			}
			break
		}
		if time.Since(start) > patience {
			t.Fatal("the lease never ended")
		}
	}

	if err := a.Postpone(t.Context(), ahead(), queue.Postponement{Destination: "two.example", Until: ahead().Add(10 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	m := mail("text", "a@two.example")
	m.NotBefore = behind().Add(5 * time.Minute)
	id, err := b.Put(t.Context(), behind(), m)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		q     *postgres.Queue
		clock func() time.Time
	}{"ahead": {a, ahead}, "behind": {b, behind}} {
		e, err := c.q.Show(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		near("for the agent "+name+" Next", e.Waiting[0].Next, c.clock().Add(10*time.Minute))
		if !e.Message.NotBefore.Equal(m.NotBefore) {
			t.Errorf("the message's own NotBefore is %v, want it as it was put, %v", e.Message.NotBefore, m.NotBefore)
		}
	}
}
