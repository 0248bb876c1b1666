package queuetest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

func TestFaultsOfTerms(t *testing.T) { runFaults(t, faultsOfTerms()) }

func faultsOfTerms() []fault {
	return []fault{
		{"a hold has no end", []string{"A9", "W2"}, onTerms(func(on *queue.Terms) { on.Until = time.Time{} })},
		{"a hold ends an hour late", []string{"A9", "W2"}, onTerms(func(on *queue.Terms) {
			if !on.Until.IsZero() {
				on.Until = on.Until.Add(time.Hour)
			}
		})},
		{"nobody knows why", []string{"A9", "W2"}, onTerms(func(on *queue.Terms) { on.Reason = "" })},
		{"a hold keeps its first terms", []string{"A9", "W2"}, func(h *hooked) {
			h.holdUntil = func(q *memory.Queue, ctx context.Context, now time.Time, id string, on queue.Terms) error {
				if e, err := q.Show(ctx, id); err == nil && e.Held {
					return nil
				}
				return q.HoldUntil(ctx, now, id, on)
			}
		}},
		{"a hold without terms keeps those there were", []string{"A9"}, func(h *hooked) {
			h.hold = func(q *memory.Queue, ctx context.Context, id string) error {
				if e, err := q.Show(ctx, id); err == nil && e.Held {
					return nil
				}
				return q.Hold(ctx, id)
			}
		}},
		{"a settlement has no reason", []string{"S11"}, func(h *hooked) {
			h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				s.Reason = ""
				return settleOne(q, ctx, now, s)
			}
		}},
		{"what is suspended stays as it was first", []string{"A10"}, func(h *hooked) {
			h.suspend = func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.Suspension) error {
				have, err := q.Suspensions(ctx, now)
				if err != nil {
					return err
				}
				return q.Suspend(ctx, now, append(slices.Clone(list), have...)...)
			}
		}},
		{"what is suspended never ends", []string{"A10", "W2"}, func(h *hooked) {
			h.suspend = func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.Suspension) error {
				list = slices.Clone(list)
				for i := range list {
					list[i].Until = time.Time{}
				}
				return q.Suspend(ctx, now, list...)
			}
		}},
		{"what was suspended is so again for a clock that was put back", []string{"A10", "W2"}, func(h *hooked) {
			var first []queue.Suspension
			h.suspend = func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.Suspension) error {
				if first == nil {
					first = slices.Clone(list)
				}
				return q.Suspend(ctx, now, list...)
			}
			h.suspended = func(q *memory.Queue, ctx context.Context, now time.Time) ([]queue.Suspension, error) {
				list, err := q.Suspensions(ctx, now)
				for _, s := range first {
					has := slices.ContainsFunc(list, func(o queue.Suspension) bool { return o.Subject == s.Subject })
					if !has && !s.Until.IsZero() && s.Until.After(now) {
						list = append(list, s)
					}
				}
				return list, err
			}
		}},
		{"sites are destinations", []string{"A10", "W2"}, func(h *hooked) {
			h.suspend = func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.Suspension) error {
				list = slices.Clone(list)
				for i := range list {
					if list[i].Kind == queue.OfSite {
						list[i].Kind = queue.OfDestination
					}
				}
				return q.Suspend(ctx, now, list...)
			}
		}},
		{"what is leased is taken", []string{"L7", "W2"}, taking(
			func(q *memory.Queue, ctx context.Context, now time.Time, id string, lease time.Duration, to []string) (queue.Taken, error) {
				return q.Take(ctx, now.Add(queue.DefaultLease), id, lease-queue.DefaultLease, to...)
			})},
		{"everything is taken", []string{"L7"}, taking(
			func(q *memory.Queue, ctx context.Context, now time.Time, id string, lease time.Duration, _ []string) (queue.Taken, error) {
				return q.Take(ctx, now, id, lease)
			})},
		{"what is taken is released", []string{"L7"}, taking(
			func(q *memory.Queue, ctx context.Context, now time.Time, id string, lease time.Duration, to []string) (queue.Taken, error) {
				if err := q.Release(ctx, id); err != nil {
					return queue.Taken{}, err
				}
				return q.Take(ctx, now, id, lease, to...)
			})},
		{"only what is due is taken", []string{"A5", "L7"}, taking(
			func(q *memory.Queue, ctx context.Context, now time.Time, id string, lease time.Duration, to []string) (queue.Taken, error) {
				taken, err := q.Take(ctx, now, id, lease, to...)
				taken.Deliveries = slices.DeleteFunc(taken.Deliveries, func(d queue.Delivery) bool {
					if !d.Due.After(now) {
						return false
					}
					_, err = q.Extend(ctx, now, []queue.Lease{d.Lease}, 0)
					return true
				})
				return taken, err
			})},
	}
}

// onTerms makes a fault of a function that changes the terms of every hold.
func onTerms(change func(on *queue.Terms)) func(h *hooked) {
	return func(h *hooked) {
		h.holdUntil = func(q *memory.Queue, ctx context.Context, now time.Time, id string, on queue.Terms) error {
			change(&on)
			return q.HoldUntil(ctx, now, id, on)
		}
	}
}

// taking makes a fault of another way to take.
func taking(
	take func(q *memory.Queue, ctx context.Context, now time.Time, id string, lease time.Duration, to []string) (queue.Taken, error),
) func(h *hooked) {
	return func(h *hooked) { h.take = take }
}
