package delivery_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// faultyQueue is a queue whose calls can be made to fail. It can do all that a
// memory queue can.
type faultyQueue struct {
	*memory.Queue

	// put is asked before each Put, settle before each Settle: its error is the
	// answer. settled is asked after it: its error is the answer though all was
	// done.
	put     func(m *queue.Message) error
	settle  func(batch []queue.Settlement) error
	settled func() error

	// claim, mark, extend and open are asked before each Claim, Mark, Extend and Open, one
	// for each settlement.
	claim, mark, extend, open func() error
	one                       func(s *queue.Settlement) error

	// lost says whose lease Extend and Mark find lost; nil is nobody's.
	lost func(l *queue.Lease) bool

	mu      sync.Mutex
	created []*queue.Message
}

// set changes what the queue is asked.
func (q *faultyQueue) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

func (q *faultyQueue) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	q.mu.Lock()
	claim := q.claim
	q.mu.Unlock()
	if claim != nil {
		if err := claim(); err != nil {
			return queue.Claimed{}, err
		}
	}
	return q.Queue.Claim(ctx, now, want)
}

func (q *faultyQueue) Mark(ctx context.Context, leases []queue.Lease) error {
	q.mu.Lock()
	mark, lost := q.mark, q.lost
	q.mu.Unlock()
	if lost != nil && slices.ContainsFunc(leases, func(l queue.Lease) bool { return lost(&l) }) {
		return queue.ErrLeaseLost
	}
	if mark != nil {
		if err := mark(); err != nil {
			return err
		}
	}
	return q.Queue.Mark(ctx, leases)
}

func (q *faultyQueue) Extend(ctx context.Context, now time.Time, leases []queue.Lease, d time.Duration) ([]queue.Extended, error) {
	q.mu.Lock()
	extend, lost := q.extend, q.lost
	q.mu.Unlock()
	if extend != nil {
		if err := extend(); err != nil {
			return nil, err
		}
	}
	list, err := q.Queue.Extend(ctx, now, leases, d)
	for i := range list {
		if lost != nil && lost(&leases[i]) {
			list[i] = queue.Extended{Lease: leases[i], Err: queue.ErrLeaseLost}
		}
	}
	return list, err
}

func (q *faultyQueue) Open(ctx context.Context, id string) (queue.Content, error) {
	q.mu.Lock()
	open := q.open
	q.mu.Unlock()
	if open != nil {
		if err := open(); err != nil {
			return nil, err
		}
	}
	return q.Queue.Open(ctx, id)
}

// settleEach settles those that one does not fail.
func (q *faultyQueue) settleEach(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	list := make([]queue.Settled, len(batch))
	for i := range batch {
		q.mu.Lock()
		list[i].Err = q.one(&batch[i])
		q.mu.Unlock()
		if list[i].Err != nil {
			continue
		}
		done, err := q.Queue.Settle(ctx, now, batch[i:i+1])
		if err != nil {
			return nil, err
		}
		list[i] = done[0]
	}
	return list, nil
}

func (q *faultyQueue) Put(ctx context.Context, now time.Time, m *queue.Message) (string, error) {
	if q.put != nil {
		if err := q.put(m); err != nil {
			return "", err
		}
	}
	return q.Queue.Put(ctx, now, m)
}

func (q *faultyQueue) Settle(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	q.mu.Lock()
	ask := q.settle
	q.mu.Unlock()
	if ask != nil {
		if err := ask(batch); err != nil {
			return nil, err
		}
	}
	settle := q.Queue.Settle
	if q.one != nil {
		settle = q.settleEach
	}
	list, err := settle(ctx, now, batch)
	q.note(batch, list)
	if err == nil && q.settled != nil {
		err = q.settled()
	}
	return list, err
}

// note remembers what was created.
func (q *faultyQueue) note(batch []queue.Settlement, list []queue.Settled) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range list {
		if list[i].Err == nil {
			q.created = append(q.created, batch[i].Create...)
		}
	}
}
