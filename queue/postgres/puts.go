package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// Of calls of Put that come while others are under way, many share a transaction.
const (
	mostPuts     = 4       // transactions at a time
	mostMessages = 128     // of one
	mostBytes    = 1 << 20 // of one, unless it is for one message
	partBytes    = 512     // of which a delivery takes so many, in rows and indexes
)

// putting is a call of Put whose message has been read.
type putting struct {
	draft draft
	now   int64         // on the server's clock
	done  chan struct{} // closed when the rest is known

	number int64
	tag    int32
	known  bool // its key
	err    error
}

// putTogether puts a message with others. If ctx ends before its transaction has begun,
// it is not put.
func (q *Queue) putTogether(ctx context.Context, p *putting) error {
	p.done = make(chan struct{})
	if err := q.puts.add(p, func() { q.group.Go(q.putAll) }); err != nil {
		return err
	}
	if err := inRound(ctx, q.o.Timeout, p.done, func() bool { return q.puts.leave(p) }); err != nil {
		return err
	}
	return p.err
}

// putAll puts messages until nobody waits. It does not end with the context of any of the
// calls, since it is for all of them.
func (q *Queue) putAll() {
	for list := q.puts.next(inOne); list != nil; list = q.puts.next(inOne) {
		err := q.putThese(context.Background(), list)
		for _, p := range list {
			if p.err = err; err != nil && len(list) > 1 && isOfValues(err) {
				p.err = q.putThese(context.Background(), []*putting{p})
			}
			close(p.done)
		}
	}
}

// inOne is how many messages go into one transaction.
func inOne(waiting []*putting) int {
	bytes := 0
	for i, p := range waiting[:min(len(waiting), mostMessages)] {
		if bytes += p.draft.weight(); i > 0 && bytes > mostBytes {
			return i
		}
	}
	return min(len(waiting), mostMessages)
}

// weight is about how many bytes a draft takes in the database.
func (d *draft) weight() int { return len(d.content) + len(d.envelope) + partBytes*len(d.parts) }

// isOfValues reports whether the server refuses values, which may be those of one message.
func isOfValues(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return false
	}
	switch e.Code[:2] {
	case "22", "23", "54": // wrong data, constraints, limits of the server
		return true
	}
	return false
}

// putThese puts messages in one transaction.
func (q *Queue) putThese(ctx context.Context, list []*putting) error {
	drafts := make([]draft, len(list))
	for i, p := range list {
		drafts[i] = p.draft
	}
	var (
		numbers []int64
		tags    []int32
		known   []bool
	)
	err := q.call(ctx, func(ctx context.Context) error {
		return q.pool.QueryRow(ctx, q.sql("SELECT ids, tags, known FROM "+putFrom), putArgs(true, list[0].now, drafts)...).
			Scan(&numbers, &tags, &known)
	})
	if err != nil {
		return err
	}
	for i, p := range list {
		p.number, p.tag, p.known = numbers[i], tags[i], known[i]
	}
	if slices.Contains(known, false) {
		q.changed()
	}
	return nil
}
