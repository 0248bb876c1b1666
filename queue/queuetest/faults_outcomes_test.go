package queuetest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// keeping is a memory queue that keeps outcomes.
func keeping() *memory.Queue { return &memory.Queue{KeepOutcomes: time.Hour} }

// brokenOutcomes makes a subject of which every queue keeps outcomes and is hooked the same
// way.
func brokenOutcomes(hook func(h *hooked)) queuetest.Implementation {
	open := func(most int) func() (*queuetest.Instance, error) {
		return func() (*queuetest.Instance, error) {
			h := &hooked{Queue: keeping()}
			h.MaxOutcomes = most
			hook(h)
			return &queuetest.Instance{Queue: h, Full: func(full bool) error { h.noRoom = full; return nil }}, nil
		}
	}
	s := broken(func(*hooked) {})
	s.KeepOutcomes, s.OpenOutcomes, s.OpenFewOutcomes = time.Hour, open(0), open(64)
	return s
}

// pages makes a fault of a function that changes every page.
func pages(change func(want *queue.OutcomeOptions, page *queue.OutcomePage)) func(h *hooked) {
	return func(h *hooked) {
		h.outcomes = func(q *memory.Queue, ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
			page, err := q.Outcomes(ctx, want)
			change(&want, &page)
			return page, err
		}
	}
}

// each of the outcomes is changed.
func eachOutcome(change func(o *queue.FinalOutcome)) func(h *hooked) {
	return pages(func(_ *queue.OutcomeOptions, page *queue.OutcomePage) {
		for i := range page.Outcomes {
			change(&page.Outcomes[i])
		}
	})
}

func TestFaultsOfOutcomes(t *testing.T) {
	t.Run("as it should be", func(t *testing.T) { wantBroken(t, brokenOutcomes(func(*hooked) {})) })
	for _, f := range faultsOfOutcomes() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			wantBroken(t, brokenOutcomes(f.hook), f.rules...)
		})
	}
}

func faultsOfOutcomes() []fault {
	return []fault{
		{"who failed has no outcome", []string{"K1", "K2"}, pages(func(_ *queue.OutcomeOptions, page *queue.OutcomePage) {
			page.Outcomes = slices.DeleteFunc(page.Outcomes, func(o queue.FinalOutcome) bool { return o.Outcome == queue.Failed })
		})},
		{"an outcome has no key", []string{"K1"}, eachOutcome(func(o *queue.FinalOutcome) { o.Key = "" })},
		{"an outcome has no tenant", []string{"K1"}, eachOutcome(func(o *queue.FinalOutcome) { o.Tenant = "" })},
		{"an outcome has no reply", []string{"K1"}, eachOutcome(func(o *queue.FinalOutcome) { o.Reply = queue.Reply{} })},
		{"an outcome has no time", []string{"K1"}, eachOutcome(func(o *queue.FinalOutcome) { o.Time = time.Time{} })},
		{"an outcome has no address", []string{"K1"}, eachOutcome(func(o *queue.FinalOutcome) { o.Address = "" })},
		{"the attempts of an outcome are not counted", []string{"K1"}, eachOutcome(func(o *queue.FinalOutcome) { o.Attempts = 1 })},
		{"all recipients of an outcome are the first", []string{"K1", "K2"}, eachOutcome(func(o *queue.FinalOutcome) { o.Recipient = 0 })},
		{"whoever was pending in a dropped message has failed", []string{"K1"}, func(h *hooked) {
			h.drop = func(q *memory.Queue, ctx context.Context, id string) error {
				taken, err := q.Take(ctx, time.Time{}, id, time.Minute)
				for _, d := range taken.Deliveries {
					s := queue.Settlement{Lease: d.Lease}
					for _, state := range d.States {
						s.Results = append(s.Results, queue.Result{Recipient: state.Index, Outcome: queue.Failed})
					}
					_, err = settleOne(q, ctx, d.Message.Arrived, s)
				}
				return err
			}
		}},
		{"a page goes on at the outcome at the position", []string{"K1", "K2", "K3", "K4"}, func(h *hooked) {
			h.outcomes = func(q *memory.Queue, ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
				if n := len(want.After); n > 0 && want.After[n-1] > '0' && want.After[n-1] <= '9' {
					want.After = want.After[:n-1] + string(want.After[n-1]-1)
				}
				return q.Outcomes(ctx, want)
			}
		}},
		{"a page has more than it may", []string{"K2", "K3", "K4"}, asked(func(want *queue.OutcomeOptions) { want.Max *= 2 })},
		{"a page without a maximum is short", []string{"K2"}, asked(func(want *queue.OutcomeOptions) {
			if want.Max == 0 {
				want.Max = 5
			}
		})},
		{"no page says that there are more", []string{"K2", "K3", "K4"}, pages(func(_ *queue.OutcomeOptions, page *queue.OutcomePage) { page.More = false })},
		{"what creates a message is settled after the others", []string{"K2"}, func(h *hooked) {
			h.batch = func(q *memory.Queue, ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
				creates := func(s queue.Settlement) int { return min(1, len(s.Create)) }
				batch = slices.Clone(batch)
				slices.SortStableFunc(batch, func(a, b queue.Settlement) int { return creates(a) - creates(b) })
				return q.Settle(ctx, now, batch)
			}
		}},
		{"what is no position is the beginning", []string{"K2"}, func(h *hooked) {
			h.outcomes = func(q *memory.Queue, ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
				page, err := q.Outcomes(ctx, want)
				if err != nil && len(want.After) != 16 {
					want.After = ""
					return q.Outcomes(ctx, want)
				}
				return page, err
			}
		}},
		{"an outcome is kept for half of its time", []string{"K3"}, func(h *hooked) { h.KeepOutcomes = 30 * time.Minute }},
		{"as many are kept as come", []string{"K3"}, func(h *hooked) { h.MaxOutcomes = 0 }},
		{"only the newest is kept", []string{"K1", "K2", "K3", "K4"}, func(h *hooked) { h.MaxOutcomes = 1 }},
		{"what is missed is not told", []string{"K3"}, pages(func(_ *queue.OutcomeOptions, page *queue.OutcomePage) { page.Missed = false })},
		{"what was not asked for is missed", []string{"K1", "K2", "K3", "K4"}, pages(func(_ *queue.OutcomeOptions, page *queue.OutcomePage) { page.Missed = true })},
		{"without room mail is not settled", []string{"K4"}, func(h *hooked) {
			h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				if h.noRoom {
					return queue.Settled{Err: queue.ErrFull}, nil
				}
				return settleOne(q, ctx, now, s)
			}
		}},
		{"without room the outcome is lost", []string{"K4"}, func(h *hooked) {
			h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				if h.noRoom {
					return queue.Settled{}, q.Drop(ctx, s.Lease.Message)
				}
				return settleOne(q, ctx, now, s)
			}
		}},
		{"a closed queue has outcomes", []string{"X3"}, func(h *hooked) {
			h.outcomes = func(q *memory.Queue, ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
				page, err := q.Outcomes(ctx, want)
				if err == queue.ErrClosed {
					err = nil
				}
				return page, err
			}
		}},
	}
}

// asked makes a fault of a function that changes what is asked for.
func asked(change func(want *queue.OutcomeOptions)) func(h *hooked) {
	return func(h *hooked) {
		h.outcomes = func(q *memory.Queue, ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
			change(&want)
			return q.Outcomes(ctx, want)
		}
	}
}

func TestFaultsOfOutcomesAtRestart(t *testing.T) {
	none := restartFault{"as it should be", nil, restarting(nil)}
	for _, f := range append(faultsOfOutcomesAtRestart(), none) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := surviving(restarting(nil))
			s.KeepOutcomes, s.OpenOutcomes = time.Hour, survivors(f.make, keeping)
			wantBroken(t, s, f.rules...)
		})
	}
}

func faultsOfOutcomesAtRestart() []restartFault {
	return []restartFault{
		{"a restart forgets outcomes", []string{"K1", "K2"}, restarting(func(*memory.Queue, bool) (*memory.Queue, error) { return keeping(), nil })},
		{"a crash takes back what has an outcome", []string{"K1"}, restarting(again)},
	}
}

// again puts another message to the recipient of the first outcome after a crash.
func again(q *memory.Queue, crashed bool) (*memory.Queue, error) {
	page, err := q.Outcomes(context.Background(), queue.OutcomeOptions{Max: 1})
	if !crashed || err != nil || len(page.Outcomes) == 0 {
		return q, err
	}
	o := page.Outcomes[0]
	_, err = q.Put(context.Background(), o.Time, &queue.Message{
		Recipients: []queue.Recipient{{Address: o.Address}}, Content: queue.String("again"),
	})
	return q, err
}
