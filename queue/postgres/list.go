package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// shownSQL is what is shown of some messages, a row for each delivery. OFFSET 0 has each
// found by its key: the planner would rather read a whole table.
const shownSQL = `SELECT m.id, m.tag, m.envelope, m.envelope_sum, m.size, m.held, m.hold_since, m.hold_until, m.hold_reason,
	d.destination, d.at_once, d.due, d.token IS NOT NULL, d.states, d.because, o.until, o.reason
	FROM (%s) m CROSS JOIN LATERAL unnest(m.destinations) AS name
	CROSS JOIN LATERAL (SELECT * FROM {schema}.delivery e WHERE e.destination = name AND e.message = m.id OFFSET 0) d
	LEFT JOIN LATERAL (SELECT * FROM {schema}.postponed p WHERE p.destination = name OFFSET 0) o ON true
	ORDER BY m.id`

const messageColumns = "x.id, x.tag, x.envelope, x.envelope_sum, x.size, x.held, x.hold_since, x.hold_until, x.hold_reason, x.destinations"

// List returns a page of messages, oldest first.
func (q *Queue) List(ctx context.Context, want queue.ListOptions) (queue.Page, error) {
	most := want.Max
	if most <= 0 {
		most = queue.DefaultMax
	}
	page := "SELECT " + messageColumns + " FROM {schema}.message x WHERE x.id > $1::bigint ORDER BY x.id LIMIT $2::bigint"
	args := []any{after(want.After), int64(most) + 1}
	if want.Destination != "" {
		page = "SELECT " + messageColumns + ` FROM {schema}.delivery y
			CROSS JOIN LATERAL (SELECT * FROM {schema}.message z WHERE z.id = y.message OFFSET 0) x
			WHERE y.destination = $3::text AND y.message > $1::bigint ORDER BY y.message LIMIT $2::bigint`
		args = append(args, plain(want.Destination))
	}
	list, err := q.show(ctx, page, args...)
	if err != nil {
		return queue.Page{}, err
	}
	var found queue.Page
	for i := range list {
		if i == most {
			found.Next = list[i-1].id
			break
		}
		if list[i].err != nil {
			found.Unreadable = append(found.Unreadable, list[i].id)
		} else {
			found.Entries = append(found.Entries, list[i].entry())
		}
	}
	return found, nil
}

// Show returns one message.
func (q *Queue) Show(ctx context.Context, id string) (queue.Entry, error) {
	number, tag, isID := parseID(id)
	if !isID {
		return queue.Entry{}, q.call(ctx, func(context.Context) error { return queue.ErrNotFound })
	}
	list, err := q.show(ctx, "SELECT "+messageColumns+" FROM {schema}.message x WHERE x.id = $1::bigint AND x.tag = $2::int", number, tag)
	switch {
	case err != nil:
		return queue.Entry{}, err
	case len(list) == 0:
		return queue.Entry{}, queue.ErrNotFound
	case list[0].err != nil:
		return queue.Entry{}, list[0].err
	}
	return list[0].entry(), nil
}

// shown is what is shown of a message.
type shown struct {
	id      string
	message *queue.Message // with all its recipients
	size    int64
	held    bool
	hold    queue.Terms
	waiting []queue.Waiting
	err     error
}

// show reads the messages that a query selects, in one statement, so that none is shown
// in part.
func (q *Queue) show(ctx context.Context, page string, args ...any) (list []*shown, err error) {
	err = q.call(ctx, func(ctx context.Context) error {
		list = nil
		return q.many(ctx, func(rows pgx.Rows) error {
			var r shownRow
			if err := r.scan(rows); err != nil {
				return err
			}
			id := formatID(r.number, r.tag)
			if len(list) == 0 || list[len(list)-1].id != id {
				list = append(list, r.message(q, id))
			}
			r.delivery(q, list[len(list)-1])
			return nil
		}, fmt.Sprintf(shownSQL, page), args...)
	})
	return list, err
}

// shownRow is a row of shownSQL.
type shownRow struct {
	number               int64
	tag                  int32
	envelope             []byte
	envelopeSum          int32
	size                 int64
	held                 bool
	since, until         *int64
	reason               []byte
	destination          string
	atOnce               bool
	due                  int64
	leased               bool
	states, because      []byte
	postponed            *int64
	postponementsBecause []byte
}

func (r *shownRow) scan(rows pgx.Rows) error {
	return rows.Scan(&r.number, &r.tag, &r.envelope, &r.envelopeSum, &r.size, &r.held, &r.since, &r.until, &r.reason,
		&r.destination, &r.atOnce, &r.due, &r.leased, &r.states, &r.because, &r.postponed, &r.postponementsBecause)
}

// message is what the row says of the message.
func (r *shownRow) message(q *Queue, id string) *shown {
	s := &shown{id: id, size: r.size, held: r.held}
	s.hold = queue.Terms{Since: q.maybeBack(r.since), Until: q.maybeBack(r.until), Reason: string(r.reason)}
	m, err := decodeMessage(r.envelope, r.envelopeSum)
	if err != nil {
		s.err = fmt.Errorf("the record of %s: %w", id, queue.ErrDamaged)
		return s
	}
	s.message = m
	return s
}

// delivery adds what the row says of a delivery.
func (r *shownRow) delivery(q *Queue, s *shown) {
	states, err := decodeStates(r.states)
	if s.err == nil && (err != nil || !fits(s.message, states)) {
		s.err = fmt.Errorf("the record of %s: %w", s.id, queue.ErrDamaged)
	}
	if s.err != nil {
		return
	}
	postponed := q.maybeBack(r.postponed)
	var next time.Time
	if !r.atOnce {
		next = q.back(r.due)
	}
	if postponed.After(next) {
		next = postponed
	}
	for _, state := range states {
		s.waiting = append(s.waiting, queue.Waiting{
			State: state, Destination: r.destination, Next: next, Postponed: postponed, Reason: string(r.postponementsBecause),
			Leased: r.leased, Because: string(r.because),
		})
	}
}

// entry is the message as a list has it.
func (s *shown) entry() queue.Entry {
	slices.SortFunc(s.waiting, func(a, b queue.Waiting) int { return a.Index - b.Index })
	states := make([]queue.State, len(s.waiting))
	for i := range s.waiting {
		states[i] = s.waiting[i].State
	}
	return queue.Entry{
		Message: withRecipients(s.message, s.id, states), Waiting: s.waiting, Size: s.size, Held: s.held, Hold: s.hold,
	}
}
