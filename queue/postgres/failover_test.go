package postgres_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
)

// pair is a server and one that follows it, and a queue on whichever takes changes.
type pair struct {
	primary, standby *postgrestest.Server
	pool             *pgxpool.Pool
	queue            *postgres.Queue
}

func newPair(t *testing.T, synchronous bool) *pair {
	t.Helper()
	var (
		c   pair
		err error
	)
	if c.primary, err = postgrestest.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.primary.Close() })
	if c.standby, err = c.primary.Standby(t.Context(), synchronous); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.standby.Close() })
	c.pool = pool(t, postgrestest.URL(c.primary, c.standby))
	c.queue, _ = open(t, c.pool, postgres.Options{Timeout: 5 * time.Second})
	return &c
}

// fail kills the server and has the other one take its place.
func (c *pair) fail(t *testing.T) {
	t.Helper()
	c.primary.Kill()
	if err := c.standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.pool.Reset()
}

// load has goroutines put and deliver until what is to happen meanwhile has happened.
func (l *ledger) load(t *testing.T, q *postgres.Queue, round int, least int, meanwhile func()) {
	t.Helper()
	var group sync.WaitGroup
	stop, begun := make(chan struct{}), make(chan struct{}, 1000)
	for w := range 3 {
		group.Go(func() { l.write(t, q, fmt.Sprintf("%d-%d", round, w), stop, begun) })
	}
	group.Go(func() { l.deliver(t, q, stop) })
	for range least {
		<-begun
	}
	meanwhile()
	close(stop)
	group.Wait()
}

// After the promotion of a synchronous standby all that Put acknowledged comes out. After
// that of one that lags, what it had not got is lost, and counted here; but no id and no
// token that was given then is given again for something else.
func TestPromotedStandby(t *testing.T) {
	for _, synchronous := range []bool{true, false} {
		t.Run(fmt.Sprintf("synchronous: %v", synchronous), func(t *testing.T) {
			c := newPair(t, synchronous)
			l := &ledger{put: make(map[string]string), settled: make(map[string]int), tokens: make(map[uint64]bool)}
			l.load(t, c.queue, 0, 100, func() {
				if !synchronous {
					if err := c.standby.Detach(t.Context()); err != nil {
						t.Error(err)
					}
					l.more(t, 50)
				}
				c.primary.Kill()
			})
			before := len(l.put)
			c.fail(t)
			l.load(t, c.queue, 1, 100, func() {})
			l.drain(t, c.queue)
			lost := 0
			for id := range l.put {
				if l.settled[id] == 0 {
					lost++
				}
			}
			t.Logf("%d messages, %d of them before; %d lost; %d settlements came undone", len(l.put), before, lost, l.lost)
			if synchronous && lost > 0 {
				t.Errorf("%d messages were acknowledged and never came out", lost)
			}
			if !synchronous && lost+l.lost == 0 {
				t.Error("nothing is lost, so that the standby did not lag and nothing is shown")
			}
			if total, err := c.queue.Total(t.Context()); err != nil || total != (queue.Totals{}) {
				t.Errorf("Total = %+v, %v, want an empty queue", total, err)
			}
		})
	}
}

// more waits until so many more were put.
func (l *ledger) more(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.put)
	}
	for before, deadline := count(), time.Now().Add(time.Minute); count() < before+n; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("nothing is put any more")
			return
		}
	}
}
