package postgres

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Put stores a message with one statement. Calls that come while others are under way
// share a transaction, unless Options.SeparatePuts is set; each returns after the commit.
// A message with a key, and one with a large content, has a transaction of its own.
// A large content needs one more for each 256 KiB, which are made before; if the message is
// not put after all, Put takes a moment more to remove them, 2 s at most.
func (q *Queue) Put(ctx context.Context, now time.Time, m *queue.Message) (id string, err error) {
	parts, err := queue.Split(m)
	if err != nil {
		return "", err
	}
	own := *m // the transaction may go on after Put has returned, since it is for others too
	d := draft{message: &own, parts: parts, asks: true}
	if err := q.read(ctx, q.inPieces, now, &d); err != nil {
		q.abandon(ctx, d)
		return d.known, err
	}
	p := &putting{draft: d, now: q.now(now)}
	if d.message.Key == "" && d.number == nil && !q.o.SeparatePuts {
		err = q.putTogether(ctx, p)
	} else {
		err = q.putThese(ctx, []*putting{p})
	}
	if err != nil {
		q.abandon(ctx, d)
		return "", err
	}
	id = formatID(p.number, p.tag)
	if p.known {
		return id, queue.ErrDuplicate
	}
	return id, nil
}

// draft is a message that has been read and is not in the queue yet.
type draft struct {
	number *int64 // where its content is already; else nil
	tag    int32
	asks   bool   // before a long content is stored, whether the key is known
	known  string // the message that has it

	message  *queue.Message
	parts    []queue.Part
	envelope []byte
	arrived  int64
	atOnce   bool
	due      int64

	size       int64
	content    []byte // nil where number is given
	contentSum int32
}

// read completes a draft of which the message and its parts are given, content and all.
func (q *Queue) read(ctx context.Context, store storePiece, now time.Time, d *draft) error {
	d.tag = int32(random())
	if err := q.readContent(ctx, store, now, d); err != nil {
		return err
	}
	m := *d.message
	if m.Arrived.IsZero() {
		m.Arrived = now
	}
	d.arrived = m.Arrived.UnixMicro()
	d.envelope = encodeMessage(&m)
	d.atOnce, d.due = q.due(now, m.NotBefore)
	return nil
}

// due is whether a delivery with a not-before time is due at once, and since when or from
// when it is due.
func (q *Queue) due(now, notBefore time.Time) (atOnce bool, due int64) {
	if notBefore.IsZero() {
		return true, q.at(now)
	}
	return false, q.at(notBefore)
}

// columns are drafts as the arguments of a function.
type columns struct {
	numbers      []*int64
	tags         []int32
	envelopes    [][]byte
	envelopeSums []int32
	arrived      []int64
	sizes        []int64
	contents     [][]byte
	contentSums  []int32
	pieceSums    []*int32 // of contents that are pieces of their own; else nil
	tenants      [][]byte
	keys         [][]byte
	once         []bool
	priorities   []int16
	atOnce       []bool
	due          []int64

	firsts       []int32 // the first delivery of a message, from 1
	of           []int32 // the message that a delivery is of, from 1
	destinations []string
	states       [][]byte
}

func columnsOf(drafts []draft) *columns {
	c := &columns{ // none is null where there is no draft
		numbers: []*int64{}, tags: []int32{}, envelopes: [][]byte{}, envelopeSums: []int32{}, arrived: []int64{},
		sizes: []int64{}, contents: [][]byte{}, contentSums: []int32{}, pieceSums: []*int32{}, tenants: [][]byte{}, keys: [][]byte{},
		once: []bool{}, priorities: []int16{}, atOnce: []bool{}, due: []int64{},
		firsts: []int32{}, of: []int32{}, destinations: []string{}, states: [][]byte{},
	}
	for i := range drafts {
		d := &drafts[i]
		var key []byte
		if d.message.Key != "" {
			key = []byte(d.message.Key)
		}
		c.numbers = append(c.numbers, d.number)
		c.tags = append(c.tags, d.tag)
		c.envelopes = append(c.envelopes, d.envelope)
		c.envelopeSums = append(c.envelopeSums, sum(d.envelope))
		c.arrived = append(c.arrived, d.arrived)
		c.sizes = append(c.sizes, d.size)
		c.contents = append(c.contents, d.content)
		c.contentSums = append(c.contentSums, d.contentSum)
		c.pieceSums = append(c.pieceSums, d.pieceSum())
		c.tenants = append(c.tenants, []byte(d.message.Tenant))
		c.keys = append(c.keys, key)
		c.once = append(c.once, d.message.Guarantee == queue.AtMostOnce)
		c.priorities = append(c.priorities, int16(d.message.Priority))
		c.atOnce = append(c.atOnce, d.atOnce)
		c.due = append(c.due, d.due)
		c.firsts = append(c.firsts, int32(len(c.of)+1))
		for _, part := range d.parts {
			states := make([]queue.State, len(part.Recipients))
			for k, index := range part.Recipients {
				states[k].Index = index
			}
			c.of = append(c.of, int32(i+1))
			c.destinations = append(c.destinations, part.Destination)
			c.states = append(c.states, encodeStates(states))
		}
	}
	return c
}

// pieceSum is the checksum of a content that is stored as a piece, beside its message, and
// nil for any other: a message with several destinations is written again with each that
// has ended.
func (d *draft) pieceSum() *int32 {
	if d.number != nil || len(d.parts) < 2 || len(d.content) <= apart {
		return nil
	}
	sum := pieceSum(0, d.content)
	return &sum
}

// apart is from where on a content is stored beside a message that will be changed.
const apart = 1 << 10

// args are the columns in the order in which settle_v1 takes them.
func (c *columns) args() []any {
	return []any{
		c.numbers, c.tags, c.envelopes, c.envelopeSums, c.arrived, c.sizes, c.contents, c.contentSums, c.tenants, c.keys,
		c.once, c.priorities, c.atOnce, c.due, c.of, c.destinations, c.states,
	}
}

// putArgs are the arguments of put_v2.
func putArgs(durable bool, now int64, drafts []draft) []any {
	c := columnsOf(drafts)
	return []any{
		durable, now, c.numbers, c.tags, c.envelopes, c.envelopeSums, c.arrived, c.sizes, c.contents, c.contentSums, c.pieceSums,
		c.tenants, c.keys, c.once, c.priorities, c.atOnce, c.due, c.firsts, c.of, c.destinations, c.states,
	}
}

// putFrom is what puts messages.
const putFrom = `{schema}.put_v2($1::boolean, $2::bigint, $3::bigint[], $4::int[], $5::bytea[], $6::int[],
		$7::bigint[], $8::bigint[], $9::bytea[], $10::int[], $11::int[], $12::bytea[], $13::bytea[], $14::boolean[], $15::smallint[],
		$16::boolean[], $17::bigint[], $18::int[], $19::int[], $20::text[], $21::bytea[])`
