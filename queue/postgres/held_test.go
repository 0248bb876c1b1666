package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// hold opens a transaction that sees the database as it is, so that nothing which is
// deleted from then on can be removed before it ends.
func hold(ctx context.Context, url string) (end func(), err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	if _, err = conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ"); err == nil {
		_, err = conn.Exec(ctx, "SELECT count(*) FROM pg_class")
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return func() { _ = conn.Close(context.Background()) }, nil
}

// held is a queue on one connection, so that what is counted there is what it does.
type held struct {
	t    *testing.T
	p    *pgxpool.Pool
	q    *postgres.Queue
	o    postgres.Options
	now  time.Time
	seen int
}

func newHeld(t *testing.T) *held {
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
	q, o := open(t, p, postgres.Options{NoListen: true})
	return &held{t: t, p: p, q: q, o: o, now: time.Now()}
}

// put puts messages, one for each of some destinations in turn.
func (h *held) put(n, destinations int) {
	h.t.Helper()
	for range n {
		h.seen++
		if _, err := h.q.Put(h.t.Context(), h.now, mail("text", fmt.Sprintf("a@d%d.example", h.seen%destinations))); err != nil {
			h.t.Fatal(err)
		}
	}
	h.now = h.now.Add(time.Second)
}

// claim claims until nothing more is due.
func (h *held) claim(want queue.ClaimOptions) (all []queue.Delivery) {
	h.t.Helper()
	for {
		got, err := h.q.Claim(h.t.Context(), h.now, want)
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, got.Deliveries...)
		if got.Next.IsZero() || got.Next.After(h.now) {
			return all
		}
	}
}

// settle ends deliveries with an outcome.
func (h *held) settle(list []queue.Delivery, outcome queue.Outcome, notBefore time.Time) {
	h.t.Helper()
	var batch []queue.Settlement
	for i := range list {
		batch = append(batch, queue.Settlement{
			Lease: list[i].Lease, NotBefore: notBefore, Results: []queue.Result{{Recipient: 0, Outcome: outcome}},
		})
	}
	settled, err := h.q.Settle(h.t.Context(), h.now, batch)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range settled {
		if s.Err != nil {
			h.t.Fatal(s.Err)
		}
	}
}

// read is how many entries of each index were read for what f does.
func (h *held) read(f func()) (total int, each map[string]int) {
	h.t.Helper()
	return h.counted("SELECT indexrelname, idx_tup_read::int FROM pg_stat_user_indexes WHERE schemaname = $1", f)
}

// counted is by how much counters of the database have grown after f, which a query
// returns with their names.
func (h *held) counted(query string, f func()) (total int, each map[string]int) {
	h.t.Helper()
	count := func() map[string]int {
		for _, sql := range []string{"SELECT pg_stat_force_next_flush()", "SELECT pg_stat_clear_snapshot()"} {
			if _, err := h.p.Exec(h.t.Context(), sql); err != nil {
				h.t.Fatal(err)
			}
		}
		rows, err := h.p.Query(h.t.Context(), query, h.o.Schema)
		if err != nil {
			h.t.Fatal(err)
		}
		n := make(map[string]int)
		var name string
		var read int
		if _, err := pgx.ForEachRow(rows, []any{&name, &read}, func() error { n[name] = read; return nil }); err != nil {
			h.t.Fatal(err)
		}
		return n
	}
	before := count()
	f()
	each = count()
	for name := range each {
		each[name] -= before[name]
		total += each[name]
	}
	return total, each
}

// While a transaction somewhere keeps all that is deleted in place, claims read as much
// as before, however much has left.
func TestClaimsDoNotReadWhatHasLeft(t *testing.T) {
	const destinations = 10
	names := make([]string, destinations)
	for i := range names {
		names[i] = fmt.Sprintf("d%d.example", i)
	}
	deliver := func(want queue.ClaimOptions) func(h *held, n int) {
		return func(h *held, n int) {
			h.put(n, destinations)
			got := h.claim(want)
			if len(got) != n {
				h.t.Fatalf("claimed %d, want %d", len(got), n)
			}
			h.settle(got, queue.Delivered, time.Time{})
		}
	}
	for name, pass := range map[string]func(h *held, n int){
		"of everything":           deliver(queue.ClaimOptions{}),
		"of named destinations":   deliver(queue.ClaimOptions{Destinations: names}),
		"with leases of a minute": deliver(queue.ClaimOptions{Lease: time.Minute}),
		"of what was deferred": func(h *held, n int) {
			h.put(n, destinations)
			h.settle(h.claim(queue.ClaimOptions{}), queue.Deferred, h.now.Add(10*time.Second))
			h.now = h.now.Add(10 * time.Second)
			h.settle(h.claim(queue.ClaimOptions{}), queue.Delivered, time.Time{})
		},
		"of an empty queue": func(h *held, n int) {
			h.put(n, destinations)
			h.settle(h.claim(queue.ClaimOptions{}), queue.Delivered, time.Time{})
			for range 5 {
				h.claim(queue.ClaimOptions{})
			}
		},
		"that find nothing beside what is deferred": func(h *held, n int) {
			h.put(n, destinations)
			got := h.claim(queue.ClaimOptions{})
			h.settle(got[1:], queue.Delivered, time.Time{})
			h.settle(got[:1], queue.Deferred, h.now.Add(10*time.Second))
			for range 5 {
				h.claim(queue.ClaimOptions{})
			}
			h.now = h.now.Add(10 * time.Second)
			h.settle(h.claim(queue.ClaimOptions{}), queue.Delivered, time.Time{})
		},
		"that find nothing beside what is postponed": func(h *held, n int) {
			until := h.now.Add(10 * time.Second)
			if err := h.q.Postpone(h.t.Context(), h.now, queue.Postponement{Destination: "late.example", Until: until}); err != nil {
				h.t.Fatal(err)
			}
			if _, err := h.q.Put(h.t.Context(), h.now, mail("text", "a@late.example")); err != nil {
				h.t.Fatal(err)
			}
			for range 5 {
				h.claim(queue.ClaimOptions{})
			}
			h.put(n, destinations)
			h.now = until
			h.settle(h.claim(queue.ClaimOptions{}), queue.Delivered, time.Time{})
		},
		"beside what is postponed": func(h *held, n int) {
			err := h.q.Postpone(h.t.Context(), h.now, queue.Postponement{Destination: "d0.example", Until: h.now.Add(time.Hour)})
			if err != nil {
				h.t.Fatal(err)
			}
			h.put(n, destinations)
			h.settle(h.claim(queue.ClaimOptions{}), queue.Delivered, time.Time{})
		},
		"beside what this claimer has no room for": func(h *held, n int) {
			h.put(n, destinations)
			h.settle(h.claim(queue.ClaimOptions{Except: names[:2]}), queue.Delivered, time.Time{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld(t)
			end, err := hold(t.Context(), shared.server.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			const few = 20
			pass(h, few)
			early, eachEarly := h.read(func() {
				for range 3 {
					pass(h, few)
				}
			})
			for range 15 {
				pass(h, 5*few)
			}
			// A plan that was made in the middle of a change may serve one time badly.
			var (
				late     int
				eachLate map[string]int
			)
			for try := 0; try == 0 || try < 3 && late > 2*early; try++ {
				late, eachLate = h.read(func() {
					for range 3 {
						pass(h, few)
					}
				})
			}
			if late > 2*early {
				t.Errorf("claims read %d entries of indexes after 1500 messages have left, %v, and %d before, %v", late, eachLate, early, eachEarly)
			}
		})
	}
}

// flow is mail that comes and goes at a rate.
type flow struct {
	p    *pgxpool.Pool
	q    *postgres.Queue
	rate int

	mu       sync.Mutex
	claims   []time.Duration
	puts     []time.Duration
	backlog  int
	failures []error
}

// run lets mail flow for so long.
func (f *flow) run(ctx context.Context, length time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var group sync.WaitGroup
	const writers = 8
	for w := range writers {
		group.Go(func() { f.write(ctx, w, time.Second*writers/time.Duration(f.rate)) })
	}
	group.Go(func() { f.deliver(ctx) })
	group.Wait()
}

func (f *flow) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, err)
}

func (f *flow) write(ctx context.Context, w int, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := w; ctx.Err() == nil; n++ {
		to := fmt.Sprintf("a@d%d.example", n%5)
		if n%2 == 0 {
			to = fmt.Sprintf("a@other%d.example", n%200)
		}
		start := time.Now()
		_, err := f.q.Put(context.WithoutCancel(ctx), start, mail("text", to))
		if err != nil {
			f.note(err)
			return
		}
		f.mu.Lock()
		f.puts = append(f.puts, time.Since(start))
		f.backlog++
		f.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// deliver claims and settles. One in twenty is deferred first.
func (f *flow) deliver(ctx context.Context) {
	for ctx.Err() == nil {
		start := time.Now()
		got, err := f.q.Claim(context.WithoutCancel(ctx), start, queue.ClaimOptions{})
		if err != nil {
			f.note(err)
			return
		}
		took := time.Since(start)
		var batch []queue.Settlement
		done := 0
		for i := range got.Deliveries {
			d := &got.Deliveries[i]
			s := queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}}}
			if i%20 == 0 && d.States[0].Attempts == 0 {
				s.Results[0].Outcome, s.NotBefore = queue.Deferred, start.Add(5*time.Second)
			} else {
				done++
			}
			batch = append(batch, s)
		}
		if len(batch) > 0 {
			if _, err := f.q.Settle(context.WithoutCancel(ctx), time.Now(), batch); err != nil {
				f.note(err)
				return
			}
		}
		f.mu.Lock()
		f.claims = append(f.claims, took)
		f.backlog -= done
		f.mu.Unlock()
		if len(batch) == 0 {
			wait, cancel := context.WithTimeout(ctx, max(time.Until(got.Next), time.Millisecond))
			_ = f.q.Wait(wait, got.Seen)
			cancel()
		}
	}
}

// take returns what was measured since the last time, sorted, and the backlog.
func (f *flow) take() (claims, puts []time.Duration, backlog int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	claims, puts, f.claims, f.puts = f.claims, f.puts, nil, nil
	slices.Sort(claims)
	slices.Sort(puts)
	return claims, puts, f.backlog
}

// at is a part of a sorted list.
func at(list []time.Duration, part float64) time.Duration {
	return list[min(int(part*float64(len(list))), len(list)-1)]
}
