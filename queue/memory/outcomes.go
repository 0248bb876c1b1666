package memory

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// ended are the outcomes of recipients, in the order in which they were settled. The
// position of one is its number.
type ended struct {
	list      []queue.FinalOutcome
	forgotten uint64 // so many came before those in list
}

// errNotKept is the error of Outcomes if there is no such option.
var errNotKept = fmt.Errorf("memory: outcomes are not kept: Queue.KeepOutcomes is not set: %w", errors.ErrUnsupported)

// keep keeps the outcomes of recipients that are over.
func (q *Queue) keep(now time.Time, m *queue.Message, over []queue.State) {
	if q.KeepOutcomes <= 0 {
		return
	}
	e := &q.ended
	for _, s := range over {
		e.list = append(e.list, queue.FinalOutcome{
			Position: position(e.forgotten + uint64(len(e.list)) + 1),
			Message:  m.ID, Tenant: m.Tenant, Key: m.Key,
			Recipient: s.Index, Address: m.Recipients[s.Index].Address,
			Outcome: s.Outcome, Reply: s.Reply, Attempts: s.Attempts, Time: s.Tried,
		})
	}
	most := q.MaxOutcomes
	if most <= 0 {
		most = DefaultMaxOutcomes
	}
	for len(e.list) > 0 && (len(e.list) > most || !e.list[0].Time.After(now.Add(-q.KeepOutcomes))) {
		e.list[0] = queue.FinalOutcome{}
		e.list = e.list[1:]
		e.forgotten++
	}
}

// position returns the position of an outcome, counted from 1.
func position(number uint64) string { return fmt.Sprintf("%016x", number) }

// Outcomes returns a page of the outcomes that are kept.
func (q *Queue) Outcomes(ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
	if err := q.begin(ctx); err != nil {
		return queue.OutcomePage{}, err
	}
	defer q.mu.Unlock()
	if q.KeepOutcomes <= 0 {
		return queue.OutcomePage{}, errNotKept
	}
	e := &q.ended
	after := e.forgotten
	if want.After != "" {
		var err error
		if after, err = strconv.ParseUint(want.After, 16, 64); err != nil || position(after) != want.After {
			return queue.OutcomePage{}, &queue.PositionError{Position: want.After}
		}
	}
	page := queue.OutcomePage{Next: want.After, Missed: after < e.forgotten}
	rest := e.list[min(max(after, e.forgotten)-e.forgotten, uint64(len(e.list))):]
	if want.Max <= 0 {
		want.Max = queue.DefaultMax
	}
	page.More = len(rest) > want.Max
	page.Outcomes = append(page.Outcomes, rest[:min(len(rest), want.Max)]...)
	if n := len(page.Outcomes); n > 0 {
		page.Next = page.Outcomes[n-1].Position
	} else if page.Next == "" && e.forgotten > 0 {
		page.Next = position(e.forgotten)
	}
	return page, nil
}
