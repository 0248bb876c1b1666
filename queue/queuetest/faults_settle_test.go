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

// withoutRoom makes a fault of what becomes of a settlement with a report while there is no
// room for that.
func withoutRoom(settle func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error)) func(h *hooked) {
	return func(h *hooked) {
		h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
			if !h.noRoom || len(s.Create) == 0 {
				return settleOne(q, ctx, now, s)
			}
			return settle(q, ctx, now, s)
		}
	}
}

// inPart settles what rule S5 has recorded where there is no room for a report, once
// something of it is wrong.
func inPart(wrong func(now time.Time, s *queue.Settlement)) func(h *hooked) {
	return withoutRoom(func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
		all := s.Results
		s.Create, s.Warned = nil, false
		s.Results = slices.DeleteFunc(slices.Clone(all), func(r queue.Result) bool { return r.Outcome == queue.Failed })
		if least := now.Add(time.Minute); s.NotBefore.Before(least) {
			s.NotBefore = least
		}
		wrong(now, &s)
		got, err := settleOne(q, ctx, now, s)
		got.NoRoom = true
		return got, err
	})
}

func TestFaultsOfRoom(t *testing.T) {
	runFaults(t, []fault{
		{"without room it is as it should be", nil, inPart(func(time.Time, *queue.Settlement) {})},
		{"without room it is refused", nil, withoutRoom(
			func(*memory.Queue, context.Context, time.Time, queue.Settlement) (queue.Settled, error) {
				return queue.Settled{Err: queue.ErrFull}, nil
			})},
		{"without room who failed is lost with the report", []string{"S5"}, inPart(func(_ time.Time, s *queue.Settlement) {
			s.Results = append(s.Results, queue.Result{Recipient: 1, Outcome: queue.Failed})
		})},
		{"without room who failed is charged", []string{"S5"}, inPart(func(_ time.Time, s *queue.Settlement) {
			s.Results = append(s.Results, queue.Result{Recipient: 1, Outcome: queue.Deferred})
		})},
		{"without room who has it gets it again", []string{"S5"}, inPart(func(_ time.Time, s *queue.Settlement) { s.Results = nil })},
		{"without room it is tried again at once", []string{"S5"}, inPart(func(_ time.Time, s *queue.Settlement) { s.NotBefore = time.Time{} })},
		{"without room the sender counts as warned", []string{"S5"}, inPart(func(_ time.Time, s *queue.Settlement) { s.Warned = true })},
		{"without room it is settled and refused", []string{"S5"}, withoutRoom(
			func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				s.Create = nil
				_, err := settleOne(q, ctx, now, s)
				return queue.Settled{Err: queue.ErrFull}, err
			})},
		{"without room a report is told of that was not put", []string{"S5"}, withoutRoom(
			func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				s.Create = nil
				got, err := settleOne(q, ctx, now, s)
				got.Created = []string{s.Lease.Message + "0"}
				return got, err
			})},
	})
}

func TestFaultsOfSettle(t *testing.T) { runFaults(t, faultsOfSettle()) }

func faultsOfSettle() []fault {
	return []fault{
		{"who failed is tried again", []string{"L7", "P6", "S1", "S10", "S5", "S8"}, results(func(r *queue.Result) {
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
			l := make(lock, 1)
			h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				return with(ctx, l, func() (queue.Settled, error) { return settleOne(q, ctx, now, s) })
			}
			h.open = func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error) {
				return with(ctx, l, func() (queue.Content, error) { return q.Open(ctx, id) })
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
