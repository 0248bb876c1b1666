package queuetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// survivor is a subject that acts as a durable queue: its memory outlives a
// restart. What a restart does wrong is up to the faults.
type survivor struct {
	// hook is put on the queue as opened first and after every restart.
	hook func(h *hooked)

	// restart changes what has survived; crashed tells a crash from Close.
	restart func(q *memory.Queue, crashed bool) (*memory.Queue, error)

	// damage is what becomes of what Damage hits.
	damage func(h *hooked, id string)

	// fail is what the queue becomes when it fails for good.
	fail func(q queue.Queue) queue.Queue
}

// surviving makes a subject whose every queue is such a survivor.
func surviving(make func() survivor) queuetest.Implementation {
	return queuetest.Implementation{Open: survivors(make, func() *memory.Queue { return new(memory.Queue) })}
}

// survivors opens survivors with a new queue each.
func survivors(make func() survivor, anew func() *memory.Queue) func() (*queuetest.Instance, error) {
	return func() (*queuetest.Instance, error) {
		s, stored := make(), anew()
		current := s.session(stored)
		again := func(crashed bool) func() (queue.Queue, error) {
			return func() (queue.Queue, error) {
				if s.restart != nil {
					var err error
					if stored, err = s.restart(stored, crashed); err != nil {
						return nil, err
					}
				}
				current = s.session(stored)
				return current, nil
			}
		}
		in := &queuetest.Instance{Queue: current, Reopen: again(false), Crash: again(true)}
		if s.fail != nil {
			whole := &mayFail{Queue: current}
			in.Queue, in.Fail = whole, func() error { whole.Queue = s.fail(current); return nil }
		}
		if s.damage != nil {
			in.Damage = func(id string) error { s.damage(current, id); return nil }
		}
		return in, nil
	}
}

// session opens what is stored. Closing it leaves that alone.
func (s survivor) session(stored *memory.Queue) *hooked {
	h := &hooked{Queue: stored}
	forgetOwn := func() error {
		own := []queue.Postponement{{Owner: "a"}, {Owner: "b"}}
		return stored.Postpone(context.Background(), time.Time{}, own...) // and wakes who waits
	}
	_ = forgetOwn()
	h.close = func(*memory.Queue) error {
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		h.Queue = new(memory.Queue)
		return errors.Join(forgetOwn(), h.Queue.Close())
	}
	h.wait = func(ctx context.Context, seen uint64) error {
		err := stored.Wait(ctx, seen)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.closed {
			return queue.ErrClosed
		}
		return err
	}
	if s.hook != nil {
		s.hook(h)
	}
	return h
}

func TestSurvivor(t *testing.T) {
	t.Run("as it should be", func(t *testing.T) {
		wantBroken(t, surviving(func() survivor { return survivor{damage: damageWell, fail: failWell} }))
	})
	for _, f := range faultsOfRestarts() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			wantBroken(t, surviving(f.make), f.rules...)
		})
	}
}

type restartFault struct {
	name  string
	rules []string
	make  func() survivor
}

func faultsOfRestarts() []restartFault {
	return []restartFault{
		{"a crash loses the last message", []string{"A3", "A4", "A8", "A9", "L4", "L6", "P2", "P6", "S7"}, restarting(loseLast)},
		{"a crash loses bounces", []string{"S7"}, restarting(loseTo("bounce.example"))},
		{"a crash loses large contents", []string{"P2"}, restarting(loseLarge)},
		{"a restart releases what is on hold", []string{"A3", "A9", "X4"}, restarting(releaseAll)},
		{"a restart forgets postponements", []string{"X4"}, restarting(forgetPostponements)},
		{"a restart makes everything due at once", []string{"X4"}, restarting(flushAll)},
		{"a restart begins anew", []string{"A10", "A3", "A4", "A8", "A9", "L4", "L6", "P2", "P3", "P6", "P7", "S11", "S7", "X4"}, restarting(beginAnew)},
		{"dropped mail comes back", []string{"A4"}, resurrecting},
		{"tokens begin anew", []string{"A5", "L4", "L7"}, countingTokens},
		{"an interruption is forgotten in a crash", []string{"L6"}, forgetfulOfClaims},
		{"damage hides what is behind it", []string{"C7"}, damaging(damageAll)},
		{"damage is handed out as content", []string{"O3"}, damaging(damageSilently)},
		{"what has failed says that it is closed", []string{"X5"}, failing(func(q queue.Queue) queue.Queue { return broke{q, queue.ErrClosed} })},
		{"what has failed goes on", []string{"X5"}, failing(func(q queue.Queue) queue.Queue { return q })},
	}
}

// restarting makes a survivor of what it does at a restart.
func restarting(restart func(q *memory.Queue, crashed bool) (*memory.Queue, error)) func() survivor {
	return func() survivor { return survivor{restart: restart} }
}

// failing makes a survivor of what it becomes when it fails.
func failing(fail func(q queue.Queue) queue.Queue) func() survivor {
	return func() survivor { return survivor{fail: fail} }
}

// damaging makes a survivor of what it does about damage.
func damaging(damage func(h *hooked, id string)) func() survivor {
	return func() survivor { return survivor{damage: damage} }
}

func beginAnew(*memory.Queue, bool) (*memory.Queue, error) { return new(memory.Queue), nil }

// TestEveryRuleIsBroken sees to it that the kit was tried on every rule.
func TestEveryRuleIsBroken(t *testing.T) {
	broken := make(map[string]bool)
	for _, faults := range [][]fault{
		faultsOfPut(), faultsOfClaim(), faultsOfLeases(), faultsOfMarks(), faultsOfSettle(), faultsOfOpen(),
		faultsOfAdministration(), faultsOfOwners(), faultsOfWait(), faultsOfTerms(), faultsOfLimits(),
		faultsOfOutcomes(),
	} {
		for _, f := range faults {
			for _, id := range f.rules {
				broken[id] = true
			}
		}
	}
	for _, f := range faultsOfRestarts() {
		for _, id := range f.rules {
			broken[id] = true
		}
	}
	for _, f := range faultsOfOutcomesAtRestart() {
		for _, id := range f.rules {
			broken[id] = true
		}
	}
	for _, f := range faultsOfHandles() {
		for _, id := range f.rules {
			broken[id] = true
		}
	}
	for _, rule := range documentedRules(t) {
		if !broken[rule.id] {
			t.Errorf("no broken queue breaks rule %s: %s", rule.id, rule.text)
		}
	}
}

// everything lists all that a queue holds.
func everything(q *memory.Queue) ([]queue.Entry, error) {
	page, err := q.List(context.Background(), queue.ListOptions{Max: 10_000})
	return page.Entries, err
}

// each changes every message that has survived.
func each(q *memory.Queue, change func(e queue.Entry) error) (*memory.Queue, error) {
	entries, err := everything(q)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := change(e); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func loseLast(q *memory.Queue, crashed bool) (*memory.Queue, error) {
	entries, err := everything(q)
	if err != nil || !crashed || len(entries) == 0 {
		return q, err
	}
	return q, q.Drop(context.Background(), entries[len(entries)-1].Message.ID)
}

func loseTo(destination string) func(q *memory.Queue, crashed bool) (*memory.Queue, error) {
	return func(q *memory.Queue, crashed bool) (*memory.Queue, error) {
		return each(q, func(e queue.Entry) error {
			if crashed && e.Waiting[0].Destination == destination {
				return q.Drop(context.Background(), e.Message.ID)
			}
			return nil
		})
	}
}

func loseLarge(q *memory.Queue, crashed bool) (*memory.Queue, error) {
	return each(q, func(e queue.Entry) error {
		if crashed && e.Size > 256<<10 {
			return q.Drop(context.Background(), e.Message.ID)
		}
		return nil
	})
}

func releaseAll(q *memory.Queue, _ bool) (*memory.Queue, error) {
	return each(q, func(e queue.Entry) error { return q.Release(context.Background(), e.Message.ID) })
}

func forgetPostponements(q *memory.Queue, _ bool) (*memory.Queue, error) {
	return each(q, func(e queue.Entry) error {
		return q.Postpone(context.Background(), time.Time{}, queue.Postponement{Destination: e.Waiting[0].Destination})
	})
}

func flushAll(q *memory.Queue, _ bool) (*memory.Queue, error) {
	_, err := q.Flush(context.Background(), time.Time{}, queue.Selection{})
	return q, err
}

// resurrecting makes a survivor that puts what was dropped again.
func resurrecting() survivor {
	var dropped []*queue.Message
	return survivor{
		hook: func(h *hooked) {
			h.drop = func(q *memory.Queue, ctx context.Context, id string) error {
				e, err := q.Show(ctx, id)
				if err != nil {
					return err
				}
				e.Message.Content, err = q.Open(ctx, id)
				dropped = append(dropped, &e.Message)
				if err != nil {
					return err
				}
				return q.Drop(ctx, id)
			}
		},
		restart: func(q *memory.Queue, _ bool) (*memory.Queue, error) {
			for _, m := range dropped {
				if _, err := q.Put(context.Background(), m.Arrived, m); err != nil {
					return nil, err
				}
			}
			dropped = nil
			return q, nil
		},
	}
}

// countingTokens makes a survivor whose tokens count from one in every process,
// and which believes any token of a delivery that is claimed.
func countingTokens() survivor {
	return survivor{hook: func(h *hooked) {
		given := make(map[uint64]uint64)
		h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
			got, err := q.Claim(ctx, now, want)
			h.mu.Lock()
			defer h.mu.Unlock()
			for i := range got.Deliveries {
				l := &got.Deliveries[i].Lease
				n := uint64(len(given) + 1)
				given[n], l.Token = l.Token, n
			}
			return got, err
		}
		real := func(l queue.Lease) queue.Lease {
			h.mu.Lock()
			defer h.mu.Unlock()
			l.Token = given[l.Token]
			return l
		}
		h.extend = func(q *memory.Queue, ctx context.Context, now time.Time, l queue.Lease, d time.Duration) (queue.Lease, error) {
			got, err := extendOne(q, ctx, now, real(l), d)
			got.Token = l.Token
			return got, err
		}
		h.mark = func(q *memory.Queue, ctx context.Context, leases []queue.Lease) error {
			leases = slices.Clone(leases)
			for i := range leases {
				leases[i] = real(leases[i])
			}
			return q.Mark(ctx, leases)
		}
		h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
			s.Lease = real(s.Lease)
			return settleOne(q, ctx, now, s)
		}
	}}
}

// forgetfulOfClaims makes a survivor that tells of an interruption only where
// the process that claimed lives.
func forgetfulOfClaims() survivor {
	return survivor{hook: func(h *hooked) {
		var claimed []string
		h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
			got, err := q.Claim(ctx, now, want)
			h.mu.Lock()
			defer h.mu.Unlock()
			for i := range got.Deliveries {
				d := &got.Deliveries[i]
				d.Interrupted = d.Interrupted && slices.Contains(claimed, d.Lease.Message)
				claimed = append(claimed, d.Lease.Message)
			}
			return got, err
		}
	}}
}

// damageWell answers as a queue should whose record of a message is damaged.
func damageWell(h *hooked, damaged string) {
	h.open = func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error) {
		if id == damaged {
			return nil, fmt.Errorf("bad checksum: %w", queue.ErrDamaged)
		}
		return q.Open(ctx, id)
	}
	h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
		got, err := q.Claim(ctx, now, want)
		got.Deliveries = slices.DeleteFunc(got.Deliveries, func(d queue.Delivery) bool {
			if d.Lease.Message != damaged {
				return false
			}
			got.Unreadable = append(got.Unreadable, queue.Unreadable{Lease: d.Lease, Err: queue.ErrDamaged})
			return true
		})
		return got, err
	}
}

// damageAll stops every claim from the damaged message on.
func damageAll(h *hooked, damaged string) {
	damageWell(h, damaged)
	claim := h.claim
	h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
		got, err := claim(q, ctx, now, want)
		got.Deliveries = slices.DeleteFunc(got.Deliveries, func(d queue.Delivery) bool { return d.Lease.Message > damaged })
		return got, err
	}
}

// damageSilently hands out other bytes.
func damageSilently(h *hooked, damaged string) {
	h.open = func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error) {
		if id == damaged {
			return queue.String("something else"), nil
		}
		return q.Open(ctx, id)
	}
}
