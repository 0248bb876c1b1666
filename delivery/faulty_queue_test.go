package delivery_test

import (
	"context"
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

	mu      sync.Mutex
	created []*queue.Message
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
	if q.settle != nil {
		if err := q.settle(batch); err != nil {
			return nil, err
		}
	}
	list, err := q.Queue.Settle(ctx, now, batch)
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
