package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// What a handle remembers between its claims leaves nothing out that other handles and
// transactions do meanwhile.
func TestClaimsSeeWhatOthersDid(t *testing.T) {
	p := pool(t, shared.server.URL())
	type rig struct {
		t    *testing.T
		a, b *postgres.Queue
		o    postgres.Options
		now  time.Time
	}
	claim := func(r *rig, q *postgres.Queue, lease time.Duration) []queue.Delivery {
		r.t.Helper()
		got, err := q.Claim(r.t.Context(), r.now, queue.ClaimOptions{Lease: lease})
		if err != nil {
			r.t.Fatal(err)
		}
		return got.Deliveries
	}
	put := func(r *rig) string {
		r.t.Helper()
		id, err := r.a.Put(r.t.Context(), r.now, mail("text", "a@one.example"))
		if err != nil {
			r.t.Fatal(err)
		}
		return id
	}
	must := func(r *rig, err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	leased := func(r *rig, lease time.Duration) queue.Lease {
		r.t.Helper()
		put(r)
		got := claim(r, r.a, lease)
		if len(got) != 1 {
			r.t.Fatalf("claimed %d deliveries, want 1", len(got))
		}
		if more := claim(r, r.b, 0); len(more) > 0 {
			r.t.Fatal("somebody else's lease was claimed")
		}
		return got[0].Lease
	}
	for name, do := range map[string]func(r *rig){
		"a message of a transaction that was open for several claims": func(r *rig) {
			tx, err := p.Begin(r.t.Context())
			must(r, err)
			defer func() { _ = tx.Rollback(r.t.Context()) }()
			_, err = r.a.PutTx(r.t.Context(), tx, r.now, mail("text", "a@one.example"))
			must(r, err)
			for range 3 {
				put(r)
				if n := len(claim(r, r.b, 0)); n != 1 {
					r.t.Fatalf("claimed %d deliveries beside the transaction, want 1", n)
				}
			}
			must(r, tx.Commit(r.t.Context()))
		},
		"a postponement that was lifted": func(r *rig) {
			must(r, r.a.Postpone(r.t.Context(), r.now, queue.Postponement{Destination: "one.example", Until: r.now.Add(time.Hour)}))
			put(r)
			claim(r, r.b, 0)
			claim(r, r.b, 0)
			must(r, r.a.Postpone(r.t.Context(), r.now, queue.Postponement{Destination: "one.example"}))
		},
		"a postponement that was shortened": func(r *rig) {
			must(r, r.a.Postpone(r.t.Context(), r.now, queue.Postponement{Destination: "one.example", Until: r.now.Add(time.Hour)}))
			put(r)
			claim(r, r.b, 0)
			must(r, r.a.Postpone(r.t.Context(), r.now, queue.Postponement{Destination: "one.example", Until: r.now.Add(time.Second)}))
			r.now = r.now.Add(time.Second)
		},
		"a flush of what is postponed": func(r *rig) {
			must(r, r.a.Postpone(r.t.Context(), r.now, queue.Postponement{Destination: "one.example", Until: r.now.Add(time.Hour)}))
			put(r)
			claim(r, r.b, 0)
			_, err := r.a.Flush(r.t.Context(), r.now, queue.Selection{})
			must(r, err)
		},
		"the end of a short lease": func(r *rig) {
			leased(r, time.Second)
			r.now = r.now.Add(time.Second)
		},
		"the end of a short lease, long after which others have cleaned up": func(r *rig) {
			put(r)
			if n := len(claim(r, r.a, time.Second)); n != 1 {
				r.t.Fatalf("claimed %d deliveries, want 1", n)
			}
			r.now = r.now.Add(4 * time.Minute)
			exec(r.t, p, r.o, fmt.Sprintf("SELECT $.clean_v1(%d)", r.now.UnixMicro()))
		},
		"the end of a long lease": func(r *rig) {
			leased(r, time.Hour)
			r.now = r.now.Add(time.Hour)
		},
		"the end of a lease that was made shorter": func(r *rig) {
			lease := leased(r, time.Hour)
			_, err := r.a.Extend(r.t.Context(), r.now, []queue.Lease{lease}, time.Second)
			must(r, err)
			r.now = r.now.Add(time.Second)
		},
		"the end of what was taken for a short time": func(r *rig) {
			id := put(r)
			_, err := r.a.Take(r.t.Context(), r.now, id, time.Second)
			must(r, err)
			claim(r, r.b, 0)
			r.now = r.now.Add(time.Second)
		},
		"a lease that ended while its message was on hold": func(r *rig) {
			lease := leased(r, time.Minute)
			must(r, r.a.Hold(r.t.Context(), lease.Message))
			r.now = r.now.Add(2 * time.Minute)
			claim(r, r.b, 0)
			must(r, r.a.Release(r.t.Context(), lease.Message))
		},
		"what was deferred until a moment": func(r *rig) {
			lease := leased(r, 0)
			settled, err := r.a.Settle(r.t.Context(), r.now, []queue.Settlement{{
				Lease: lease, NotBefore: r.now.Add(time.Second), Results: []queue.Result{{Recipient: 0, Outcome: queue.Deferred}},
			}})
			must(r, err)
			must(r, settled[0].Err)
			claim(r, r.b, 0)
			r.now = r.now.Add(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, o := open(t, p, postgres.Options{NoListen: true})
			r := &rig{t: t, a: a, b: another(t, p, o), o: o, now: time.Now()}
			claim(r, r.b, 0)
			do(r)
			if got := claim(r, r.b, 0); len(got) != 1 {
				t.Errorf("claimed %d deliveries after it, want 1", len(got))
			}
		})
	}
}
