package queuetest_test

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// asking makes a fault of a function that changes what a claim asks for.
func asking(change func(now *time.Time, want *queue.ClaimOptions)) func(h *hooked) {
	return func(h *hooked) {
		h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
			change(&now, &want)
			return q.Claim(ctx, now, want)
		}
	}
}

// afterClaim makes a fault of a function that changes what was claimed.
func afterClaim(change func(now time.Time, got *queue.Claimed)) func(h *hooked) {
	return func(h *hooked) {
		h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
			got, err := q.Claim(ctx, now, want)
			change(now, &got)
			return got, err
		}
	}
}

func TestFaultsOfClaim(t *testing.T) { runFaults(t, faultsOfClaim()) }

func faultsOfClaim() []fault {
	return []fault{
		{"a message's own time is not waited for", []string{"A2", "A5", "A8", "A9", "C1", "C3", "C6", "C8", "L7", "P3"},
			putting(func(m *queue.Message) { m.NotBefore = time.Time{} })},
		{"the youngest comes first", []string{"A2", "A5", "C3", "C4", "C5", "S11", "S5"}, afterClaim(func(_ time.Time, got *queue.Claimed) {
			slices.Reverse(got.Deliveries)
		})},
		{"priorities are ignored", []string{"A2", "C3", "L7", "P3"}, putting(func(m *queue.Message) {
			if m.Priority >= -9 && m.Priority <= 9 {
				m.Priority = 0
			}
		})},
		{"Max is not looked at", []string{"A7", "A8", "C4", "C8", "L1"}, asking(func(_ *time.Time, want *queue.ClaimOptions) { want.Max = 1000 })},
		{"PerDestination is not looked at", []string{"C4", "C8"}, asking(func(_ *time.Time, want *queue.ClaimOptions) {
			want.PerDestination = 0
		})},
		{"PerTenant is not looked at", []string{"C4", "C8"}, asking(func(_ *time.Time, want *queue.ClaimOptions) {
			want.PerTenant = 0
		})},
		{"Destinations is not looked at", []string{"A1", "A2", "A6", "A7", "A8", "C5", "C8", "L3", "L7", "S8"},
			asking(func(_ *time.Time, want *queue.ClaimOptions) { want.Destinations = nil })},
		{"Except is not looked at", []string{"C5"}, asking(func(_ *time.Time, want *queue.ClaimOptions) { want.Except = nil })},
		{"ExceptTenants is not looked at", []string{"C5"}, asking(func(_ *time.Time, want *queue.ClaimOptions) {
			want.ExceptTenants = nil
		})},
		{"leases last an hour", []string{"A5", "A9", "C8", "L1", "L2", "L3", "L4", "L6", "L7", "W3"}, asking(func(_ *time.Time, want *queue.ClaimOptions) {
			want.Lease = time.Hour
		})},
		{"leases end at once", []string{"A6", "A9", "L1", "W3"},
			asking(func(_ *time.Time, want *queue.ClaimOptions) { want.Lease = 1 })},
		{"leases never end", []string{"A3", "A5", "C8", "L1", "L2", "L3", "L4", "L6", "L7", "S2", "W3", "X1"},
			asking(func(_ *time.Time, want *queue.ClaimOptions) { want.Lease = math.MaxInt64 / 2 })},
		{"the queue says never to come again", []string{"A8", "A9", "C8"}, afterClaim(func(_ time.Time, got *queue.Claimed) { got.Next = time.Time{} })},
		{"the queue says to come again in an hour", []string{"A8", "C8"}, afterClaim(func(now time.Time, got *queue.Claimed) {
			if !got.Next.IsZero() {
				got.Next = now.Add(time.Hour)
			}
		})},
		{"the queue says to come again at once", []string{"A8", "C8"}, afterClaim(func(now time.Time, got *queue.Claimed) { got.Next = now })},
		{"the history is forgotten", []string{"A3", "L2", "L3", "S1", "S2", "S3", "S6", "W2", "X1"}, afterClaim(func(_ time.Time, got *queue.Claimed) {
			for _, d := range got.Deliveries {
				for i := range d.States {
					d.States[i] = queue.State{Index: d.States[i].Index}
				}
			}
		})},
		{"only one recipient is handed out", []string{"C2", "P1", "P3", "S1", "S2", "S3", "S8"}, afterClaim(func(_ time.Time, got *queue.Claimed) {
			for i := range got.Deliveries {
				d := &got.Deliveries[i]
				d.Message.Recipients, d.States = d.Message.Recipients[:1], d.States[:1]
			}
		})},
		{"under load a claim returns what the one before did", []string{"C9"}, func(h *hooked) {
			var last queue.Claimed
			claims := 0
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				h.mu.Lock()
				defer h.mu.Unlock()
				if want.Max != 5 { // only the case with many claims
					return q.Claim(ctx, now, want)
				}
				if claims++; claims == 51 {
					return last, nil
				}
				var err error
				last, err = q.Claim(ctx, now, want)
				return last, err
			}
		}},
		{"nobody is told of interruptions", []string{"L6", "W3"}, afterClaim(func(_ time.Time, got *queue.Claimed) {
			for i := range got.Deliveries {
				got.Deliveries[i].Interrupted = false
			}
		})},
		{"interruptions of any message are told", []string{"L6"}, func(h *hooked) {
			var mu sync.Mutex
			seen := make(map[string]bool)
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				got, err := q.Claim(ctx, now, want)
				mu.Lock()
				defer mu.Unlock()
				for i, d := range got.Deliveries {
					got.Deliveries[i].Interrupted = d.Interrupted || seen[d.Lease.Message] && d.Message.Guarantee == queue.AtLeastOnce
					seen[d.Lease.Message] = true
				}
				return got, err
			}
		}},
		{"a claim waits while a message is read", []string{"C6"}, func(h *hooked) {
			l := make(lock, 1)
			h.put = func(q *memory.Queue, ctx context.Context, now time.Time, m *queue.Message) (string, error) {
				return with(ctx, l, func() (string, error) { return q.Put(ctx, now, m) })
			}
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				return with(ctx, l, func() (queue.Claimed, error) { return q.Claim(ctx, now, want) })
			}
		}},
		{"a queue that goes by the latest time it was told", []string{"X1"}, func(h *hooked) {
			var mu sync.Mutex
			var latest time.Time
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				mu.Lock()
				defer mu.Unlock()
				if now.Before(latest) {
					return queue.Claimed{}, nil
				}
				latest = now
				return q.Claim(ctx, now, want)
			}
		}},
	}
}

func TestFaultsOfLeases(t *testing.T) { runFaults(t, faultsOfLeases()) }

func faultsOfLeases() []fault {
	return []fault{
		{"any token will do", []string{"A5", "L3", "S6", "W3"}, anyToken},
		{"a lease is lost by its end", []string{"A5", "L3", "L7"}, func(h *hooked) {
			var mu sync.Mutex
			ends := make(map[uint64]time.Time)
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				got, err := q.Claim(ctx, now, want)
				mu.Lock()
				defer mu.Unlock()
				for _, d := range got.Deliveries {
					ends[d.Lease.Token] = d.Lease.Until
				}
				return got, err
			}
			h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
				mu.Lock()
				end := ends[s.Lease.Token]
				mu.Unlock()
				if now.Sub(end) > time.Minute {
					return queue.Settled{Err: queue.ErrLeaseLost}, nil
				}
				return settleOne(q, ctx, now, s)
			}
		}},
		{"Extend only ever makes a lease longer", []string{"A5", "A8", "C3", "L5", "L7", "W2"}, func(h *hooked) {
			h.extend = func(q *memory.Queue, ctx context.Context, now time.Time, l queue.Lease, d time.Duration) (queue.Lease, error) {
				if now.Add(d).Before(l.Until) {
					return l, nil
				}
				return extendOne(q, ctx, now, l, d)
			}
		}},
		{"Extend adds to the end", []string{"A5", "A8", "C3", "C8", "L5", "L7", "W2"}, func(h *hooked) {
			h.extend = func(q *memory.Queue, ctx context.Context, now time.Time, l queue.Lease, d time.Duration) (queue.Lease, error) {
				return extendOne(q, ctx, l.Until, l, d)
			}
		}},
		{"Extend takes any lease", []string{"A4", "L3", "L5", "L7", "W3"}, func(h *hooked) {
			h.extend = func(q *memory.Queue, ctx context.Context, now time.Time, l queue.Lease, d time.Duration) (queue.Lease, error) {
				got, err := extendOne(q, ctx, now, l, d)
				if err == queue.ErrLeaseLost {
					return l, nil
				}
				return got, err
			}
		}},
	}
}

// anyToken settles with the token that is good, whatever token it is given.
func anyToken(h *hooked) {
	var mu sync.Mutex
	good := make(map[[2]string]queue.Lease)
	h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
		got, err := q.Claim(ctx, now, want)
		mu.Lock()
		defer mu.Unlock()
		for _, d := range got.Deliveries {
			good[[2]string{d.Lease.Message, d.Lease.Destination}] = d.Lease
		}
		return got, err
	}
	h.settle = func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
		mu.Lock()
		if l, ok := good[[2]string{s.Lease.Message, s.Lease.Destination}]; ok {
			s.Lease = l
		}
		mu.Unlock()
		return settleOne(q, ctx, now, s)
	}
}
