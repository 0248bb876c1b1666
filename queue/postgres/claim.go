package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

const claimSQL = `SELECT n, message, destination, token, due, states, warned, marked, tag, size, envelope, envelope_sum,
		content, content_sum, more, any_mail,
		anew, xmax_, xip, rank, seq, later, lease, lease_next, h_xid, h_seq, h_rank, h_destination, h_tenant, h_priority, h_at_once,
		(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint
	FROM {schema}.claim_v3($1::bigint, $2::bigint, $3::bigint, $4::int, $5::text[], $6::text[], $7::bytea[], $8::int, $9::int,
		$10::boolean, $11::boolean, $12::bigint, $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint, $17::bigint, $18::int,
		$19::bigint, $20::bigint, $21::bigint, $22::bigint, $23::bigint, $24::bigint)`

// claimTries is how often a claim is made that finds nothing for the sake of other claims.
const claimTries = 3

// Claim leases due deliveries, in one round trip, and reads their contents if they are
// short. Mail that another claim is working on at that moment is left out, and Next shows
// that. If that is all there is, Claim tries again.
func (q *Queue) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	if err := ctx.Err(); err != nil {
		return queue.Claimed{}, err
	}
	want = want.WithDefaults()
	found, passed, err := q.claim(ctx, now, want, true)
	for try := 1; try < claimTries && passed && err == nil && len(found.Deliveries)+len(found.Unreadable) == 0; try++ {
		found, passed, err = q.claim(ctx, now, want, false) // others have taken what was not left out
	}
	return found, err
}

// rowsAndShares has a claim and its shares of limits in one transaction.
func (q *Queue) rowsAndShares(ctx context.Context, each func(pgx.Rows) error, claim []any, shares func(pgx.Row) error, limits []any) error {
	b := new(pgx.Batch)
	b.Queue(q.sql(claimSQL), claim...).Query(func(rows pgx.Rows) error { return eachRow(rows, each) })
	b.Queue(q.sql(shareSQL), limits...).QueryRow(shares)
	return q.pool.SendBatch(ctx, b).Close()
}

// claim makes a claim, and reports whether it has left out what the next one may not. If it
// may, it leaves out tenants and destinations that have just had as much as a claim gives
// to one.
func (q *Queue) claim(ctx context.Context, now time.Time, want queue.ClaimOptions, may bool) (_ queue.Claimed, passed bool, err error) {
	found := queue.Claimed{Seen: q.changes.Count()}
	until := now.Round(0).Add(want.Lease)
	own, lift := q.own.at(now, want.Owner)
	except := append(plainAll(want.Except), plainAll(own)...)
	var (
		turn bool
		back bool
		only []string // null is all
		base = random()
	)
	if len(want.Destinations) > 0 {
		only = plainAll(want.Destinations)
	}
	bounded := only == nil && (want.PerDestination > 0 || want.PerTenant > 0)
	admission := newAdmission(only, except, want.ExceptTenants)
	var (
		list   []claimed
		sum    claimed
		shares shared
	)
	longer, done := outlive(ctx)
	defer done()
	var again bool // what was remembered was of another server
	once := func(ctx context.Context) (err error) {
		list = list[:0]
		var found frontRow
		may = may && bounded
		f := q.front.begin(want.Max, q.now(now), q.at(until), may, admission)
		turn, back = len(f.turn) > 0, len(admission.back) > 0
		outTenants, out := split(slices.AppendSeq(f.turn, maps.Keys(admission.back)))
		defer func() { again = q.front.end(f, admission, &found, err) }()
		each := func(rows pgx.Rows) error {
			var c claimed
			if err := rows.Scan(append(append(c.columns(), &c.content, &c.contentSum, &c.more, &c.found), found.columns()...)...); err != nil {
				return err
			}
			if c.message == nil {
				sum = c // the last row
			} else {
				list = append(list, c)
			}
			return nil
		}
		args := []any{
			q.now(now), q.at(until), base, want.Max, only, slices.Concat(except, out), octets(want.ExceptTenants, outTenants), max(want.PerDestination, 0), max(want.PerTenant, 0),
			f.walk, !lift.IsZero(), f.xmax, f.xip, f.xids, f.seqs, f.reach.rank, f.reach.seq, f.page, f.cut, f.later, f.lease, f.next,
			q.ahead.room(), int64(inRow),
		}
		if len(want.Limits) == 0 {
			return q.rows(ctx, each, claimSQL, args...)
		}
		return q.rowsAndShares(ctx, each, args, shares.scan, q.shareArgs(now, want.Limits))
	}
	err = q.call(longer, once)
	for try := 1; try < claimTries && err == nil && len(list) == 0 && *sum.more && ctx.Err() == nil; try++ {
		err = q.call(longer, once)
	}
	if err != nil {
		return queue.Claimed{}, false, cmp.Or(ctx.Err(), err)
	}
	q.ahead.add(list)
	found.Deliveries, found.Unreadable = q.handAll(list, until)
	if ctx.Err() != nil {
		return queue.Claimed{}, false, q.giveBack(ctx, found.Deliveries, found.Unreadable)
	}
	if bounded {
		q.front.gave(found.Deliveries, want, turn, *sum.more)
	}
	if found.Next = q.next(now, sum, lift); again || back || turn {
		found.Next = now.Round(0)
	}
	if len(want.Limits) > 0 {
		found.Limits = shares.list(now)
	}
	return found, back || turn, nil
}

// octets are the names of some lists as octets, for they may be anything.
func octets(names ...[]string) [][]byte {
	all := slices.Concat(names...)
	list := make([][]byte, 0, len(all))
	for _, name := range all {
		list = append(list, []byte(name))
	}
	return list
}

// handAll returns what was claimed, as far as it can be read, and the rest.
func (q *Queue) handAll(list []claimed, until time.Time) (good []queue.Delivery, bad []queue.Unreadable) {
	q.hand(list, until, func(d *queue.Delivery, u *queue.Unreadable) {
		if u != nil {
			bad = append(bad, *u)
		} else {
			good = append(good, *d)
		}
	})
	return good, bad
}

// next is when to claim again: now if there is more, and not later than the end of a
// postponement of the claimer's own.
func (q *Queue) next(now time.Time, sum claimed, lift time.Time) time.Time {
	switch {
	case *sum.more:
		return now.Round(0)
	case !*sum.found:
		return time.Time{}
	}
	next := q.maybeBack(sum.due)
	if !next.IsZero() && !next.After(now) { // by less than a clock can tell
		next = now.Round(0).Add(time.Millisecond)
	}
	if !lift.IsZero() && (next.IsZero() || lift.Before(next)) {
		next = lift
	}
	return next
}

// claimed is a row of what claim and take return; a content comes with the former only.
type claimed struct {
	n           *int32
	message     *int64
	destination *string
	token       *int64
	due         *int64
	states      []byte
	warned      *bool
	marked      *bool
	tag         *int32
	size        *int64
	envelope    []byte // of the first of several deliveries of a message
	envelopeSum *int32
	content     []byte // of the same, if it comes with the claim
	contentSum  *int32
	more, found *bool
}

// columns are where the columns go, in their order.
func (c *claimed) columns() []any {
	return []any{
		&c.n, &c.message, &c.destination, &c.token, &c.due, &c.states, &c.warned, &c.marked, &c.tag, &c.size, &c.envelope, &c.envelopeSum,
	}
}

// hand makes deliveries of rows, in order, and remembers what was leased.
func (q *Queue) hand(list []claimed, until time.Time, each func(*queue.Delivery, *queue.Unreadable)) {
	slices.SortFunc(list, func(a, b claimed) int { return cmp.Compare(*a.n, *b.n) })
	messages := make(map[int64]*queue.Message)
	for i := range list {
		c := &list[i]
		if c.envelope != nil {
			m, err := decodeMessage(c.envelope, *c.envelopeSum)
			if err != nil {
				m = nil
			}
			messages[*c.message] = m
		}
	}
	for i := range list {
		c := &list[i]
		lease := queue.Lease{
			Message: formatID(*c.message, *c.tag), Destination: *c.destination, Token: uint64(*c.token), Until: until,
		}
		states, err := decodeStates(c.states)
		m := messages[*c.message]
		if err != nil || m == nil || !fits(m, states) {
			each(nil, &queue.Unreadable{Lease: lease, Err: fmt.Errorf("the record of %s: %w", lease.Message, queue.ErrDamaged)})
			continue
		}
		q.remember(*c.message, &lease, c.states, m, states)
		d := &queue.Delivery{
			Lease: lease, Message: withRecipients(m, lease.Message, states), States: states, Size: *c.size,
			Due: q.back(*c.due), Warned: *c.warned, Interrupted: *c.marked,
		}
		each(d, nil)
	}
}

// fits reports whether all states are of recipients that the message has.
func fits(m *queue.Message, states []queue.State) bool {
	return !slices.ContainsFunc(states, func(s queue.State) bool { return s.Index < 0 || s.Index >= len(m.Recipients) })
}

// withRecipients is a copy of a message with the recipients of some states.
func withRecipients(m *queue.Message, id string, states []queue.State) queue.Message {
	c := *m
	c.ID = id
	c.Metadata = make(map[string]string, len(m.Metadata))
	for name, value := range m.Metadata {
		c.Metadata[name] = value
	}
	if len(m.Metadata) == 0 {
		c.Metadata = nil
	}
	c.Recipients = make([]queue.Recipient, len(states))
	for i, s := range states {
		c.Recipients[i] = m.Recipients[s.Index]
	}
	return c
}
