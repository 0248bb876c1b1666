package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// Settle records outcomes and puts the messages they create: a whole batch in one
// transaction and one round trip, unless it has leases that another handle was given,
// or large contents. If the server has no room, settlements are recorded without the messages
// that they create, and outcomes are in memory until there is room. If it has no room for
// deliveries that stay either, those that end are recorded, and the others refused.
func (q *Queue) Settle(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	b := &settling{
		q: q, now: now, batch: batch, settled: make([]queue.Settled, len(batch)), drafts: make([][]draft, len(batch)),
		before: make([][]byte, len(batch)), of: make([]*origin, len(batch)), decided: undecided(),
	}
	for i := range batch {
		var err error
		if b.drafts[i], err = q.readAll(ctx, now, batch[i].Create); errors.Is(err, queue.ErrFull) {
			b.partly = append(b.partly, i)
		} else {
			b.settled[i].Err = err
		}
	}
	defer b.abandon(ctx)
	if err := q.call(ctx, b.readStates); err != nil {
		return nil, err
	}
	b.decide()
	err := q.call(ctx, b.record)
	for errors.Is(err, queue.ErrFull) && b.lessRoom() {
		err = q.call(ctx, b.record)
	}
	if err != nil {
		return nil, err
	}
	if b.changes {
		q.changed()
	}
	return b.settled, nil
}

// abandon removes what was stored of messages that were not put.
func (b *settling) abandon(ctx context.Context) {
	for i := range b.drafts {
		if len(b.settled[i].Created) == 0 {
			b.q.abandon(ctx, b.drafts[i]...)
		}
	}
}

// readAll reads the messages that a settlement creates.
func (q *Queue) readAll(ctx context.Context, now time.Time, ms []*queue.Message) (drafts []draft, err error) {
	for _, m := range ms {
		parts, err := queue.Split(m)
		if err != nil {
			q.abandon(ctx, drafts...)
			return nil, err
		}
		d := draft{message: m, parts: parts}
		if err := q.read(ctx, q.inPieces, now, &d); err != nil {
			q.abandon(ctx, append(drafts, d)...)
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

// settling is a call of Settle.
type settling struct {
	q       *Queue
	now     time.Time
	batch   []queue.Settlement
	settled []queue.Settled
	drafts  [][]draft
	before  [][]byte  // the states of each, nil if its lease is lost
	of      []*origin // if outcomes are kept: where they are from, nil if a message cannot be read

	partly []int // those whose messages had no room when they were read
	room   room
	decided
}

// decided is what is told to the database.
type decided struct {
	*leaseColumns
	apply   []bool
	states  [][]byte // null ends the delivery
	atOnce  []bool
	due     []int64
	warned  []bool
	because [][]byte

	// The outcomes to keep, and the settlement of each.
	over     []int32
	outcomes [][]byte
	sums     []int32

	create     []draft
	settlement []int32 // of each in create
	changes    bool    // something may be due sooner than a claim has foreseen
}

func undecided() decided {
	return decided{
		leaseColumns: newLeaseColumns(),
		states:       [][]byte{}, apply: []bool{}, atOnce: []bool{}, due: []int64{}, warned: []bool{}, because: [][]byte{},
	}
}

// readStates finds the states of the deliveries: remembered, else in the database.
func (b *settling) readStates(ctx context.Context) error {
	missing := newLeaseColumns()
	for i := range b.batch {
		l := &b.batch[i].Lease
		number, _, ok := parseID(l.Message)
		if !ok || b.settled[i].Err != nil {
			continue
		}
		known := b.q.known.of(number, l)
		if b.before[i], b.of[i] = known.states, known.origin; known.states == nil {
			missing.add(i, l)
		}
	}
	if len(missing.at) == 0 {
		return nil
	}
	return b.q.many(ctx, func(rows pgx.Rows) error {
		var (
			n                int
			states, envelope []byte
			sum              *int32
		)
		if err := rows.Scan(&n, &states, &envelope, &sum); err != nil {
			return err
		}
		i := missing.at[n-1]
		b.before[i] = states
		if sum != nil {
			if m, err := decodeMessage(envelope, *sum); err == nil {
				pending, _ := decodeStates(states) // if they cannot be read, nothing is settled
				b.of[i] = originOf(m, pending)
			}
		}
		return nil
	}, `SELECT s.n, d.states, m.envelope, m.envelope_sum FROM unnest($1::bigint[], $2::text[], $3::bigint[]) WITH ORDINALITY AS s (message, destination, token, n)
		CROSS JOIN LATERAL (SELECT e.states FROM {schema}.delivery e
			WHERE e.destination = s.destination AND e.message = s.message AND e.token = s.token OFFSET 0) d
		LEFT JOIN LATERAL (SELECT o.envelope, o.envelope_sum FROM {schema}.message o WHERE o.id = s.message AND $4::boolean OFFSET 0) m ON true`,
		missing.messages, missing.destinations, missing.tokens, b.q.o.KeepOutcomes > 0)
}

// decide says of each settlement what is to be recorded. One that cannot be is asked
// about all the same, since a lease that is lost matters more.
func (b *settling) decide() {
	taken := make(map[queue.Lease]bool)
	for i := range b.batch {
		s := &b.batch[i]
		if b.settled[i].Err != nil {
			continue
		}
		same := queue.Lease{Message: s.Lease.Message, Destination: s.Lease.Destination, Token: s.Lease.Token}
		if b.before[i] == nil || taken[same] {
			b.settled[i].Err = queue.ErrLeaseLost
			continue
		}
		partly := b.isPartly(i)
		notBefore := s.NotBefore
		after, over, err := settle(b.before[i], s.Results, b.now)
		if partly && err == nil {
			var results []queue.Result
			results, notBefore = withoutFailed(s.Results, notBefore, b.now)
			after, over, err = settle(b.before[i], results, b.now)
		}
		if err == nil && b.room == roomForEnds && after != nil {
			err = queue.ErrFull
		}
		b.settled[i] = queue.Settled{Err: err, NoRoom: partly && err == nil}
		b.add(i, &s.Lease)
		atOnce, due := b.q.due(b.now, notBefore)
		b.apply = append(b.apply, err == nil)
		b.states = append(b.states, after)
		b.atOnce = append(b.atOnce, atOnce)
		b.due = append(b.due, due)
		b.warned = append(b.warned, s.Warned && !partly)
		b.because = append(b.because, reason(s.BoundedReason()))
		if err != nil {
			continue
		}
		taken[same] = true
		b.keep(i, over)
		b.changes = b.changes || after != nil || len(b.drafts[i]) > 0
		if partly {
			continue
		}
		for k := range b.drafts[i] {
			b.create = append(b.create, b.drafts[i][k])
			b.settlement = append(b.settlement, int32(len(b.at)))
		}
	}
}

// keep has the outcomes of recipients kept with the settlement that was added last.
func (b *settling) keep(i int, over []queue.State) {
	if b.q.o.KeepOutcomes <= 0 {
		return
	}
	for k := range over {
		data := encodeOutcome(b.batch[i].Lease.Message, b.of[i], &over[k])
		b.over, b.outcomes, b.sums = append(b.over, int32(len(b.at))), append(b.outcomes, data), append(b.sums, sum(data))
	}
}

// reason is a reason as the database has it, null if there is none.
func reason(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

// record has the database record what was decided.
func (b *settling) record(ctx context.Context) error {
	if len(b.at) == 0 {
		return nil
	}
	var forget *int64
	if b.q.o.KeepKeys > 0 {
		forget = b.q.maybeAt(b.now.Add(b.q.o.KeepKeys))
	}
	var (
		held, created, tags []int32
		numbers             []int64
	)
	if b.settlement == nil {
		b.settlement = []int32{}
	}
	args := []any{
		b.q.now(b.now), forget, b.apply, b.messages, b.destinations, b.tokens, b.states, b.atOnce, b.due, b.warned, b.because,
		b.settlement,
	}
	args = append(args, columnsOf(b.create).args()...)
	name, more := "settle_v1", ""
	if len(b.over) > 0 && b.room == roomForAll {
		name, more = "settle_v2", ", $30::int[], $31::int[], $32::bytea[]"
		args = append(args, b.over, b.sums, b.outcomes)
	}
	err := b.q.pool.QueryRow(ctx, b.q.sql(`SELECT settled, created, ids, tags FROM {schema}.`+name+`($1::bigint, $2::bigint,
		$3::boolean[], $4::bigint[], $5::text[], $6::bigint[], $7::bytea[], $8::boolean[], $9::bigint[], $10::boolean[], $11::bytea[],
		$12::int[], $13::bigint[], $14::int[], $15::bytea[], $16::int[], $17::bigint[], $18::bigint[], $19::bytea[], $20::int[],
		$21::bytea[], $22::bytea[], $23::boolean[], $24::smallint[], $25::boolean[], $26::bigint[], $27::int[], $28::text[],
		$29::bytea[]`+more+`)`), args...).Scan(&held, &created, &numbers, &tags)
	if err != nil {
		return err
	}
	for n, i := range b.at {
		number := b.messages[n]
		good := slices.Contains(held, int32(n+1))
		if !good {
			b.settled[i] = queue.Settled{Err: queue.ErrLeaseLost}
		}
		if !good || b.apply[n] {
			b.q.known.forget(number, &b.batch[i].Lease)
			b.q.ahead.forget(number)
		}
	}
	if b.room > roomForAll {
		b.keepInMemory(held)
	}
	for k, c := range created {
		i := b.at[b.settlement[c-1]-1]
		b.settled[i].Created = append(b.settled[i].Created, formatID(numbers[k], tags[k]))
	}
	return nil
}

// settle applies results to states, and returns what stays of them, nil if none does, and
// those that are over.
func settle(before []byte, results []queue.Result, now time.Time) (after []byte, over []queue.State, err error) {
	states, err := decodeStates(before)
	if err != nil {
		return nil, nil, queue.ErrDamaged
	}
	named := make([]bool, len(states))
	for _, r := range results {
		at := slices.IndexFunc(states, func(s queue.State) bool { return s.Index == r.Recipient })
		if at < 0 || named[at] {
			return nil, nil, &queue.ResultError{Recipient: r.Recipient}
		}
		named[at] = true
		s := &states[at]
		s.Attempts++
		s.Outcome, s.Reply, s.Tried = r.Outcome, r.Reply.Bounded(), now.Round(0)
	}
	states = slices.DeleteFunc(states, func(s queue.State) bool {
		ends := s.Outcome == queue.Delivered || s.Outcome == queue.Failed
		if ends {
			over = append(over, s)
		}
		return ends
	})
	if len(states) == 0 {
		return nil, over, nil
	}
	return encodeStates(states), over, nil
}
