//go:build unix

package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// quota holds each user to so much mail that waits.
type quota struct {
	messages int
	bytes    int64
	count    func(ctx context.Context, tenant string) (usage, error)

	mu    sync.Mutex
	users map[string]*usage
}

// usage is a user's queued mail: what was counted, plus what has been accepted since.
// It is never too low, so counting again, which requires reading the queue, is needed
// only if it seems to be over the quota.
type usage struct {
	messages int
	bytes    int64
	stands   time.Time // when it may be counted again
}

var errQuota = errors.New("too much of your mail waits already")

// A count stands for recount times as long as it took, so that counting takes a small part
// of the time, and mail that left a moment ago is not held against its user.
const recount = 20

func newQuota(messages int, bytes int64, count func(context.Context, string) (usage, error)) *quota {
	return &quota{messages: messages, bytes: bytes, count: count, users: make(map[string]*usage)}
}

// take asks for room for one more message.
func (q *quota) take(ctx context.Context, tenant string, size int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.users[tenant]
	if u == nil || q.over(u, size) && !time.Now().Before(u.stands) {
		began := time.Now()
		counted, err := q.count(ctx, tenant)
		if err != nil {
			return err
		}
		u = &counted
		now := time.Now()
		u.stands = now.Add(recount * now.Sub(began))
		q.users[tenant] = u
	}
	if q.over(u, size) {
		return errQuota
	}
	u.messages++
	u.bytes += size
	return nil
}

// over reports whether there is no room for one more message. If no mail is queued,
// there is always room.
func (q *quota) over(u *usage, size int64) bool {
	return u.messages >= q.messages || u.messages > 0 && u.bytes+size > q.bytes
}

// used counts what a tenant has waiting.
func (r *runner) used(ctx context.Context, tenant string) (u usage, err error) {
	err = queue.Select(ctx, r.spool, queue.Selection{Tenant: tenant}, func(e *queue.Entry, _ []int) error {
		u.messages++
		u.bytes += e.Size
		return nil
	}, nil)
	return u, err
}
