package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// errByName is what Flush says to a selection that it cannot find.
var errByName = fmt.Errorf("postgres: flush by more than names: %w", errors.ErrUnsupported)

// flushPart is how many deliveries are looked at in one transaction.
const flushPart = 2000

// Flush makes deliveries due at once. Deliveries selected by messages are flushed in
// one transaction, those selected only by destinations in parts.
func (q *Queue) Flush(ctx context.Context, now time.Time, what ...queue.Selection) (int, error) {
	f := flush{q: q, now: now, destinations: []string{}, messages: []int64{}, names: []*string{}}
	total := 0
	err := q.call(ctx, func(ctx context.Context) (err error) {
		for i := range what {
			if !what[i].ByName() {
				return errByName
			}
		}
		if err := f.find(ctx, what); err != nil {
			return err
		}
		total, err = f.begin(ctx)
		return err
	})
	for i := 0; err == nil && i < len(f.destinations); i++ {
		var n int
		n, err = f.destination(ctx, &f.destinations[i])
		total += n
	}
	if err == nil && f.everything {
		var n int
		n, err = f.destination(ctx, nil)
		total += n
	}
	if err != nil {
		return 0, err
	}
	q.changed()
	return total, nil
}

// flush is a call of Flush: what it selects, each delivery once.
type flush struct {
	q            *Queue
	now          time.Time
	everything   bool
	destinations []string  // as a whole
	messages     []int64   // and what of each: a destination, or all where that is nil
	names        []*string //
}

// find sorts the selections, and wants their messages to be there.
func (f *flush) find(ctx context.Context, what []queue.Selection) error {
	f.everything, f.destinations, f.messages, f.names = false, f.destinations[:0], f.messages[:0], f.names[:0]
	for i := range what {
		s := &what[i]
		switch {
		case s.Message != "":
			number, tag, isID := parseID(s.Message)
			there := false
			if isID {
				err := f.q.pool.QueryRow(ctx, f.q.sql("SELECT EXISTS (SELECT FROM {schema}.message WHERE id = $1::bigint AND tag = $2::int)"),
					number, tag).Scan(&there)
				if err != nil {
					return err
				}
			}
			if !there {
				return queue.ErrNotFound
			}
			var name *string
			if s.Destination != "" {
				one := plain(s.Destination)
				name = &one
			}
			f.messages, f.names = append(f.messages, number), append(f.names, name)
		case s.Destination == "":
			f.everything = true
		case !slices.Contains(f.destinations, plain(s.Destination)):
			f.destinations = append(f.destinations, plain(s.Destination))
		}
	}
	if f.everything {
		f.destinations, f.messages, f.names = f.destinations[:0], f.messages[:0], f.names[:0]
	}
	return nil
}

// begin ends holds whose time has come, lifts postponements, and flushes what is given by
// messages.
func (f *flush) begin(ctx context.Context) (n int, err error) {
	q := f.q
	if _, err := q.pool.Exec(ctx, q.sql("SELECT {schema}.end_holds_v1($1::bigint)"), q.now(f.now)); err != nil {
		return 0, err
	}
	if f.everything {
		if _, err := q.pool.Exec(ctx, q.sql("DELETE FROM {schema}.postponed")); err != nil {
			return 0, err
		}
	}
	var lifted []queue.Postponement
	for _, name := range f.destinations {
		lifted = append(lifted, queue.Postponement{Destination: name})
	}
	slices.SortFunc(lifted, func(a, b queue.Postponement) int {
		if a.Destination < b.Destination {
			return -1
		}
		return 1
	})
	if err := q.postpone(ctx, lifted); err != nil {
		return 0, err
	}
	if len(f.messages) > 0 {
		err = q.pool.QueryRow(ctx, q.sql("SELECT {schema}.flush_named_v1($1::bigint, $2::bigint[], $3::text[], $4::text[])"),
			q.at(f.now), f.messages, f.names, f.destinations).Scan(&n)
	}
	return n, err
}

// destination flushes a destination, or everything where that is nil.
func (f *flush) destination(ctx context.Context, name *string) (total int, err error) {
	lastName, lastNumber := "", int64(0)
	if name != nil {
		lastName = *name
	}
	for {
		var (
			n          int
			nextName   *string
			nextNumber *int64
		)
		err := f.q.call(ctx, func(ctx context.Context) error {
			return f.q.pool.QueryRow(ctx, f.q.sql(`SELECT flushed, last_destination, last_message
				FROM {schema}.flush_v1($1::bigint, $2::text, $3::text, $4::bigint, $5::int)`),
				f.q.at(f.now), name, lastName, lastNumber, flushPart).Scan(&n, &nextName, &nextNumber)
		})
		if err != nil {
			return 0, err
		}
		total += n
		if nextName == nil {
			return total, nil
		}
		lastName, lastNumber = *nextName, *nextNumber
	}
}
