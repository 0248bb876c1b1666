package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// Of calls of Open that come while others are under way, many share a round trip.
const (
	mostOpens    = 2  // round trips at a time
	mostTogether = 32 // calls for one, which is 2 MiB of contents at most
)

// opening is a call of Open.
type opening struct {
	number int64
	tag    int32
	done   chan struct{} // closed when the rest is known

	size    int64
	content []byte // nil if it is stored in pieces
	sum     int32
	err     error
}

const openSQL = `SELECT k.n, m.size, coalesce(m.content, (SELECT c.data FROM {schema}.content c
			WHERE c.message = m.id AND c.n = 0 AND m.size <= $3::bigint)), m.content_sum
	FROM unnest($1::bigint[], $2::int[]) WITH ORDINALITY AS k (id, tag, n)
	CROSS JOIN LATERAL (SELECT o.id, o.size, o.content, o.content_sum FROM {schema}.message o
		WHERE o.id = k.id AND o.tag = k.tag OFFSET 0) m`

// Open returns the content of a message. A short one is then in memory
// (queue.InMemory).
func (q *Queue) Open(ctx context.Context, id string) (queue.Content, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	number, tag, isID := parseID(id)
	switch {
	case q.closed.Load():
		return nil, queue.ErrClosed
	case !isID:
		return nil, queue.ErrNotFound
	}
	if c := q.ahead.take(number, tag); c != nil {
		return c.open(id)
	}
	o := &opening{number: number, tag: tag, done: make(chan struct{})}
	if err := q.opens.add(o, func() { q.group.Go(q.openAll) }); err != nil {
		return nil, err
	}
	if err := inRound(ctx, q.o.Timeout, o.done, func() bool { return q.opens.leave(o) }); err != nil {
		return nil, err
	}
	switch {
	case o.err != nil:
		return nil, o.err
	case o.content == nil:
		return &stored{q: q, number: number, size: o.size}, nil
	}
	return o.short().open(id)
}

func (o *opening) short() *shortContent { return &shortContent{o.content, o.size, o.sum} }

// shortContent is a content that has been read as a whole.
type shortContent struct {
	bytes []byte
	size  int64
	sum   int32
}

func (c *shortContent) open(id string) (queue.Content, error) {
	if int64(len(c.bytes)) != c.size || sum(c.bytes) != c.sum {
		return nil, damagedContent(id)
	}
	return queue.Bytes(c.bytes), nil
}

// openAll makes round trips until nobody waits.
func (q *Queue) openAll() {
	count := func(waiting []*opening) int { return min(len(waiting), mostTogether) }
	for list := q.opens.next(count); list != nil; list = q.opens.next(count) {
		err := q.openThese(list)
		for _, o := range list {
			if err != nil {
				o.err = err
			}
			close(o.done)
		}
	}
}

// openThese makes one. It is bounded in time by itself, and does not end with the context
// of any of the calls, since it is for all of them.
func (q *Queue) openThese(list []*opening) error {
	ids, tags := make([]int64, len(list)), make([]int32, len(list))
	for i, o := range list {
		ids[i], tags[i] = o.number, o.tag
	}
	return q.call(context.Background(), func(ctx context.Context) error {
		for _, o := range list {
			o.err = queue.ErrNotFound
		}
		return q.rows(ctx, func(rows pgx.Rows) error {
			var (
				n    int64
				read opening
			)
			if err := rows.Scan(&n, &read.size, &read.content, &read.sum); err != nil {
				return err
			}
			o := list[n-1]
			o.size, o.content, o.sum, o.err = read.size, read.content, read.sum, nil
			return nil
		}, openSQL, ids, tags, int64(inRow))
	})
}
