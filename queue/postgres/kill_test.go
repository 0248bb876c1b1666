package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// ledger is what some goroutines were told by a queue.
type ledger struct {
	mu      sync.Mutex
	put     map[string]string // the content, by id, of what Put acknowledged
	settled map[string]int    // how often a settlement was acknowledged
	tokens  map[uint64]bool
	lost    int // settlements that were acknowledged and are undone
}

// Of a server whose processes are killed at any moment while mail goes in and out, all
// that Put acknowledged comes out, and what comes twice is what was settled in the last
// moments. No id and no token is given twice.
func TestKilledServer(t *testing.T) {
	kills := 3
	if os.Getenv("NEXTHOP_LONG") != "" {
		kills = 20
	}
	p := pool(t, shared.server.URL())
	q, _ := open(t, p, postgres.Options{Timeout: 5 * time.Second})
	l := &ledger{
		put: make(map[string]string), settled: make(map[string]int), tokens: make(map[uint64]bool),
	}
	for round := range kills {
		var group sync.WaitGroup
		stop := make(chan struct{})
		begun := make(chan struct{}, 100)
		for w := range 3 {
			group.Go(func() { l.write(t, q, fmt.Sprintf("%d-%d", round, w), stop, begun) })
		}
		group.Go(func() { l.deliver(t, q, stop) })
		for range 30 + 20*round {
			<-begun
		}
		shared.server.Kill()
		close(stop)
		group.Wait()
		if err := shared.server.Restart(); err != nil {
			t.Fatal(err)
		}
		p.Reset()
	}
	l.drain(t, q)
	for id := range l.put {
		if l.settled[id] == 0 {
			t.Errorf("the message %s was acknowledged and never came out", id)
		}
	}
	t.Logf("%d messages through %d deaths of the server; %d settlements came undone", len(l.put), kills, l.lost)
	if total, err := q.Total(t.Context()); err != nil || total != (queue.Totals{}) {
		t.Errorf("Total = %+v, %v, want an empty queue", total, err)
	}
}

// write puts messages until it is told to stop or fails, which is when the server dies.
func (l *ledger) write(t *testing.T, q *postgres.Queue, name string, stop, begun chan struct{}) {
	for n := 0; ; n++ {
		content := fmt.Sprintf("message %s-%d", name, n)
		id, err := q.Put(t.Context(), time.Now(), mail(content, "a@one.example"))
		if err != nil {
			<-stop
			return
		}
		l.mu.Lock()
		if _, twice := l.put[id]; twice {
			t.Errorf("the id %s was given twice", id)
		}
		l.put[id] = content
		l.mu.Unlock()
		select {
		case begun <- struct{}{}:
		case <-stop:
			return
		}
	}
}

// deliver claims and settles until it is told to stop or fails.
func (l *ledger) deliver(t *testing.T, q *postgres.Queue, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if _, err := l.round(t, q, time.Now()); err != nil {
			<-stop
			return
		}
	}
}

// round claims once, and settles what it got.
func (l *ledger) round(t *testing.T, q *postgres.Queue, now time.Time) (n int, err error) {
	got, err := q.Claim(t.Context(), now, queue.ClaimOptions{Max: 10})
	if err != nil {
		return 0, err
	}
	var batch []queue.Settlement
	for _, d := range got.Deliveries {
		l.mu.Lock()
		if l.tokens[d.Lease.Token] {
			t.Errorf("the token %d was given twice", d.Lease.Token)
		}
		l.tokens[d.Lease.Token] = true
		if l.settled[d.Lease.Message] > 0 {
			l.lost++
		}
		l.mu.Unlock()
		batch = append(batch, queue.Settlement{
			Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}},
		})
	}
	settled, err := q.Settle(t.Context(), now, batch)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, s := range batch { // each may have been recorded
			l.settled[s.Lease.Message]++
			l.lost--
		}
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range settled {
		if s.Err == nil {
			l.settled[batch[i].Lease.Message]++
		} else if !errors.Is(s.Err, queue.ErrLeaseLost) {
			t.Errorf("Settle = %v", s.Err)
		}
	}
	return len(batch), nil
}

// drain delivers what is left, leases of the dead included.
func (l *ledger) drain(t *testing.T, q *postgres.Queue) {
	now := time.Now().Add(2 * queue.DefaultLease)
	for empty := 0; empty < 2; {
		n, err := l.round(t, q, now)
		switch {
		case err != nil:
			t.Fatal(err)
		case n == 0:
			empty++
		}
	}
}
