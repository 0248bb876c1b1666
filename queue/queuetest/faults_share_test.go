package queuetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

func TestFaultsOfMarks(t *testing.T) { runFaults(t, faultsOfMarks()) }

func faultsOfMarks() []fault {
	return []fault{
		{"a mark is forgotten", []string{"L6", "L7", "W3"}, func(h *hooked) {
			h.mark = func(q *memory.Queue, ctx context.Context, leases []queue.Lease) error {
				_, err := q.Extend(ctx, time.Time{}, nil, 0)
				return err
			}
		}},
		{"what can be marked is, whatever is lost", []string{"L6"}, func(h *hooked) {
			h.mark = func(q *memory.Queue, ctx context.Context, leases []queue.Lease) (err error) {
				for _, l := range leases {
					err = errors.Join(err, q.Mark(ctx, []queue.Lease{l}))
				}
				return err
			}
		}},
		{"any lease will do for a mark", []string{"L6"}, func(h *hooked) {
			h.mark = func(q *memory.Queue, ctx context.Context, leases []queue.Lease) error {
				if err := q.Mark(ctx, leases); !errors.Is(err, queue.ErrLeaseLost) {
					return err
				}
				return nil
			}
		}},
		{"a lease that is marked twice in one call is lost", []string{"L6"}, func(h *hooked) {
			h.mark = func(q *memory.Queue, ctx context.Context, leases []queue.Lease) error {
				for i, l := range leases {
					if slices.Contains(leases[:i], l) {
						return queue.ErrLeaseLost
					}
				}
				return q.Mark(ctx, leases)
			}
		}},
		{"a claim is a mark", []string{"L6"}, func(h *hooked) {
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				got, err := q.Claim(ctx, now, want)
				for _, d := range got.Deliveries {
					err = errors.Join(err, q.Mark(ctx, []queue.Lease{d.Lease}))
				}
				return got, err
			}
		}},
		{"Extend of many stops at the first that is lost", []string{"L5"}, func(h *hooked) {
			lost := false
			h.extend = func(q *memory.Queue, ctx context.Context, now time.Time, l queue.Lease, d time.Duration) (queue.Lease, error) {
				if lost {
					return queue.Lease{}, queue.ErrLeaseLost
				}
				got, err := extendOne(q, ctx, now, l, d)
				lost = err != nil && d == 10*time.Minute // in the case with many
				return got, err
			}
		}},
	}
}

func TestFaultsOfOwners(t *testing.T) { runFaults(t, faultsOfOwners()) }

// postponing makes a fault of a function that changes every postponement.
func postponing(change func(p *queue.Postponement)) func(h *hooked) {
	return func(h *hooked) {
		h.postpone = func(q *memory.Queue, ctx context.Context, now time.Time, p queue.Postponement) error {
			change(&p)
			return q.Postpone(ctx, now, p)
		}
	}
}

func faultsOfOwners() []fault {
	return []fault{
		{"everything is postponed for everybody", []string{"A8", "W2"}, postponing(func(p *queue.Postponement) { p.Owner = "" })},
		{"all owners are one", []string{"A8", "W2"}, func(h *hooked) {
			h.postpone = func(q *memory.Queue, ctx context.Context, now time.Time, p queue.Postponement) error {
				if p.Owner != "" {
					p.Owner = "one"
				}
				return q.Postpone(ctx, now, p)
			}
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				if want.Owner != "" {
					want.Owner = "one"
				}
				return q.Claim(ctx, now, want)
			}
		}},
		{"owners' postponements are not looked at", []string{"A8", "W2"}, asking(func(_ *time.Time, want *queue.ClaimOptions) {
			want.Owner = ""
		})},
		{"an owner lifts everybody's", []string{"A8"}, func(h *hooked) {
			h.postpone = func(q *memory.Queue, ctx context.Context, now time.Time, p queue.Postponement) error {
				err := q.Postpone(ctx, now, p)
				if p.Owner != "" && p.Until.IsZero() && p.Destination != "" {
					err = errors.Join(err, q.Postpone(ctx, now, queue.Postponement{Destination: p.Destination}))
				}
				return err
			}
		}},
		{"a flush lifts owners' too", []string{"A8"}, func(h *hooked) {
			h.flush = func(q *memory.Queue, ctx context.Context, now time.Time, what []queue.Selection) (int, error) {
				n, err := q.Flush(ctx, now, what...)
				return n, errors.Join(err, q.Postpone(ctx, now, queue.Postponement{Owner: "a"}))
			}
		}},
		{"nobody is told why", []string{"A6", "A7"}, postponing(func(p *queue.Postponement) { p.Reason = "" })},
		{"only the first of several is postponed", []string{"A6"}, func(h *hooked) {
			h.postponeAll = func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.Postponement) error {
				return q.Postpone(ctx, now, list[:min(1, len(list))]...)
			}
		}},
		{"only the first of several is flushed", []string{"A5"}, func(h *hooked) {
			h.flush = func(q *memory.Queue, ctx context.Context, now time.Time, what []queue.Selection) (int, error) {
				return q.Flush(ctx, now, what[:min(1, len(what))]...)
			}
		}},
		{"priority comes before everything", []string{"A7", "C3"}, func(h *hooked) {
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				return byPriority(q, ctx, now, want)
			}
		}},
	}
}

// byPriority claims everything, gives back what is over Max, and returns the rest
// by priority alone.
func byPriority(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	most := want.WithDefaults().Max
	all := want
	all.Max = 100_000
	got, err := q.Claim(ctx, now, all)
	if err != nil {
		return got, err
	}
	slices.SortStableFunc(got.Deliveries, func(a, b queue.Delivery) int { return b.Message.Priority - a.Message.Priority })
	if len(got.Deliveries) <= most {
		return got, nil
	}
	for _, d := range got.Deliveries[most:] {
		if _, err := q.Extend(ctx, now, []queue.Lease{d.Lease}, 0); err != nil {
			return got, err
		}
	}
	got.Deliveries, got.Next = got.Deliveries[:most], now
	return got, nil
}

func TestFaultsOfWait(t *testing.T) { runFaults(t, faultsOfWait()) }

func faultsOfWait() []fault {
	return []fault{
		{"Wait never returns", []string{"W1", "W2", "X3"}, func(h *hooked) {
			h.wait = func(ctx context.Context, _ uint64) error {
				<-ctx.Done()
				return ctx.Err()
			}
		}},
		{"Wait returns at once", []string{"W1"}, func(h *hooked) {
			q := h.Queue
			h.wait = func(ctx context.Context, seen uint64) error {
				if seen == 0 {
					return q.Wait(ctx, seen)
				}
				return q.Wait(ctx, seen-1)
			}
		}},
		{"what came before Wait does not count", []string{"W1"}, func(h *hooked) {
			q := h.Queue
			h.wait = func(ctx context.Context, _ uint64) error {
				got, err := q.Claim(ctx, time.Time{}, queue.ClaimOptions{Destinations: []string{"none.example"}})
				if err != nil {
					return err
				}
				return q.Wait(ctx, got.Seen)
			}
		}},
	}
}

// handleFault is a queue whose handles have not enough in common, or too much.
type handleFault struct {
	name  string
	rules []string
	share func(h *hooked) (q queue.Queue, kill func(), err error)
}

func TestFaultsOfHandles(t *testing.T) {
	for _, f := range faultsOfHandles() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			wantBroken(t, queuetest.Implementation{Open: func() (*queuetest.Instance, error) {
				h := &hooked{Queue: new(memory.Queue)}
				in := &queuetest.Instance{Queue: h}
				in.Share = func() (queue.Queue, func(), error) { return f.share(h) }
				return in, nil
			}}, f.rules...)
		})
	}
}

func faultsOfHandles() []handleFault {
	return []handleFault{
		{"a handle has mail of its own", []string{"W2", "W3", "W4"}, func(*hooked) (queue.Queue, func(), error) {
			return new(memory.Queue), func() {}, nil
		}},
		{"a handle takes what it claimed with it", []string{"W3"}, func(h *hooked) (queue.Queue, func(), error) {
			other := &hooked{Queue: h.Queue}
			var mu sync.Mutex
			var claimed []string
			other.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				got, err := q.Claim(ctx, now, want)
				mu.Lock()
				defer mu.Unlock()
				for _, d := range got.Deliveries {
					if want.Owner == "" {
						claimed = append(claimed, d.Lease.Message)
					}
				}
				return got, err
			}
			return other, func() {
				for _, id := range claimed {
					_ = h.Queue.Drop(context.Background(), id)
				}
			}, nil
		}},
		{"a dead handle's leases end at once", []string{"W3"}, func(h *hooked) (queue.Queue, func(), error) {
			other := &hooked{Queue: h.Queue}
			var leases []queue.Lease
			var at time.Time
			other.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				got, err := q.Claim(ctx, now, want)
				for _, d := range got.Deliveries {
					h.mu.Lock()
					leases, at = append(leases, d.Lease), now
					h.mu.Unlock()
				}
				return got, err
			}
			return other, func() { _, _ = h.Queue.Extend(context.Background(), at, leases, 0) }, nil
		}},
		{"a handle is given what the other has leased", []string{"W2", "W3"}, func(h *hooked) (queue.Queue, func(), error) {
			other := &hooked{Queue: h.Queue}
			other.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				return q.Claim(ctx, now.Add(queue.DefaultLease), want)
			}
			return other, func() {}, nil
		}},
	}
}
