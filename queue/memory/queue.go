package memory

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// The default bounds of a Queue.
const (
	DefaultMaxMessages = 1_000_000
	DefaultMaxBytes    = 1 << 30
	DefaultKeepKeys    = 24 * time.Hour
	DefaultMaxKeys     = 1_000_000
	DefaultMaxOutcomes = 1_000_000
)

// Queue is a queue in memory. The zero value is an empty queue with the default
// bounds. It must not be copied, and its fields not changed, after first use.
type Queue struct {
	// MaxMessages bounds the number of messages at Put. Default: DefaultMaxMessages. If
	// negative, there is no bound.
	MaxMessages int

	// MaxBytes bounds the bytes of content at Put. Default: DefaultMaxBytes. If negative,
	// there is no bound.
	MaxBytes int64

	// KeepKeys is for how long the key of a message is remembered after the message has
	// left. Default: DefaultKeepKeys. If negative, it is not remembered.
	KeepKeys time.Duration

	// MaxKeys is the maximum number of such keys. Default: DefaultMaxKeys. If negative,
	// none are remembered. The oldest are forgotten first.
	MaxKeys int

	// KeepOutcomes is for how long the outcome of a recipient is kept (queue.Outcomes).
	// Default: it is not kept.
	KeepOutcomes time.Duration

	// MaxOutcomes is the maximum number of outcomes that are kept. Default:
	// DefaultMaxOutcomes. The oldest are forgotten first.
	MaxOutcomes int

	mu           lock
	closed       bool
	lastID       uint64
	lastToken    uint64
	bytes        int64
	entries      map[string]*entry
	most         int    // entries there were since memory was given back
	ids          idList // the keys of entries, in order
	keys         map[key]*entry
	left         leftKeys // of messages that have left
	ended        ended    // recipients
	deliveries   map[pair]*delivery
	destinations map[string]*destination

	waiting sorted[*delivery]      // not due before a time
	active  map[owners]*activeHeap // destinations with deliveries that are due, by who parks them
	asleep  sorted[*destination]   // postponed for all claimers
	parking parking                // for the others
	holds   sorted[*entry]         // those that end by themselves

	suspended queue.SuspensionSet
	shares    queue.Shares

	changes queue.Changes
}

type activeHeap = sorted[*destination]

// All that Queue can do.
var (
	_ queue.Queue     = (*Queue)(nil)
	_ queue.Lister    = (*Queue)(nil)
	_ queue.Holder    = (*Queue)(nil)
	_ queue.Dropper   = (*Queue)(nil)
	_ queue.Flusher   = (*Queue)(nil)
	_ queue.Postponer = (*Queue)(nil)
	_ queue.Surveyor  = (*Queue)(nil)
	_ queue.Waiter    = (*Queue)(nil)

	_ queue.TermHolder = (*Queue)(nil)
	_ queue.Suspender  = (*Queue)(nil)
	_ queue.Taker      = (*Queue)(nil)

	_ queue.KeyCounter = (*Queue)(nil)
	_ queue.Sharer     = (*Queue)(nil)

	_ queue.OutcomeKeeper = (*Queue)(nil)
)

// key is what tells messages with an idempotency key apart, pair deliveries.
type (
	key  struct{ tenant, key string }
	pair struct{ message, destination string }
)

// begin takes the lock for a call, unless the call is over before it begins.
func (q *Queue) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return queue.ErrClosed
	}
	if q.entries == nil {
		q.entries = make(map[string]*entry)
		q.keys = make(map[key]*entry)
		q.deliveries = make(map[pair]*delivery)
		q.destinations = make(map[string]*destination)
		q.newOrder()
	}
	return nil
}

// Close forgets everything.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.entries, q.keys, q.deliveries, q.destinations, q.ids = nil, nil, nil, nil, idList{}
	q.left, q.ended = leftKeys{}, ended{}
	q.waiting.items, q.active, q.asleep.items, q.parking = nil, nil, nil, parking{}
	q.holds.items, q.suspended = nil, nil
	q.changes.Add() // for those who wait
	return nil
}

// nextID gives the microseconds of now, or one more than the last id where that
// is not more: greater than any before, and telling when.
func (q *Queue) nextID(now time.Time) string {
	q.lastID = max(q.lastID+1, uint64(max(now.UnixMicro(), 0)))
	id := strconv.FormatUint(q.lastID, 32)
	return strings.Repeat("0", 13-len(id)) + id
}

// Open returns a message's content, which is in memory (queue.InMemory).
func (q *Queue) Open(ctx context.Context, id string) (queue.Content, error) {
	if err := q.begin(ctx); err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	e, ok := q.entries[id]
	if !ok {
		return nil, queue.ErrNotFound
	}
	return e.content, nil
}

// Wait returns when something has changed since a claim.
func (q *Queue) Wait(ctx context.Context, seen uint64) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	q.mu.Unlock()
	if err := q.changes.Wait(ctx, seen); err != nil {
		return err
	}
	if err := q.begin(ctx); err != nil {
		return err
	}
	q.mu.Unlock()
	return nil
}
