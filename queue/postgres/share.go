package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

const shareSQL = `SELECT connections, rates, answered FROM {schema}.share_v1($1::bigint, $2::bigint, $3::bigint, $4::bytea[],
	$5::bytea[], $6::int[], $7::double precision[], $8::int[], $9::int[], $10::double precision[])`

// shareArgs are requests as the arguments of shareSQL.
func (q *Queue) shareArgs(now time.Time, list []queue.LimitRequest) []any {
	var (
		names, claimers         [][]byte
		connections, want, have []int32
		rates, haveRates        []float64
	)
	for i := range list {
		r := &list[i]
		names, claimers = append(names, []byte(r.Limit)), append(claimers, []byte(r.Claimer))
		connections, rates = append(connections, bounded(r.Connections)), append(rates, r.Rate)
		want, have, haveRates = append(want, bounded(r.Want)), append(have, bounded(r.Have)), append(haveRates, r.HaveRate)
	}
	return []any{
		q.now(now), queue.ShareHold.Microseconds(), queue.ShareTurn.Microseconds(), names, claimers, connections, rates, want, have, haveRates,
	}
}

// bounded is a number that the database can add up.
func bounded(n int) int32 { return int32(min(max(n, 0), 1_000_000)) }

// shared is the answer to requests, whose columns a row has been read into.
type shared struct {
	connections []int32
	rates       []float64
	answered    []bool
}

func (s *shared) scan(row pgx.Row) error { return row.Scan(&s.connections, &s.rates, &s.answered) }

func (s *shared) list(now time.Time) []queue.LimitShare {
	list := make([]queue.LimitShare, len(s.answered))
	for i, ok := range s.answered {
		if ok {
			list[i] = queue.LimitShare{Connections: int(s.connections[i]), Rate: s.rates[i], Until: now.Round(0).Add(queue.ShareLength)}
		}
	}
	return list
}

// shareTries is how often a call asks for what another call has in hand.
const shareTries = 5

// ShareLimits answers requests for shares of limits, in one round trip unless others ask
// for the same at that moment.
func (q *Queue) ShareLimits(ctx context.Context, now time.Time, list ...queue.LimitRequest) ([]queue.LimitShare, error) {
	answers := make([]queue.LimitShare, len(list))
	open := make([]int, len(list)) // those without an answer
	for i := range open {
		open[i] = i
	}
	for try := 0; try < shareTries && (len(open) > 0 || try == 0); try++ {
		var ask []queue.LimitRequest
		for _, i := range open {
			ask = append(ask, list[i])
		}
		var got shared
		err := q.call(ctx, func(ctx context.Context) error {
			return got.scan(q.pool.QueryRow(ctx, q.sql(shareSQL), q.shareArgs(now, ask)...))
		})
		if err != nil {
			return nil, err
		}
		for k, a := range got.list(now) {
			answers[open[k]] = a
		}
		open = slices.DeleteFunc(open, func(i int) bool { return !answers[i].Until.IsZero() })
	}
	return answers, nil
}
