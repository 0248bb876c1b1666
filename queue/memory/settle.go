package memory

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Extend moves the ends of leases.
func (q *Queue) Extend(
	ctx context.Context, now time.Time, leases []queue.Lease, length time.Duration,
) ([]queue.Extended, error) {
	if err := q.begin(ctx); err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	list := make([]queue.Extended, len(leases))
	t := turns{q: q}
	for i, l := range leases {
		if !t.next() {
			return nil, queue.ErrClosed
		}
		d := q.leased(l)
		if d == nil {
			list[i].Err = queue.ErrLeaseLost
			continue
		}
		q.displace(d)
		d.until = now.Round(0).Add(length)
		q.place(d)
		l.Until = d.until
		list[i].Lease = l
	}
	return list, nil
}

// Mark records that deliveries are about to be sent.
func (q *Queue) Mark(ctx context.Context, leases []queue.Lease) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.mu.Unlock()
	for _, l := range leases {
		if q.leased(l) == nil {
			return queue.ErrLeaseLost
		}
	}
	for _, l := range leases {
		if d := q.leased(l); d.entry.message.Guarantee == queue.AtMostOnce {
			d.marked = true
		}
	}
	return nil
}

// leased is the delivery that a lease is about, nil where the lease is lost.
func (q *Queue) leased(l queue.Lease) *delivery {
	d := q.deliveries[pair{l.Message, l.Destination}]
	if d == nil || !d.leased || d.token != l.Token {
		return nil
	}
	return d
}

// Settle records outcomes and puts the messages they create.
func (q *Queue) Settle(
	ctx context.Context, now time.Time, batch []queue.Settlement,
) ([]queue.Settled, error) {
	drafts := make([][]draft, len(batch))
	settled := make([]queue.Settled, len(batch))
	for i := range batch {
		drafts[i], settled[i].Err = readAll(ctx, batch[i].Create)
	}
	if err := q.begin(ctx); err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	now = now.Round(0)
	t := turns{q: q}
	for i := range batch {
		if !t.next() {
			return nil, queue.ErrClosed
		}
		if settled[i].Err == nil {
			settled[i] = q.settle(now, &batch[i], drafts[i])
		}
	}
	return settled, nil
}

func readAll(ctx context.Context, ms []*queue.Message) ([]draft, error) {
	var drafts []draft
	for _, m := range ms {
		d, err := read(ctx, m, -1)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

func (q *Queue) settle(now time.Time, s *queue.Settlement, drafts []draft) queue.Settled {
	d := q.leased(s.Lease)
	if d == nil {
		return queue.Settled{Err: queue.ErrLeaseLost}
	}
	states, over, err := apply(d.states, s.Results, now)
	if err != nil {
		return queue.Settled{Err: err}
	}
	q.displace(d)
	d.states = states
	q.keep(now, &d.entry.message, over)
	d.leased, d.marked = false, false
	d.warned = d.warned || s.Warned
	d.because = s.BoundedReason()
	d.schedule(now, s.NotBefore.Round(0))
	var done queue.Settled
	for _, f := range drafts {
		if id := q.knownAs(now, f.message); id != "" {
			done.Created = append(done.Created, id)
			continue
		}
		done.Created = append(done.Created, q.add(now, f))
	}
	if len(states) == 0 {
		if q.finish(d) {
			q.remember(now, &d.entry.message)
		}
	} else {
		q.place(d)
		q.changes.Add()
	}
	return done
}

// apply returns the states after some results: of those that stay pending, and of those
// that are over.
func apply(states []queue.State, results []queue.Result, now time.Time) (left, over []queue.State, err error) {
	after := slices.Clone(states)
	named := make([]bool, len(states))
	for _, r := range results {
		at, pending := slices.BinarySearchFunc(states, r.Recipient,
			func(s queue.State, index int) int { return s.Index - index })
		if !pending || named[at] {
			return nil, nil, &queue.ResultError{Recipient: r.Recipient}
		}
		named[at] = true
		s := &after[at]
		s.Attempts++
		s.Outcome, s.Reply, s.Tried = r.Outcome, r.Reply.Bounded(), now
	}
	left = after[:0]
	for _, s := range after {
		if s.Outcome == queue.Delivered || s.Outcome == queue.Failed {
			over = append(over, s)
		} else {
			left = append(left, s)
		}
	}
	return left, over, nil
}
