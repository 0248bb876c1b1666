package postgres

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// Of calls of Open that come while others are under way, many share a round trip.
const (
	mostOpens    = 2  // round trips at a time
	mostTogether = 32 // calls for one, which is 2 MiB of contents at most
)

// opens are the calls of Open.
type opens struct {
	mu      sync.Mutex
	waiting []*opening
	running int // round trips, each in a goroutine
	closed  bool
}

// opening is one of them.
type opening struct {
	number int64
	tag    int32
	done   chan struct{} // closed when the rest is known

	size    int64
	content []byte // nil if it is stored in pieces
	sum     int32
	err     error
}

const openSQL = `SELECT k.n, m.size, m.content, m.content_sum
	FROM unnest($1::bigint[], $2::int[]) WITH ORDINALITY AS k (id, tag, n)
	CROSS JOIN LATERAL (SELECT o.size, o.content, o.content_sum FROM {schema}.message o
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
	o := &opening{number: number, tag: tag, done: make(chan struct{})}
	if err := q.opens.add(o, func() { q.group.Go(q.openAll) }); err != nil {
		return nil, err
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case o.err != nil:
		return nil, o.err
	case o.content == nil:
		return &stored{q: q, number: number, size: o.size}, nil
	case int64(len(o.content)) != o.size || sum(o.content) != o.sum:
		return nil, damagedContent(id)
	}
	return queue.Bytes(o.content), nil
}

// add has o wait for a round trip, and has one begin unless enough are under way.
func (p *opens) add(o *opening, begin func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return queue.ErrClosed
	}
	p.waiting = append(p.waiting, o)
	if p.running < mostOpens {
		p.running++
		begin()
	}
	return nil
}

// next returns the calls for the next round trip; none if nobody waits, which is the end
// of the goroutine.
func (p *opens) next() []*opening {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.waiting = nil
		p.running--
		return nil
	}
	n := min(len(p.waiting), mostTogether)
	list := p.waiting[:n:n]
	p.waiting = p.waiting[n:]
	return list
}

// close has no more calls begin.
func (p *opens) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

// openAll makes round trips until nobody waits.
func (q *Queue) openAll() {
	for list := q.opens.next(); list != nil; list = q.opens.next() {
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
		}, openSQL, ids, tags)
	})
}
