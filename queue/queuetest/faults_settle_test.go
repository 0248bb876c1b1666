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
)

// settling makes a fault of a function that changes every settlement.
func settling(change func(now time.Time, s *queue.Settlement)) func(h *hooked) {
	return func(h *hooked) {
		h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
			change(now, &s)
			return settleOne(q, ctx, now, s)
		}
	}
}

// results makes a fault of a function that changes every result.
func results(change func(r *queue.Result)) func(h *hooked) {
	return settling(func(_ time.Time, s *queue.Settlement) {
		s.Results = append([]queue.Result(nil), s.Results...)
		for i := range s.Results {
			change(&s.Results[i])
		}
	})
}

func TestFaultsOfSettle(t *testing.T) { runFaults(t, faultsOfSettle()) }

func faultsOfSettle() []fault {
	return []fault{
		{"who failed is tried again", []string{"L7", "P6", "S1", "S10", "S8"}, results(func(r *queue.Result) {
			if r.Outcome == queue.Failed {
				r.Outcome = queue.Deferred
			}
		})},
		{"unknown is taken for delivered", []string{"A2", "S1", "S2"}, results(func(r *queue.Result) {
			if r.Outcome == queue.Unknown {
				r.Outcome = queue.Delivered
			}
		})},
		{"all recipients share a reply", []string{"A2", "S2"}, settling(func(_ time.Time, s *queue.Settlement) {
			s.Results = append([]queue.Result(nil), s.Results...)
			for i := range s.Results {
				s.Results[i].Reply = s.Results[0].Reply
			}
		})},
		{"only the first line of a reply is kept", []string{"S2"}, results(func(r *queue.Result) {
			for i, c := range r.Reply.Text {
				if c == '\n' {
					r.Reply.Text = r.Reply.Text[:i]
					return
				}
			}
		})},
		{"whoever has no result is deferred", []string{"S3", "S5"}, chargeEveryone},
		{"one delivered recipient ends the message", []string{"A1", "A2", "A3", "A7", "A9", "L3", "S1", "S10", "S5"}, func(h *hooked) {
			h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				got, err := settleOne(q, ctx, now, s)
				for _, r := range s.Results {
					if got.Err == nil && r.Outcome == queue.Delivered {
						q.Drop(ctx, s.Lease.Message)
					}
				}
				return got, err
			}
		}},
		{"the next attempt is at once", []string{"A2", "A5", "L5", "L6", "L7", "S11", "S3", "S4"},
			settling(func(_ time.Time, s *queue.Settlement) { s.NotBefore = time.Time{} })},
		{"the next attempt is an hour away where nothing is said", []string{"A3", "L6", "P3", "S1", "S2", "S3", "S4", "S5", "X1"},
			settling(func(now time.Time, s *queue.Settlement) {
				if s.NotBefore.IsZero() {
					s.NotBefore = now.Add(time.Hour)
				}
			})},
		{"nobody remembers the warning", []string{"S3"}, settling(func(_ time.Time, s *queue.Settlement) { s.Warned = false })},
		{"bounces are put whether the settlement holds or not", []string{"A4", "L3", "L7", "S5", "S8", "W3"}, bounceFirst},
		{"bounces are put like anybody's mail", []string{"P6", "S5", "S8"}, bounceAfter},
		{"bounces are lost", []string{"L7", "P6", "S5", "S6", "S8", "S9", "W1"}, settling(func(_ time.Time, s *queue.Settlement) { s.Create = nil })},
		{"only one bounce a settlement", []string{"P6", "S5", "S8"}, settling(func(_ time.Time, s *queue.Settlement) {
			s.Create = s.Create[:min(1, len(s.Create))]
		})},
		{"a bad result is passed over", []string{"S5", "S6"}, passOver},
		{"one bad settlement stops the batch", []string{"S6"}, func(h *hooked) {
			h.batch = func(q *memory.Queue, ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
				got := make([]queue.Settled, len(batch))
				for i, s := range batch {
					var err error
					if got[i], err = settleOne(q, ctx, now, s); err != nil {
						return nil, err
					}
					if got[i].Err != nil {
						for rest := range got[i:] {
							got[i+rest].Err = got[i].Err
						}
						break
					}
				}
				return got, nil
			}
		}},
		{"Settle locks what a bounce quotes", []string{"S9"}, func(h *hooked) {
			var mu sync.Mutex
			h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				mu.Lock()
				defer mu.Unlock()
				return settleOne(q, ctx, now, s)
			}
			h.open = func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error) {
				mu.Lock()
				defer mu.Unlock()
				return q.Open(ctx, id)
			}
		}},
	}
}

// chargeEveryone gives every recipient of a delivery that has no result one.
func chargeEveryone(h *hooked) {
	var mu sync.Mutex
	states := make(map[queue.Lease][]queue.State)
	h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
		got, err := q.Claim(ctx, now, want)
		mu.Lock()
		defer mu.Unlock()
		for _, d := range got.Deliveries {
			states[d.Lease] = slices.Clone(d.States)
		}
		return got, err
	}
	h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, state := range states[s.Lease] {
			named := slices.ContainsFunc(s.Results, func(r queue.Result) bool { return r.Recipient == state.Index })
			if !named {
				s.Results = append(slices.Clip(s.Results), queue.Result{Recipient: state.Index})
			}
		}
		return settleOne(q, ctx, now, s)
	}
}

// bounceFirst puts the bounces and then settles.
func bounceFirst(h *hooked) {
	h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
		var created []string
		for _, m := range s.Create {
			id, err := q.Put(ctx, now, m)
			if err != nil && !errors.Is(err, queue.ErrDuplicate) {
				return queue.Settled{Err: err}, nil
			}
			created = append(created, id)
		}
		s.Create = nil
		got, err := settleOne(q, ctx, now, s)
		if got.Err == nil {
			got.Created = created
		}
		return got, err
	}
}

// bounceAfter settles and then puts the bounces as anybody's mail.
func bounceAfter(h *hooked) {
	h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
		if len(s.Create) == 0 {
			return settleOne(q, ctx, now, s)
		}
		if _, err := extendOne(q, ctx, now, s.Lease, queue.DefaultLease); err != nil {
			return queue.Settled{Err: err}, nil
		}
		got := queue.Settled{}
		for _, m := range s.Create {
			id, err := q.Put(ctx, now, m)
			if err != nil {
				return queue.Settled{Err: err}, nil
			}
			got.Created = append(got.Created, id)
		}
		s.Create = nil
		done, err := settleOne(q, ctx, now, s)
		got.Err = done.Err
		return got, err
	}
}

// passOver leaves out results that make no sense.
func passOver(h *hooked) {
	h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
		for {
			got, err := settleOne(q, ctx, now, s)
			var bad *queue.ResultError
			if !errors.As(got.Err, &bad) {
				return got, err
			}
			s.Results = slices.DeleteFunc(slices.Clone(s.Results), func(r queue.Result) bool {
				return r.Recipient == bad.Recipient
			})
		}
	}
}
