package queuetest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// hooked is a memory queue some of whose methods are replaced. The replacements
// get the queue beneath to work with.
type hooked struct {
	*memory.Queue
	put      func(q *memory.Queue, ctx context.Context, now time.Time, m *queue.Message) (string, error)
	claim    func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error)
	extend   func(q *memory.Queue, ctx context.Context, now time.Time, l queue.Lease, d time.Duration) (queue.Lease, error)
	mark     func(q *memory.Queue, ctx context.Context, leases []queue.Lease) error
	settle   func(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error)
	batch    func(q *memory.Queue, ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error)
	open     func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error)
	list     func(q *memory.Queue, ctx context.Context, want queue.ListOptions) (queue.Page, error)
	show     func(q *memory.Queue, ctx context.Context, id string) (queue.Entry, error)
	hold     func(q *memory.Queue, ctx context.Context, id string) error
	drop     func(q *memory.Queue, ctx context.Context, id string) error
	flush    func(q *memory.Queue, ctx context.Context, now time.Time, what []queue.Selection) (int, error)
	postpone func(q *memory.Queue, ctx context.Context, now time.Time, p queue.Postponement) error
	// postponeAll gets the whole list, postpone each of it.
	postponeAll func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.Postponement) error

	holdUntil func(q *memory.Queue, ctx context.Context, now time.Time, id string, on queue.Terms) error
	suspend   func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.Suspension) error
	suspended func(q *memory.Queue, ctx context.Context, now time.Time) ([]queue.Suspension, error)
	take      func(q *memory.Queue, ctx context.Context, now time.Time, id string, lease time.Duration, to []string) (queue.Taken, error)

	share func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.LimitRequest) ([]queue.LimitShare, error)

	outcomes func(q *memory.Queue, ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error)

	wait   func(ctx context.Context, seen uint64) error
	survey func(q *memory.Queue, ctx context.Context, after string, max int) ([]queue.Destination, error)
	close  func(q *memory.Queue) error

	noRoom bool // faults may ask for it

	mu     sync.Mutex // for what a fault remembers
	lost   []string   // messages whose leases a fault has taken away
	closed bool
}

func (h *hooked) Put(ctx context.Context, now time.Time, m *queue.Message) (string, error) {
	if h.put != nil {
		return h.put(h.Queue, ctx, now, m)
	}
	return h.Queue.Put(ctx, now, m)
}

func (h *hooked) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	if h.claim != nil {
		return h.claim(h.Queue, ctx, now, want)
	}
	return h.Queue.Claim(ctx, now, want)
}

// Extend gives the leases one by one to the hook.
func (h *hooked) Extend(
	ctx context.Context, now time.Time, leases []queue.Lease, d time.Duration,
) ([]queue.Extended, error) {
	if h.extend == nil {
		return h.Queue.Extend(ctx, now, leases, d)
	}
	list := make([]queue.Extended, len(leases))
	for i, l := range leases {
		list[i].Lease, list[i].Err = h.extend(h.Queue, ctx, now, l, d)
		if list[i].Err != nil && !errors.Is(list[i].Err, queue.ErrLeaseLost) {
			return nil, list[i].Err
		}
	}
	return list, nil
}

// extendOne extends one lease of the queue beneath.
func extendOne(
	q *memory.Queue, ctx context.Context, now time.Time, l queue.Lease, d time.Duration,
) (queue.Lease, error) {
	list, err := q.Extend(ctx, now, []queue.Lease{l}, d)
	if err != nil {
		return queue.Lease{}, err
	}
	return list[0].Lease, list[0].Err
}

func (h *hooked) Mark(ctx context.Context, leases []queue.Lease) error {
	if h.mark != nil {
		return h.mark(h.Queue, ctx, leases)
	}
	return h.Queue.Mark(ctx, leases)
}

// Settle gives the settlements one by one to the hook.
func (h *hooked) Settle(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	if h.batch != nil {
		return h.batch(h.Queue, ctx, now, batch)
	}
	if h.settle == nil {
		return h.Queue.Settle(ctx, now, batch)
	}
	var all []queue.Settled
	for _, s := range batch {
		one, err := h.settle(h.Queue, ctx, now, s)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (h *hooked) Open(ctx context.Context, id string) (queue.Content, error) {
	if h.open != nil {
		return h.open(h.Queue, ctx, id)
	}
	return h.Queue.Open(ctx, id)
}

func (h *hooked) List(ctx context.Context, want queue.ListOptions) (queue.Page, error) {
	if h.list != nil {
		return h.list(h.Queue, ctx, want)
	}
	return h.Queue.List(ctx, want)
}

func (h *hooked) Show(ctx context.Context, id string) (queue.Entry, error) {
	if h.show != nil {
		return h.show(h.Queue, ctx, id)
	}
	return h.Queue.Show(ctx, id)
}

func (h *hooked) Hold(ctx context.Context, id string) error {
	if h.hold != nil {
		return h.hold(h.Queue, ctx, id)
	}
	return h.Queue.Hold(ctx, id)
}

func (h *hooked) HoldUntil(ctx context.Context, now time.Time, id string, on queue.Terms) error {
	if h.holdUntil != nil {
		return h.holdUntil(h.Queue, ctx, now, id, on)
	}
	return h.Queue.HoldUntil(ctx, now, id, on)
}

func (h *hooked) Suspend(ctx context.Context, now time.Time, list ...queue.Suspension) error {
	if h.suspend != nil {
		return h.suspend(h.Queue, ctx, now, list)
	}
	return h.Queue.Suspend(ctx, now, list...)
}

func (h *hooked) Suspensions(ctx context.Context, now time.Time) ([]queue.Suspension, error) {
	if h.suspended != nil {
		return h.suspended(h.Queue, ctx, now)
	}
	return h.Queue.Suspensions(ctx, now)
}

func (h *hooked) ShareLimits(ctx context.Context, now time.Time, list ...queue.LimitRequest) ([]queue.LimitShare, error) {
	if h.share != nil {
		return h.share(h.Queue, ctx, now, list)
	}
	return h.Queue.ShareLimits(ctx, now, list...)
}

func (h *hooked) Outcomes(ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
	if h.outcomes != nil {
		return h.outcomes(h.Queue, ctx, want)
	}
	return h.Queue.Outcomes(ctx, want)
}

func (h *hooked) Take(
	ctx context.Context, now time.Time, id string, lease time.Duration, destinations ...string,
) (queue.Taken, error) {
	if h.take != nil {
		return h.take(h.Queue, ctx, now, id, lease, destinations)
	}
	return h.Queue.Take(ctx, now, id, lease, destinations...)
}

func (h *hooked) Drop(ctx context.Context, id string) error {
	if h.drop != nil {
		return h.drop(h.Queue, ctx, id)
	}
	return h.Queue.Drop(ctx, id)
}

func (h *hooked) Flush(ctx context.Context, now time.Time, what ...queue.Selection) (int, error) {
	if h.flush != nil {
		return h.flush(h.Queue, ctx, now, what)
	}
	return h.Queue.Flush(ctx, now, what...)
}

// Postpone gives the postponements one by one to the hook.
func (h *hooked) Postpone(ctx context.Context, now time.Time, list ...queue.Postponement) error {
	if h.postponeAll != nil {
		return h.postponeAll(h.Queue, ctx, now, list)
	}
	if h.postpone == nil {
		return h.Queue.Postpone(ctx, now, list...)
	}
	for _, p := range list {
		if err := h.postpone(h.Queue, ctx, now, p); err != nil {
			return err
		}
	}
	return nil
}

func (h *hooked) Wait(ctx context.Context, seen uint64) error {
	if h.wait != nil {
		return h.wait(ctx, seen)
	}
	return h.Queue.Wait(ctx, seen)
}

func (h *hooked) Survey(ctx context.Context, after string, max int) ([]queue.Destination, error) {
	if h.survey != nil {
		return h.survey(h.Queue, ctx, after, max)
	}
	return h.Queue.Survey(ctx, after, max)
}

func (h *hooked) Close() error {
	if h.close != nil {
		return h.close(h.Queue)
	}
	return h.Queue.Close()
}

// lost are messages whose leases a fault takes away.
func (h *hooked) lose(id string) error {
	h.lost = append(h.lost, id)
	return nil
}

func (h *hooked) extendUnlessLost(
	q *memory.Queue, ctx context.Context, now time.Time, l queue.Lease, d time.Duration,
) (queue.Lease, error) {
	if slices.Contains(h.lost, l.Message) {
		return queue.Lease{}, queue.ErrLeaseLost
	}
	return extendOne(q, ctx, now, l, d)
}

func (h *hooked) settleUnlessLost(
	q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement,
) (queue.Settled, error) {
	if slices.Contains(h.lost, s.Lease.Message) {
		return queue.Settled{Err: queue.ErrLeaseLost}, nil
	}
	return settleOne(q, ctx, now, s)
}

// lock is a Mutex for faults that keep it so long that a case gives up: in a bubble time
// does not pass for who waits for a Mutex.
type lock chan struct{}

// with calls f with the lock held, unless the context ends first.
func with[T any](ctx context.Context, l lock, f func() (T, error)) (T, error) {
	select {
	case l <- struct{}{}:
		defer func() { <-l }()
		return f()
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// settleOne settles one on the queue beneath.
func settleOne(q *memory.Queue, ctx context.Context, now time.Time, s queue.Settlement) (queue.Settled, error) {
	got, err := q.Settle(ctx, now, []queue.Settlement{s})
	if err != nil {
		return queue.Settled{}, err
	}
	return got[0], nil
}

// broken makes a subject of which every queue is new and hooked the same way.
func broken(hook func(h *hooked)) queuetest.Implementation {
	open := func(bound int) func() (*queuetest.Instance, error) {
		return func() (*queuetest.Instance, error) {
			h := &hooked{Queue: &memory.Queue{MaxMessages: bound}}
			hook(h)
			in := &queuetest.Instance{Queue: h}
			in.Full = func(full bool) error { h.noRoom = full; return nil }
			in.Share = func() (queue.Queue, func(), error) { return h, func() {}, nil }
			return in, nil
		}
	}
	few := func() (*queuetest.Instance, error) {
		h := &hooked{Queue: &memory.Queue{MaxKeys: 64}}
		hook(h)
		return &queuetest.Instance{Queue: h}, nil
	}
	return queuetest.Implementation{Open: open(0), OpenBounded: open(5), KeepKeys: memory.DefaultKeepKeys, OpenFewKeys: few}
}

// rulesBroken runs the kit and returns the numbers of the rules that failed.
func rulesBroken(t *testing.T, s queuetest.Implementation) []string {
	t.Helper()
	err := queuetest.Test(s)
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("Test = %v, want failures joined", err)
	}
	failed := make(map[string]bool)
	for _, err := range joined.Unwrap() {
		var f *queuetest.Failure
		if !errors.As(err, &f) {
			t.Fatalf("Test returned %v, want a *Failure", err)
		}
		id, _, _ := strings.Cut(f.Rule, ".")
		if !strings.HasPrefix(f.Case, id+" ") || f.Problem == "" || !strings.Contains(f.Error(), f.Rule) {
			t.Errorf("the failure %+v does not say which rule was broken and how", f)
		}
		failed[id] = true
	}
	return slices.Sorted(maps.Keys(failed))
}

// wantBroken checks which rules a subject breaks. What waits in vain does so in virtual
// time.
func wantBroken(t *testing.T, s queuetest.Implementation, rules ...string) {
	t.Helper()
	slices.Sort(rules)
	synctest.Test(t, func(t *testing.T) {
		if got := rulesBroken(t, s); !slices.Equal(got, rules) {
			t.Errorf("the kit says that the rules %q are broken, want %q", got, rules)
		}
	})
}
