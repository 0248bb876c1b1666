package postgres

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Remember bounds how many heads a handle remembers between claims.
func Remember(q *Queue, most int) { q.front.most = most }

// WaitingPuts is how many calls of Put wait for a transaction.
func WaitingPuts(q *Queue) int {
	q.puts.mu.Lock()
	defer q.puts.mu.Unlock()
	return len(q.puts.waiting)
}

// ForgetOutcomes forgets the outcomes that are too old at a time, or too many.
func ForgetOutcomes(ctx context.Context, q *Queue, now time.Time) error {
	return q.forgetOutcomes(ctx, q.at(now))
}

// Look bounds how many heads a claim looks at beyond those that are remembered; 0 is the default.
func Look(q *Queue, most int) { q.front.looks = most }

// DoubtOutcomes has a handle doubt whether a transaction has stored the outcomes that it
// has in memory.
func DoubtOutcomes(q *Queue, xid int64) {
	_, q.unkept.upTo = q.unkept.all()
	q.unkept.xid = xid
}

// UnkeptPart is how many outcomes one transaction stores that a handle has in memory.
const UnkeptPart = unkeptPart

// Unkeep has a handle keep so many outcomes in memory, of as many messages.
func Unkeep(q *Queue, now time.Time, n int) {
	list := make([]unkeptOutcome, n)
	for i := range list {
		data := encodeOutcome(formatID(int64(i+1), 0), nil, &queue.State{Outcome: queue.Delivered, Attempts: 1, Tried: now})
		list[i] = unkeptOutcome{q.at(now), sum(data), data}
	}
	q.unkept.add(list, q.o.mostOutcomes())
}
