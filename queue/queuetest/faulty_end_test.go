package queuetest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// mayFail is a queue that is replaced by another when it fails.
type mayFail struct{ queue.Queue }

// Unwrap lets the abilities of what is inside be found.
func (q *mayFail) Unwrap() queue.Queue { return q.Queue }

// failWell makes a queue that answers as one does that has failed.
func failWell(q queue.Queue) queue.Queue {
	return broke{q, fmt.Errorf("no device: %w", queue.ErrFailed)}
}

// broke is a queue that answers everything with one error.
type broke struct {
	q   queue.Queue
	err error
}

func (b broke) Put(context.Context, time.Time, *queue.Message) (string, error) { return "", b.err }

func (b broke) Claim(context.Context, time.Time, queue.ClaimOptions) (queue.Claimed, error) {
	return queue.Claimed{}, b.err
}

func (b broke) Extend(context.Context, time.Time, []queue.Lease, time.Duration) ([]queue.Extended, error) {
	return nil, b.err
}

func (b broke) Mark(context.Context, []queue.Lease) error { return b.err }

func (b broke) Settle(context.Context, time.Time, []queue.Settlement) ([]queue.Settled, error) {
	return nil, b.err
}

func (b broke) Open(context.Context, string) (queue.Content, error) { return nil, b.err }

func (b broke) List(context.Context, queue.ListOptions) (queue.Page, error) {
	return queue.Page{}, b.err
}

func (b broke) Show(context.Context, string) (queue.Entry, error) { return queue.Entry{}, b.err }

func (b broke) Hold(context.Context, string) error { return b.err }

func (b broke) Release(context.Context, string) error { return b.err }

func (b broke) Drop(context.Context, string) error { return b.err }

func (b broke) Flush(context.Context, time.Time, ...queue.Selection) (int, error) { return 0, b.err }

func (b broke) Postpone(context.Context, time.Time, ...queue.Postponement) error { return b.err }

func (b broke) Total(context.Context) (queue.Totals, error) { return queue.Totals{}, b.err }

func (b broke) Survey(context.Context, string, int) ([]queue.Destination, error) { return nil, b.err }

func (b broke) Wait(context.Context, uint64) error { return b.err }

func (b broke) Close() error { return queue.Close(b.q) }
