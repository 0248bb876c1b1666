package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// errNotKept is the error of Outcomes if there is no such option.
var errNotKept = fmt.Errorf("postgres: outcomes are not kept: Options.KeepOutcomes is not set: %w", errors.ErrUnsupported)

// position is where an outcome is: in a part, a transaction of that, and the place in that.
type position struct {
	number, xid int64
	n           int32
}

func (p position) String() string { return fmt.Sprintf("%016x%016x%08x", p.number, p.xid, p.n) }

// parsePosition reads what String returns, and no other.
func parsePosition(s string) (position, error) {
	var p position
	if len(s) == 40 {
		number, _ := strconv.ParseUint(s[:16], 16, 63)
		xid, _ := strconv.ParseUint(s[16:32], 16, 63)
		n, _ := strconv.ParseUint(s[32:], 16, 31)
		p = position{int64(number), int64(xid), int32(n)}
	}
	if p.String() != s {
		return position{}, &queue.PositionError{Position: s}
	}
	return p, nil
}

const outcomesSQL = "SELECT number, xid, n, sum, data FROM {schema}.outcomes_v1($1::bigint, $2::bigint, $3::int, $4::int, $5::bigint)"

// Outcomes returns a page of the outcomes that are kept, in one round trip. The order is
// that in which the calls of all handles first found the settlements. It is an error if
// there still is no room for outcomes that this handle has in memory.
func (q *Queue) Outcomes(ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
	var page queue.OutcomePage
	if err := q.storeUnkept(ctx); err != nil {
		return page, err
	}
	most := want.Max
	if most <= 0 {
		most = queue.DefaultMax
	}
	err := q.call(ctx, func(ctx context.Context) (err error) {
		if q.o.KeepOutcomes <= 0 {
			return errNotKept
		}
		page = queue.OutcomePage{Next: want.After}
		var (
			after, floor position
			damaged      bool
			found        int
		)
		if want.After != "" {
			if after, err = parsePosition(want.After); err != nil {
				return err
			}
		}
		err = q.rows(ctx, func(rows pgx.Rows) error {
			var (
				at   position
				want int32
				data []byte
			)
			if err := rows.Scan(&at.number, &at.xid, &at.n, &want, &data); err != nil {
				return err
			}
			if data == nil { // the last row
				floor = at
				return nil
			}
			if found++; found > most {
				page.More = true
				return nil
			}
			page.Next = at.String()
			if o, err := decodeOutcome(data, want); err == nil {
				o.Position = page.Next
				page.Outcomes = append(page.Outcomes, o)
			} else {
				damaged = true
			}
			return nil
		}, outcomesSQL, after.number, after.xid, after.n, int32(min(most, math.MaxInt32-1)+1), q.o.mostOutcomes())
		if page.Next == "" && floor != (position{}) {
			page.Next = floor.String()
		}
		page.Missed = want.After != "" && (damaged || want.After < floor.String())
		return err
	})
	if err != nil {
		return queue.OutcomePage{}, err
	}
	if want.After != "" && q.unkept.takeMissed() {
		page.Missed = true
	}
	return page, nil
}

// forgetOutcomes forgets those that are too old or too many, whether or not anybody reads
// them.
func (q *Queue) forgetOutcomes(ctx context.Context, now int64) error {
	if q.o.KeepOutcomes <= 0 {
		return nil
	}
	const part = 10_000
	_, err := q.pool.Exec(ctx, q.sql("SELECT {schema}.outcome_part_v1()"))
	for n := part; err == nil && n == part; {
		err = q.pool.QueryRow(ctx, q.sql("SELECT {schema}.forget_outcomes_v1($1::bigint, $2::bigint, $3::int)"),
			now-q.o.KeepOutcomes.Microseconds(), q.o.mostOutcomes(), int32(part)).Scan(&n)
	}
	return err
}

// The numbers of an outcome's fields.
const (
	fieldMessage = iota + 1
	fieldMessageTenant
	fieldMessageKey
	fieldAddress
	fieldState
)

// origin is what the outcomes of a delivery say of its message: less than the message has,
// which may have very many recipients elsewhere.
type origin struct {
	tenant, key string
	addresses   map[int]string
}

// originOf is that of a delivery with these states.
func originOf(m *queue.Message, states []queue.State) *origin {
	o := &origin{tenant: m.Tenant, key: m.Key, addresses: make(map[int]string, len(states))}
	for _, s := range states {
		if s.Index < len(m.Recipients) {
			o.addresses[s.Index] = m.Recipients[s.Index].Address
		}
	}
	return o
}

// encodeOutcome encodes how the mail for a recipient of a message ended. Of a message that
// cannot be read, only the id is known.
func encodeOutcome(id string, from *origin, s *queue.State) []byte {
	f := fields{encodingVersion}
	f.text(fieldMessage, id)
	if from != nil {
		f.text(fieldMessageTenant, from.tenant)
		f.text(fieldMessageKey, from.key)
		f.text(fieldAddress, from.addresses[s.Index])
	}
	f.bytes(fieldState, encodeState(s))
	return f
}

func decodeOutcome(data []byte, want int32) (o queue.FinalOutcome, err error) {
	if len(data) == 0 || data[0] != encodingVersion || sum(data) != want {
		return o, errEncoding
	}
	err = eachField(data[1:], func(n int, value []byte) (err error) {
		switch n {
		case fieldMessage:
			o.Message = string(value)
		case fieldMessageTenant:
			o.Tenant = string(value)
		case fieldMessageKey:
			o.Key = string(value)
		case fieldAddress:
			o.Address = string(value)
		case fieldState:
			var s queue.State
			s, err = decodeState(value)
			o.Recipient, o.Outcome, o.Reply, o.Attempts, o.Time = s.Index, s.Outcome, s.Reply, s.Attempts, s.Tried
		}
		return err
	})
	return o, err
}
