package postgres

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// leaseColumns are leases as the arguments of a function: those that can be good, each
// with its place in the list.
type leaseColumns struct {
	at           []int
	messages     []int64
	destinations []string
	tokens       []int64
}

// add adds a lease, and reports false for one that names no message of this queue.
func (c *leaseColumns) add(at int, l *queue.Lease) bool {
	number, _, ok := parseID(l.Message)
	if !ok {
		return false
	}
	c.at = append(c.at, at)
	c.messages = append(c.messages, number)
	c.destinations = append(c.destinations, plain(l.Destination))
	c.tokens = append(c.tokens, int64(l.Token))
	return true
}

func newLeaseColumns() *leaseColumns {
	return &leaseColumns{messages: []int64{}, destinations: []string{}, tokens: []int64{}}
}

// Extend sets the ends of leases.
func (q *Queue) Extend(
	ctx context.Context, now time.Time, leases []queue.Lease, length time.Duration,
) ([]queue.Extended, error) {
	list := make([]queue.Extended, len(leases))
	c := newLeaseColumns()
	for i := range leases {
		list[i].Err = queue.ErrLeaseLost
		c.add(i, &leases[i])
	}
	until := now.Round(0).Add(length)
	var held []int32
	err := q.call(ctx, func(ctx context.Context) error {
		return q.pool.QueryRow(ctx, q.sql("SELECT {schema}.extend_v2($1::bigint, $2::bigint, $3::bigint[], $4::text[], $5::bigint[])"),
			q.now(now), q.at(until), c.messages, c.destinations, c.tokens).Scan(&held)
	})
	if err != nil {
		return nil, err
	}
	q.front.leased(q.at(until))
	for _, n := range held {
		i := c.at[n-1]
		l := leases[i]
		l.Until = until
		list[i] = queue.Extended{Lease: l}
	}
	return list, nil
}

// Mark records that deliveries are about to be sent.
func (q *Queue) Mark(ctx context.Context, leases []queue.Lease) error {
	c := newLeaseColumns()
	lost := false
	for i := range leases {
		lost = !c.add(i, &leases[i]) || lost
	}
	return q.call(ctx, func(ctx context.Context) error {
		good := false
		if !lost {
			err := q.pool.QueryRow(ctx, q.sql("SELECT {schema}.mark_v1($1::bigint[], $2::text[], $3::bigint[])"),
				c.messages, c.destinations, c.tokens).Scan(&good)
			if err != nil {
				return err
			}
		}
		if !good {
			return queue.ErrLeaseLost
		}
		return nil
	})
}

// Take leases the deliveries of one message, whether or not they are due.
func (q *Queue) Take(
	ctx context.Context, now time.Time, id string, length time.Duration, destinations ...string,
) (queue.Taken, error) {
	if err := ctx.Err(); err != nil {
		return queue.Taken{}, err
	}
	number, tag, isID := parseID(id)
	until := now.Round(0).Add(length)
	var only []string
	if len(destinations) > 0 {
		only = plainAll(destinations)
	}
	var (
		taken   queue.Taken
		list    []claimed
		message *claimed
	)
	longer, done := outlive(ctx)
	defer done()
	err := q.call(longer, func(ctx context.Context) error {
		taken, list, message = queue.Taken{}, nil, nil
		if !isID {
			return queue.ErrNotFound
		}
		err := q.rows(ctx, func(rows pgx.Rows) error {
			var c claimed
			if err := rows.Scan(c.columns()...); err != nil {
				return err
			}
			switch {
			case message == nil:
				message = &c
			case c.token == nil:
				taken.Leased++
			default:
				if len(list) == 0 {
					c.envelope, c.envelopeSum = message.envelope, message.envelopeSum
				}
				list = append(list, c)
			}
			return nil
		}, `SELECT n, message, destination, token, due, states, warned, marked, tag, size, envelope, envelope_sum
			FROM {schema}.take_v1($1::bigint, $2::bigint, $3::bigint, $4::bigint, $5::int, $6::text[])`,
			q.now(now), q.at(until), random(), number, tag, only)
		if err == nil && message == nil {
			err = queue.ErrNotFound
		}
		return err
	})
	if err != nil {
		return queue.Taken{}, cmp.Or(ctx.Err(), err)
	}
	q.front.leased(q.at(until))
	q.hand(list, until, func(d *queue.Delivery, u *queue.Unreadable) {
		if u != nil {
			taken.Unreadable = append(taken.Unreadable, *u)
		} else {
			taken.Deliveries = append(taken.Deliveries, *d)
		}
	})
	if ctx.Err() != nil {
		return queue.Taken{}, q.giveBack(ctx, taken.Deliveries, taken.Unreadable)
	}
	return taken, nil
}

// remembered are the states of the deliveries that this handle has leased: nobody changes
// them before the lease is lost, and so a settlement need not read them.
type remembered struct {
	mu  sync.Mutex
	all map[leaseKey]leased
}

type leaseKey struct {
	message     int64
	destination string
	token       uint64
}

type leased struct {
	states []byte
	until  time.Time
	origin *origin // if outcomes are kept
}

// mostRemembered is how many there are at most. A settlement of one more reads.
const mostRemembered = 100_000

// remember remembers a lease, and what its outcomes say of the message if these are kept.
func (q *Queue) remember(message int64, l *queue.Lease, encoded []byte, m *queue.Message, states []queue.State) {
	what := leased{states: encoded, until: l.Until}
	if q.o.KeepOutcomes > 0 {
		what.origin = originOf(m, states)
	}
	q.known.add(message, l, what)
}

func (r *remembered) add(message int64, l *queue.Lease, what leased) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= mostRemembered {
		r.all = make(map[leaseKey]leased)
	}
	r.all[leaseKey{message, l.Destination, l.Token}] = what
}

// of is what is remembered of a lease; its states are nil if that is nothing.
func (r *remembered) of(message int64, l *queue.Lease) leased {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[leaseKey{message, l.Destination, l.Token}]
}

func (r *remembered) forget(message int64, l *queue.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, leaseKey{message, l.Destination, l.Token})
}
