package postgres_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// Beside transactions that hold up the removal of what has left, mail flows as it does
// without: one that stays open for ten minutes, then readers of two minutes each, of which
// there is always one.
func TestFlowBesideLongTransactions(t *testing.T) {
	minute := 300 * time.Millisecond // which is too short to judge times by
	long := os.Getenv("NEXTHOP_LONG") != ""
	if long {
		minute = time.Minute
	}
	p := pool(t, shared.server.URL())
	q, _ := open(t, p, postgres.Options{})
	f := &flow{p: p, q: q, rate: 800}
	measure := func(name string, length time.Duration) (p99, put time.Duration, backlog int) {
		f.run(t.Context(), length)
		if len(f.failures) > 0 {
			t.Fatal(f.failures)
		}
		claims, puts, backlog := f.take()
		t.Logf("%-28s %5d claims, p50 %6v p99 %6v; %6d puts, p99 %6v; backlog %d", name, len(claims), at(claims, 0.5).Round(10*time.Microsecond),
			at(claims, 0.99).Round(10*time.Microsecond), len(puts), at(puts, 0.99).Round(10*time.Microsecond), backlog)
		return at(claims, 0.99), at(puts, 0.99), backlog
	}
	measure("the first seconds", minute/6)
	free, freePut, before := measure("nothing held", minute)
	check := func(name string, length time.Duration) {
		p99, put, after := measure(name, length)
		// What the machine does otherwise slows puts down as well, which look for nothing.
		busy := max(float64(put)/float64(freePut), 1)
		if long && float64(p99) > 3*busy*float64(free) {
			t.Errorf("%s: 99 of 100 claims take at most %v, and %v when nothing is held", name, p99, free)
		}
		if after > before+2*f.rate+f.rate/20*5 {
			t.Errorf("%s: the backlog grows from %d to %d", name, before, after)
		}
	}
	end, err := hold(t.Context(), shared.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		check("held, minutes "+[]string{"1-2", "3-4", "5-6", "7-8", "9-10"}[i], 2*minute)
	}
	end()

	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			for k := i; ctx.Err() == nil; k++ {
				wait, cancel := context.WithTimeout(ctx, min(2*minute, time.Duration(k+1)*40*minute/60))
				if end, err := hold(ctx, shared.server.URL()); err == nil {
					<-wait.Done()
					end()
				}
				cancel()
			}
		})
	}
	for range 3 {
		check("readers of two minutes", 2*minute)
	}
	stop()
	group.Wait()
}
